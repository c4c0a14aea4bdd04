"""docs/architecture.md against the code: its floors, its picture and its stages."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.params import read_yaml


@pytest.fixture(scope="module")
def page(root: Path) -> str:
    return (root / "docs" / "architecture.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def floors(page: str) -> dict[str, int]:
    """The number of each module's floor; 1 is the top."""
    listed = re.findall(r"^(\d)\. (.+?)(?=^\d\. |^\S)", page.split("## Floors")[1] + "\n.", re.MULTILINE | re.DOTALL)
    return {module: int(number) for number, modules in listed for module in re.findall(r"`(\w+)`", modules)}


def imports(root: Path) -> Iterator[tuple[str, str]]:
    """Yield (module, module that it imports) by the names of the floors."""
    for path in [*(root / "pipeline").rglob("*.py"), *(root / "stages").rglob("*.py")]:
        parts = path.relative_to(root).with_suffix("").parts
        importer = "stages" if parts[0] == "stages" else parts[1]
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module == "pipeline":
                yield from ((importer, alias.name) for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith(("pipeline.", "stages")):
                yield importer, (node.module or "").removeprefix("pipeline.").split(".")[0]


def test_every_module_has_a_floor(root: Path, floors: dict[str, int]) -> None:
    modules = {path.stem for path in (root / "pipeline").iterdir() if not path.name.startswith("__")}
    assert modules | {"stages"} == set(floors)


def test_imports_lead_to_the_same_floor_or_a_lower_one(root: Path, floors: dict[str, int]) -> None:
    found = set(imports(root))
    assert ("stages", "tracking") in found
    assert {(here, there) for here, there in found if floors[here] > floors[there]} == set()


def test_the_picture_has_the_stages_and_what_they_hand_on(root: Path, page: str) -> None:
    stages = read_yaml(root / "dvc.yaml")["stages"]
    makers = {out: name for name, stage in stages.items() for out in stage["outs"]}
    needed = {
        (maker, name)
        for name, stage in stages.items()
        for dep in stage["deps"]
        for out, maker in makers.items()
        if Path(dep).is_relative_to(out)
    }
    drawn = set(re.findall(rf"^ +({'|'.join(stages)}) [=-]+>\S.* ({'|'.join(stages)})$", page, re.MULTILINE))
    assert drawn == needed

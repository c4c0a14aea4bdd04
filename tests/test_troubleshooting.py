"""docs/troubleshooting.md has every message that the code ends or warns with, so that each has its cure there."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.cleaning.verdict import COPY_RULES, DROP_RULES
from pipeline.sources import faults
from pipeline.sources.takedown import TAKEN_DOWN

# What is shown to the user; any other exception is a fault of the code, and has no cure but mending it.
SHOWN = {
    *("ParamsError", "StageError", "StoreError", "DivergedError", "CollapsedError", "TooFewImagesError"),
    *("DecodeError", "BadParameter", "_refusal"),
}
# pydantic turns the ValueErrors of these into a ParamsError.
VALIDATORS = {"field_validator", "model_validator"}


def literals(node: ast.AST) -> Iterator[str]:
    """Yield the constant parts of a message: those of an f-string, and not of the values in it."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value
    elif isinstance(node, ast.JoinedStr):
        for part in node.values:
            yield from literals(part)
    elif not isinstance(node, ast.FormattedValue | ast.keyword):
        for child in ast.iter_child_nodes(node):
            yield from literals(child)


def name_of(node: ast.AST) -> str:
    return node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "")


def is_validator(node: ast.AST) -> bool:
    decorators = node.decorator_list if isinstance(node, ast.FunctionDef) else []
    return any(isinstance(one, ast.Call) and name_of(one.func) in VALIDATORS for one in decorators)


def calls(tree: ast.AST) -> Iterator[ast.Call]:
    """Yield what raises or prints something for the user."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call) and name_of(node.exc.func) in SHOWN:
            yield node.exc
        elif isinstance(node, ast.Call) and (
            name_of(node.func) == "exit" or any(name_of(word.value) == "stderr" for word in node.keywords)
        ):
            yield node
        elif is_validator(node):
            faults = (one.exc for one in ast.walk(node) if isinstance(one, ast.Raise))
            yield from (fault for fault in faults if isinstance(fault, ast.Call))


def messages(root: Path) -> Iterator[tuple[str, list[str]]]:
    """Yield where a message is made, and its constant parts; none of a message that is handed on."""
    for path in sorted([*(root / "pipeline").rglob("*.py"), *(root / "stages").rglob("*.py")]):
        for call in calls(ast.parse(path.read_text(encoding="utf-8"))):
            parts = [" ".join(part.split()) for part in literals(call) if re.search(r"[a-z]{3}", part)]
            if parts:
                yield f"{path.relative_to(root)}:{call.lineno}", parts


@pytest.fixture(scope="module")
def entries(root: Path) -> list[str]:
    """The page's paragraphs and list entries, each on one line."""
    page = (root / "docs" / "troubleshooting.md").read_text(encoding="utf-8")
    return [" ".join(entry.split()) for entry in re.split(r"\n(?=- |\n)", page)]


def test_every_message_has_its_cure(root: Path, entries: list[str]) -> None:
    found = list(messages(root))
    assert len(found) > 80, "the messages are no longer found"
    missing = [
        f"{where}: {' … '.join(parts)}"
        for where, parts in found
        if not any(re.search(".*".join(map(re.escape, parts)), entry) for entry in entries)
    ]
    assert not missing, "docs/troubleshooting.md lacks, with these very words and a cure:\n" + "\n".join(missing)


def test_no_kind_of_fault_is_left_out(root: Path) -> None:
    trees = [ast.parse(path.read_text(encoding="utf-8")) for path in (root / "pipeline").rglob("*.py")]
    classes = [node for tree in trees for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]
    assert {node.name for node in classes if {*map(name_of, node.bases)} & SHOWN} <= SHOWN


def test_every_reason_is_told(entries: list[str]) -> None:
    reasons = {
        *DROP_RULES,
        *COPY_RULES,
        TAKEN_DOWN,
        *faults.WORTH_RETRYING,
        *faults.OF_NO_USE,
        *faults.DECIDED,
        faults.CERTIFICATE,
        faults.PRIVATE,
        *(reason for _, reason in faults.REASONS),
    }
    assert {reason for reason in reasons if not any(f"`{reason}`" in entry for entry in entries)} == set()


def test_what_is_a_message() -> None:
    tree = ast.parse('raise StageError(f"{a} is gone{b:.1%}; do {c} " "again", hint="no") from None')
    assert [list(literals(call)) for call in calls(tree)] == [[" is gone", "; do ", " again"]]
    assert [list(literals(call)) for call in calls(ast.parse('sys.exit(f"{a} is in use"); sys.exit(1)'))] == [
        [" is in use"],
        [],
    ]
    assert not list(calls(ast.parse('raise KeyError("an inner affair")')))

"""Would the tests notice a mistake? Make small ones in the code, one at a time: python -m benchmarks.mutation [MODULE].

MODULE, of which there may be several, is verdict, duplicates or distances (all three, unless some are named). Each
operator, comparison, number and switch in it is changed in turn by cosmic-ray, and the module's own tests are run; a
mutant that they let live is printed. An annotation is no code, so what is changed in one is not counted. cosmic-ray is
installed into a virtual environment that is deleted afterwards (the network is needed for that), and works on a copy of
the project.
"""

from __future__ import annotations

import argparse
import ast
import json
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from benchmarks.throwaway import install

MUTATOR = "cosmic-ray==8.7.0"
MODULES = {
    "verdict": ("pipeline/cleaning/verdict.py", "tests/cleaning/test_verdict.py"),
    "duplicates": ("pipeline/cleaning/duplicates.py", "tests/cleaning/test_duplicates.py"),
    "distances": ("pipeline/metrics/distances.py", "tests/metrics/test_distances.py"),
}
COPIED = ("pipeline", "tests", "params.yaml", "pyproject.toml")
# Of numbers with a fraction there are no bits: such a mutant ends with a TypeError, whatever the tests are.
NONSENSE = "core/ReplaceBinaryOperator_(Add|Sub|Mul|Div|Pow|FloorDiv)_([LR]Shift|Bit.*)"
# In the copy, the features' type alone: loading the network's libraries for each mutant would be most of the time.
STUB = Path("pipeline/metrics/backbone.py"), "import numpy as np\n\nFeatures = np.ndarray\n"
SECONDS = 60  # for the tests of one mutant, after which it counts as found


class Mutant(NamedTuple):
    """One changed line: where, by which operator, whether the tests let it live, and the change."""

    line: int
    operator: str
    lives: bool
    change: str


def mutants(module: str, tests: str, commands: Path, folder: Path) -> Iterator[Mutant]:
    """Yield what became of every mutant of a module in a copy of the project."""
    command = check_command(tests)
    config, session = folder / "config.toml", folder / f"{Path(module).stem}.sqlite"
    lines = (
        "[cosmic-ray]",
        f"module-path = {json.dumps(module)}",
        f"timeout = {SECONDS:.1f}",
        "excluded-modules = []",
        f"test-command = {json.dumps(shlex.join(command))}",
        "[cosmic-ray.distributor]",
        'name = "local"',
        "[cosmic-ray.filters.operators-filter]",
        f"exclude-operators = [{json.dumps(NONSENSE)}]",
    )
    config.write_text("\n".join(lines), encoding="utf-8")
    for step in (
        ("cosmic-ray", "baseline", config),
        ("cosmic-ray", "init", config, session),
        ("cr-filter-operators", session, config),
        ("cosmic-ray", "exec", config, session),
    ):
        subprocess.run([commands / step[0], *step[1:]], cwd=folder, check=True)
    dump = [commands / "cosmic-ray", "dump", session]
    dumped = subprocess.run(dump, cwd=folder, check=True, capture_output=True, text=True)
    unread = annotations(ast.parse((folder / module).read_text(encoding="utf-8")))
    for line in dumped.stdout.splitlines():
        item, result = json.loads(line)
        (mutation,) = item["mutations"]
        at = tuple(mutation["start_pos"])
        if result["test_outcome"] and not any(start <= at < end for start, end in unread):
            changed = [text for text in result["diff"].splitlines() if text.startswith(("-", "+")) and text[1:2] == " "]
            lives = result["test_outcome"] == "survived"
            yield Mutant(at[0], mutation["operator_name"], lives, "\n".join(changed))


def check_command(tests: str) -> list[str]:
    """Return the command that a mutant has to make fail."""
    return [sys.executable, "-B", "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", tests]


def annotations(tree: ast.AST) -> list[tuple[tuple[int, int], tuple[int, int]]]:
    """Return where each annotation starts and ends, as (line, column)."""
    found: list[ast.expr | None] = []
    for node in ast.walk(tree):
        found += [getattr(node, "annotation", None), getattr(node, "returns", None)]
    return [
        ((node.lineno, node.col_offset), (node.end_lineno or 0, node.end_col_offset or 0)) for node in found if node
    ]


def copy_project(root: Path, copy: Path) -> Path:
    """Copy what the modules' tests need of the project at root, and return the copy."""
    copy.mkdir()
    for name in COPIED:
        (shutil.copytree if (root / name).is_dir() else shutil.copy)(root / name, copy / name)
    (copy / STUB[0]).write_text(STUB[1], encoding="utf-8")
    return copy


def main() -> None:
    """Mutate, print what lives, and one line of JSON last."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("modules", nargs="*", choices=[*MODULES, []], metavar="MODULE")
    chosen: Sequence[str] = parser.parse_args().modules or list(MODULES)
    figures = {}
    with tempfile.TemporaryDirectory() as held:
        commands = install(MUTATOR, Path(held) / "environment")
        copy = copy_project(Path(), Path(held) / "copy")
        for name in chosen:
            made = list(mutants(*MODULES[name], commands, copy))
            living = [mutant for mutant in made if mutant.lives]
            figures[name] = {"mutants": len(made), "living": len(living)}
            for mutant in living:
                print(f"{MODULES[name][0]}:{mutant.line} {mutant.operator}\n{mutant.change}\n")
    print(json.dumps(figures))


if __name__ == "__main__":
    main()

"""README.md and docs/: the links lead somewhere, the settings exist, and every command is one that its program takes.

The commands are run in tests/e2e/test_documents.py.
"""

from __future__ import annotations

import argparse
import re
import subprocess
from collections.abc import Callable
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import typer.main
from ruamel.yaml import YAML
from typer.testing import CliRunner

from benchmarks.filter_quality import run_on_labelled_set
from pipeline.cli import COMMANDS, STUDIES, app
from pipeline.params import Params, Section, flatten, read_yaml
from pipeline.sources.builtin import BuiltinRecipe
from tests.conftest import ROOT
from tests.documents import NOT_RUN, RUN_IN_THEIR_ORDER, blocks, documents, inline, split

# Programs of the system and of other makers, which the tests take on trust.
TRUSTED = {"cd", "source", "export", "createdb", "pip", "nvidia-smi"}
MODELS: dict[str, type[Section]] = {"params.yaml": Params, "data/builtin.yaml": BuiltinRecipe}

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore:.*Any type hint is inferred:UserWarning"),  # when mlflow's commands are imported
]
each_document = pytest.mark.parametrize("document", documents(ROOT), ids=lambda path: path.name)


@each_document
def test_links_and_pictures_are_there(document: Path) -> None:
    local = [target for target in re.findall(r"\]\(([^)#]+)", document.read_text()) if "://" not in target]
    assert [target for target in local if not (document.parent / target).exists()] == []


@each_document
def test_settings_exist(document: Path) -> None:
    text, keys = document.read_text(), flatten(read_yaml(ROOT / "params.yaml"))
    known = {".".join(key.split(".")[:depth]) for key in keys for depth in (1, 2, 3)}
    assert set(re.findall(r"`((?:crawl|filter|train|evaluate)\.[A-Za-z_.]+)[`:= ]", text)) - known == set()


@each_document
def test_marks_are_known(document: Path) -> None:
    assert {mark for block in blocks(document.read_text()) for mark in block.marks} <= NOT_RUN


@each_document
def test_commands_are_what_their_programs_take(document: Path) -> None:
    text = document.read_text()
    faults = [fault(words) for block in blocks(text) for words in block.commands]
    # Running text may name a command without what it is given.
    faults += [min((fault([*words, *["lr=1"] * more]) for more in range(3)), key=len) for words in inline(text)]
    assert not any(faults), "\n".join(filter(None, faults))


@each_document
def test_commands_stand_where_they_are_looked_for(document: Path) -> None:
    """A block of another kind, or in a document that tests/e2e/test_documents.py does not read, would never be run."""
    text = document.read_text()
    assert set(re.findall(r"^ *```(\w+)", text, re.MULTILINE)) <= {"sh", "yaml", "json", "text", "mermaid"}
    assert re.findall(r"^ +```sh", text, re.MULTILINE) == []
    if str(document.relative_to(ROOT)) not in (*RUN_IN_THEIR_ORDER, "docs/crawling.md"):
        assert [block.commands for block in blocks(text) if not block.marks & NOT_RUN] == []


@pytest.mark.parametrize("example", [one for some in {**COMMANDS, **STUDIES}.values() for one in some])
def test_examples_of_the_help_are_what_dcgan_takes(example: str) -> None:
    """And they are shown, each on a line of its own, by the command that they are of."""
    (words,) = split(example)
    assert fault(words) == ""
    command = words[1:3] if words[1] == "study" else words[1:2]
    shown = CliRunner().invoke(app, [*command, "--help"], env={"COLUMNS": "80"}).output
    assert example in [line.strip() for line in shown.splitlines()]


def fault(command: list[str]) -> str:
    """Return why a program does not take the words, and "" where it does."""
    try:
        check(command)
    except (Exception, SystemExit) as raised:
        return f"{' '.join(command)}: {type(raised).__name__}: {raised}"
    return ""


def check(command: list[str]) -> None:
    """Raise unless the program takes the words."""
    match command:
        case ["dcgan", *words]:
            take(typer.main.get_command(app), words)
        case ["dvc", *words]:
            take_dvc(words)
        case ["mlflow", *words]:
            from mlflow.cli import cli

            take(cli, words)
        case ["dask", "scheduler" | "worker" as which, *words]:
            from distributed.cli import dask_scheduler, dask_worker

            take({"scheduler": dask_scheduler, "worker": dask_worker}[which].main, words)
        case ["make", *words]:
            targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
            assert {word for word in words if "=" not in word} <= targets, "no such target"
            variables = set(re.findall(r"\$\(([A-Z]+)\)", (ROOT / "Makefile").read_text()))
            assert {word.split("=")[0] for word in words if "=" in word} <= variables, "no such variable"
        case ["python", "-m", "pytest", *words]:
            assert all(word.startswith("-") or (ROOT / word).exists() for word in words), "no such tests"
        case ["python", "-m", "benchmarks.filter_quality" | "benchmarks.filter_vs_peers", *words]:
            take_arguments(partial(run_on_labelled_set, None, lambda *_: {}), words)
        case ["python", "-m", module, *words] if module.startswith(("benchmarks.", "tests.")):
            take_arguments(import_module(module).main, words)
        case ["python", "-m", module, *_]:
            assert find_spec(module), "no such module"
        case ["python", "-c", code]:
            compile(code, "document", "exec")
        case ["git", verb, *_]:
            listed = subprocess.run(["git", "--list-cmds=main"], capture_output=True, text=True, check=True).stdout
            assert verb in listed.split(), "git has no such command"
        case [program, *_]:
            assert program in TRUSTED, "a program that this test does not know"


def take(command: Any, words: list[str]) -> None:
    """Raise unless a command line by Click or Typer takes the words."""
    while hasattr(command, "commands"):
        if words[0].startswith("-"):  # the program's own, such as --install-completion, which is not to be done here
            assert words[0] in {"--help", *(name for option in command.params for name in option.opts)}, (
                "no such option"
            )
            return
        command, words = command.commands[words[0]], words[1:]
    if "--help" not in words:
        command.make_context(command.name, words)


def take_arguments(main: Callable[[], None], words: list[str]) -> None:
    """Raise unless the main of one of the project's modules takes the words; it does nothing but read them."""

    class ReadError(Exception):
        pass

    def read(parser: argparse.ArgumentParser, *_: object) -> None:
        if parser.parse_known_args(words)[1]:
            parser.error("unknown arguments")
        raise ReadError

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(argparse.ArgumentParser, "parse_args", read)
        with pytest.raises(ReadError):
            main()


def take_dvc(words: list[str]) -> None:
    """Raise unless dvc takes the words and the params the settings in them."""
    from dvc.cli import parse_args

    for setting in getattr(parse_args(words), "set_param", None) or []:
        where, _, values = setting.partition("=")
        file, _, key = where.rpartition(":")
        for value in values.split(","):
            with_setting(file or "params.yaml", key, YAML(typ="safe", pure=True).load(value))


def with_setting(file: str, key: str, value: object) -> None:
    """Raise unless a file of settings has the key and may have the value."""
    content = read_yaml(ROOT / file)
    *sections, name = key.split(".")
    section = content
    for one in sections:
        section = section[one]
    assert name in section, "no such setting"
    section[name] = value
    MODELS[file].model_validate(content)


def test_what_is_wrong_is_found() -> None:
    wrong = (
        *(
            "dcgan generate --size 3",
            "dcgan draw",
            "dvc exp run --fast",
            "dvc exp run -S lr=abc",
            "dvc exp run -S ngv=1",
        ),
        *("make cake", "make study FROM=--quick", "python -m pytest tests/none.py"),
        *(
            "python -m benchmarks.none",
            "python -m benchmarks.filter_quality",
            "python -m benchmarks.recipes --fases x",
            "python -m tests.e2e.chaos --rounds few",
        ),
        *("git psuh", "mlflow serve", "dask wrker", "frobnicate"),
    )
    assert [command for command in wrong for words in split(command) if not fault(words)] == []

"""What is shown and logged: no credentials, nothing that commands a terminal; in small, and of whole stages."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pipeline.messages import shown, without_credentials

SECRET = "hunter2"  # noqa: S105


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("http://me:hunter2@host:5000/a", "http://host:5000/a"),
        ("http://hunter2@host", "http://host"),
        ("postgresql+psycopg2://me:hun@ter2@host/db", "postgresql+psycopg2://host/db"),
        ("of http://me:hunter2@a/b and 'https://u:hunter2@c'", "of http://a/b and 'https://c'"),
        ("https:/me:hunter2@host/list.csv", "https:/host/list.csv"),
        ("https://host/a:/me@host", "https://host/a:/me@host"),
        ("https://host/a?key=1&mail=me@host", "https://host/a?key=1&mail=me@host"),
        ("https://host/@me/1.png", "https://host/@me/1.png"),
        ("https://host#me@host", "https://host#me@host"),
        ("https://a.example and me@b.example", "https://a.example and me@b.example"),
        ("sqlite:////data/me@work/mlflow.db", "sqlite:////data/me@work/mlflow.db"),
        ("no address: me@host", "no address: me@host"),
    ],
)  # fmt: skip
def test_credentials_are_taken_out(text: str, left: str) -> None:
    assert without_credentials(text) == left


@pytest.mark.parametrize("text", ["://" * 300_000, "http://" + "a" * 10**6, "a@" * 500_000, "://@" * 300_000])
def test_long_texts_take_no_time(text: str) -> None:
    began = time.monotonic()
    without_credentials(text)
    assert time.monotonic() - began < 2


def test_a_message_commands_no_terminal() -> None:
    assert shown(ValueError("\x1b]0;harmed\x07\r\x1b[2J\u202egnp\nsecond")) == (
        "\\x1b]0;harmed\\x07\\r\\x1b[2J\\u202egnp\nsecond"
    )


def run_import(folder: Path, root: Path, dataroot: str, tracking: str | None) -> str:
    """Return what crawl-import says of a dataroot, in a folder of its own; it fails."""
    text = (root / "params.yaml").read_text().replace("dataroot: data/builtin.yaml", f"dataroot: {dataroot}")
    (folder / "params.yaml").write_text(text)
    environment = {name: value for name, value in os.environ.items() if name != "MLFLOW_TRACKING_URI"}
    environment |= {"PYTHONPATH": str(root), "PYTHONWARNINGS": "ignore"}
    environment |= {} if tracking is None else {"MLFLOW_TRACKING_URI": tracking}
    run = subprocess.run(
        [sys.executable, "-m", "stages.crawl_import"], cwd=folder, env=environment, capture_output=True, text=True
    )
    assert run.returncode in (1, 2), run.stderr
    return run.stdout + run.stderr


@pytest.mark.long
def test_the_password_of_a_store_that_is_away_is_not_told(tmp_path: Path, root: Path) -> None:
    said = run_import(tmp_path, root, "nowhere", f"http://me:{SECRET}@127.0.0.1:9")
    assert "the MLflow store http://127.0.0.1:9 does not answer" in said
    assert SECRET not in said


@pytest.mark.long
def test_the_password_in_a_dataroot_is_not_told_nor_logged(tmp_path: Path, root: Path) -> None:
    said = run_import(tmp_path, root, f"https://me:{SECRET}@host.example/list.csv", None)
    assert "dataroot https:/" in said
    assert SECRET not in said
    assert SECRET.encode() not in b"".join(path.read_bytes() for path in tmp_path.glob("mlflow.db*"))


@pytest.mark.long
def test_a_list_with_commands_in_its_columns_commands_no_terminal(tmp_path: Path, root: Path) -> None:
    (tmp_path / "list.csv").write_text("\x1b[2Jaddress\nhttps://a.example\n")
    said = run_import(tmp_path, root, str(tmp_path / "list.csv"), None)
    assert "\\x1b[2jaddress" in said
    assert "\x1b[2" not in said

"""What is shown and logged: no credentials, nothing that commands a terminal; in small, and of whole stages."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pipeline.messages import printable, shown, without_credentials, without_secrets
from pipeline.sources.urls import wanted

SECRET = "hunter2"  # noqa: S105


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("http://me:hunter2@host:5000/a", "http://host:5000/a"),
        ("http://hunter2@host", "http://host"),
        ("postgresql+psycopg2://me:hun@ter2@host/db", "postgresql+psycopg2://host/db"),
        ("'postgresql://me:hun/te?r#2's@host/db' and me@b", "'postgresql://host/db' and me@b"),
        ("mysql+pymysql://host:3306/db and me@b", "mysql+pymysql://host:3306/db and me@b"),
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


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("https://host/a?token=hunter2", "https://host/a?token=***"),
        ("https://host/a?page=2&access_token=hunter2&size=9#top", "https://host/a?page=2&access_token=***&size=9#top"),
        ("https://host/a?login=me&api_key=hunter2", "https://host/a?login=me&api_key=***"),
        ("https://host/a?apikey=hunter2;more", "https://host/a?apikey=***"),
        ("https://host/a?key=hunter2&sig=h%75nter2", "https://host/a?key=***&sig=***"),
        ("https://host/a?PASSWORD=hunter2", "https://host/a?PASSWORD=***"),
        (
            "https://s3/a?X-Amz-Credential=AKIA%2Fs3&X-Amz-Date=1&X-Amz-Security-Token=t&X-Amz-Signature=0f",
            "https://s3/a?X-Amz-Credential=***&X-Amz-Date=1&X-Amz-Security-Token=***&X-Amz-Signature=***",
        ),
        ("https://gcs/a?GoogleAccessId=me&Expires=1&Signature=hunter2", "https://gcs/a?GoogleAccessId=me&Expires=1&Signature=***"),
        ("https://s3/a?AWSAccessKeyId=AKIA&clientSecret=s", "https://s3/a?AWSAccessKeyId=***&clientSecret=***"),
        ("https://host/#id_token=hunter2", "https://host/#id_token=***"),
        ("https://host/a?PHPSESSID=hunter2", "https://host/a?PHPSESSID=***"),
        ("https://host/a;jsessionid=hunter2?sid=hunter2", "https://host/a;jsessionid=***"),
        ("https://host/a?authkey=hunter2&secretkey=hunter2", "https://host/a?authkey=***&secretkey=***"),
        ("https://host/a?oauth=hunter2&hmac=hunter2&pw=hunter2", "https://host/a?oauth=***&hmac=***&pw=***"),
        ("https://host/a?access%5Ftoken=hunter2&auth_token[]=x", "https://host/a?access%5Ftoken=***&auth_token[]=***"),
        ("https://cdn/a?Policy=hunter2&Key-Pair-Id=K1", "https://cdn/a?Policy=***&Key-Pair-Id=K1"),
        ("<a href='https://host/a?b=1&amp;token=hunter2'>", "<a href='https://host/a?b=1&amp;token=***'>"),
        ("https://me:hunter2@host/a?auth=hunter2 and ?jwt=h", "https://host/a?auth=*** and ?jwt=***"),
        ("https://host/a?monkey=1&design=2&author=3&compass=4", "https://host/a?monkey=1&design=2&author=3&compass=4"),
        ("https://host/token=1/key=2.png?id=3&tokens=4", "https://host/token=1/key=2.png?id=3&tokens=4"),
        ("https://host/a?token=&b=1", "https://host/a?token=&b=1"),
    ],
)  # fmt: skip
def test_tokens_of_a_query_are_hidden_where_it_is_shown(text: str, left: str) -> None:
    assert without_secrets(text) == left
    assert printable(text) == shown(text) == left
    assert without_secrets(left) == left


def test_what_is_stored_keeps_its_query() -> None:
    assert wanted("https://me:hunter2@host/a?token=1", None, None).url == "https://host/a?token=1"


@pytest.mark.parametrize(
    "text",
    [
        "?" + "a_" * 400_000,
        "?_key" * 100_000,
        "?token=" * 100_000,
        "://" * 300_000,
        "http://" + "a" * 10**6,
        "a@" * 500_000,
        "://@" * 300_000,
        "mysql://a:" * 100_000,
    ],
)
def test_long_texts_take_no_time(text: str) -> None:
    began = time.monotonic()
    without_secrets(text)
    assert time.monotonic() - began < 2


def test_a_message_commands_no_terminal() -> None:
    assert shown(ValueError("\x1b]0;harmed\x07\r\x1b[2J\u202egnp\nsecond")) == (
        "\\x1b]0;harmed\\x07\\r\\x1b[2J\\u202egnp\nsecond"
    )


def run_import(folder: Path, root: Path, dataroot: str, tracking: str | None) -> str:
    """Return what crawl-import says of a dataroot, in a folder of its own; it fails."""
    text = (root / "params.yaml").read_text().replace("dataroot: data/builtin.yaml", f"dataroot: {dataroot}")
    (folder / "params.yaml").write_text(text)
    environment = {**os.environ, "PYTHONPATH": str(root), "PYTHONWARNINGS": "ignore"}
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

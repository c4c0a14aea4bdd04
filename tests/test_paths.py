from pathlib import Path

import pytest

from pipeline.paths import main_checkout, metrics_file


@pytest.mark.parametrize(
    ("root", "main"),
    [
        pytest.param("/home/me/faces", "/home/me/faces", id="dvc repro"),
        pytest.param("/home/me/faces/.dvc/tmp/exps/standalone/tmpab12", "/home/me/faces", id="dvc exp run --temp"),
        pytest.param("/home/me/faces/.dvc/tmp/exps/tmpab12", "/home/me/faces", id="dvc exp run --queue"),
    ],
)
def test_main_checkout(root: str, main: str) -> None:
    assert main_checkout(Path(root)) == Path(main)


def test_metrics_file() -> None:
    assert metrics_file("crawl-import") == Path("metrics/crawl_import.json")

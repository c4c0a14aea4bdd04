from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipeline.dcgan.identity import code_digests, fingerprint, training_key
from pipeline.errors import StageError
from pipeline.params import Params

CODE = {"stages/train.py": "aa"}
PARAMS = {"lr": 0.0002, "num_epochs": 5}
RUNTIME = {"device": "cpu", "precision": "bf16", "torch": "2", "data": "bb"}


@pytest.mark.parametrize(
    ("code", "params", "runtime", "is_same"),
    [
        pytest.param(CODE, {"num_epochs": 9, "lr": 0.0002}, RUNTIME, True, id="more epochs, in another order"),
        pytest.param({"stages/train.py": "ab"}, PARAMS, RUNTIME, False, id="code"),
        pytest.param(CODE, PARAMS | {"lr": 0.0003}, RUNTIME, False, id="a param"),
        pytest.param(CODE, PARAMS, RUNTIME | {"data": "bc"}, False, id="data"),
        pytest.param(CODE, PARAMS, RUNTIME | {"device": "cuda"}, False, id="device"),
        pytest.param(CODE, PARAMS, RUNTIME | {"precision": "fp32"}, False, id="precision"),
    ],
)
def test_fingerprint(code: dict[str, str], params: dict[str, Any], runtime: dict[str, str], is_same: bool) -> None:
    assert (fingerprint(code, params, runtime) == fingerprint(CODE, PARAMS, RUNTIME)) == is_same


def test_digests_of_the_code_among_the_deps(tmp_path: Path) -> None:
    (tmp_path / "package").mkdir()
    for name in ("one.py", "package/two.py", "package/notes.txt", "data.npy"):
        (tmp_path / name).write_text(name)
    found = code_digests([tmp_path / "one.py", tmp_path / "package", tmp_path / "data.npy"])
    assert found == {
        str(tmp_path / "one.py"): hashlib.sha256(b"one.py").hexdigest(),
        str(tmp_path / "package" / "two.py"): hashlib.sha256(b"package/two.py").hexdigest(),
    }


def test_the_key_follows_what_dvc_yaml_lists(
    small: Callable[..., Params], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("train.py").write_text("one")
    Path("dvc.yaml").write_text("stages:\n  train:\n    deps: [train.py]\n    params: [lr, train.flip, num_epochs]\n")
    key = training_key(small(), "data", "cpu", 1, "fp32")
    assert training_key(small(num_epochs=99, workers=9, beta1=0.9), "data", "cpu", 1, "fp32") == key
    assert training_key(small(lr=0.1), "data", "cpu", 1, "fp32") != key
    assert training_key(small(), "data", "cpu", 2, "fp32") != key
    assert training_key(small(flip=False), "data", "cpu", 1, "fp32") != key
    Path("train.py").write_text("two")
    assert training_key(small(), "data", "cpu", 1, "fp32") != key


def test_a_dvc_yaml_without_the_stage(
    small: Callable[..., Params], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("dvc.yaml").write_text("stages: {}\n")
    with pytest.raises(StageError, match="no stage named train"):
        training_key(small(), "data", "cpu", 1, "fp32")

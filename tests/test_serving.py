"""What the served model takes, draws and refuses, without a server; tests/test_promotion.py has one."""

from __future__ import annotations

import base64
import io
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from mlflow.exceptions import MlflowException
from PIL import Image

from pipeline.dcgan.networks import Generator
from pipeline.dcgan.sampling import generate, sample_noise
from pipeline.dcgan.weights import save_weights
from pipeline.serving import FaceServer, _load_pyfunc, write_model

# MLflow's own dependencies warn of each other's changes; that is not this project's to mend.
pytestmark = pytest.mark.filterwarnings(
    "ignore::DeprecationWarning", "ignore::ResourceWarning", "ignore::FutureWarning"
)


def network(nc: int = 3) -> Generator:
    return Generator(nz=5, ngf=2, nc=nc, image_size=32).eval()


def pictures(server: FaceServer, *rows: dict) -> list[np.ndarray]:
    answer = server.predict(pd.DataFrame(list(rows)))
    return [np.asarray(Image.open(io.BytesIO(base64.b64decode(row["png"], validate=True)))) for row in answer]


@pytest.mark.parametrize("nc", [1, 3])
def test_the_faces_of_a_seed_are_those_of_generate(nc: int, tmp_path: Path) -> None:
    netG = network(nc)
    sizes = {"nz": "5", "ngf": "2", "nc": str(nc), "image_size": "32"}
    save_weights(tmp_path / "netG.safetensors", netG, sizes)
    write_model(tmp_path / "netG.safetensors", 6, tmp_path / "model")
    server = _load_pyfunc(str(tmp_path / "model"))
    drawn = pictures(server, {"n": 2, "seed": 3, "truncation": 0.5}, {"n": 4, "seed": 0, "truncation": 1.0})
    expected = np.concatenate(
        [generate(netG, sample_noise(2, 5, 3) * 0.5, 2), generate(netG, sample_noise(4, 5, 0), 4)]
    )
    assert np.array_equal(np.stack(drawn), np.broadcast_to(expected, (6, 32, 32, 3)))


def test_seed_and_truncation_may_be_left_out() -> None:
    server = FaceServer(network(), most=2)
    for left, given in zip(
        pictures(server, {"n": 2}), pictures(server, {"n": 2, "seed": 0, "truncation": 1}), strict=True
    ):
        assert np.array_equal(left, given)


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        pytest.param([{"n": 0}], "n must be 1 or more, is 0", id="no face"),
        pytest.param([{"n": -3}], "n must be 1 or more, is -3", id="fewer than none"),
        pytest.param([{"n": 9}], "9 faces are asked for, at most 8", id="too many"),
        pytest.param([{"n": 5}, {"n": 4}], "9 faces are asked for, at most 8", id="too many together"),
        pytest.param([{"n": 1, "seed": -1}], "seed must be 0 or more", id="a negative seed"),
        pytest.param([{"n": 1, "truncation": -0.1}], "truncation must be a number from 0", id="a negative factor"),
        pytest.param([{"n": 1, "truncation": float("nan")}], "truncation must be", id="no number"),
        pytest.param([{"n": 1, "truncation": float("inf")}], "truncation must be", id="no end"),
        pytest.param([{"n": 1, "truncation": 1e300}], "truncation must be", id="noise beyond float32"),
    ],
)  # fmt: skip
def test_what_is_refused(rows: list[dict], says: str) -> None:
    with pytest.raises(MlflowException, match=says) as fault:
        FaceServer(network(), most=8).predict(pd.DataFrame(rows))
    assert fault.value.get_http_status_code() == 400

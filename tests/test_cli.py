from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from pipeline.cli import app
from pipeline.dcgan.networks import Generator
from pipeline.dcgan.sampling import generate, load_generator, sample_noise
from pipeline.dcgan.weights import save_weights


@pytest.fixture
def weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A generator of 32×32 faces in the place where train writes it; the current folder is its project's."""
    monkeypatch.chdir(tmp_path)
    return make_weights(nc=3)


def make_weights(nc: int) -> str:
    netG = Generator(nz=5, ngf=4, nc=nc, image_size=32)
    netG(sample_noise(8, 5, 1))
    metadata = {"nz": "5", "ngf": "4", "nc": str(nc), "image_size": "32"}
    save_weights(Path("models/generator.safetensors"), netG.eval(), metadata)
    return "models/generator.safetensors"


def dcgan(*words: str) -> tuple[int, str]:
    """Return the exit code and all that was printed."""
    result = CliRunner().invoke(app, words)
    return result.exit_code, result.output


def pixels(path: str | Path) -> np.ndarray:
    with Image.open(path) as image:
        assert image.format == "PNG"
        return np.asarray(image.convert("RGB"))


def test_a_grid(weights: str) -> None:
    assert dcgan("generate", "--out", "some/grid.png", "--count", "6", "--columns", "3") == (
        0,
        "6 faces: some/grid.png\n",
    )
    assert pixels("some/grid.png").shape == (2 * 32 + 3 * 2, 3 * 32 + 4 * 2, 3)


def test_loose_files(weights: str) -> None:
    assert dcgan("generate", "--out", "faces", "-n", "11")[0] == 0
    names = sorted(path.name for path in Path("faces").iterdir())
    assert names == [f"{number:02}.png" for number in range(11)]
    assert {pixels(f"faces/{name}").shape for name in names} == {(32, 32, 3)}


def test_a_seed_is_a_set_of_faces(weights: str) -> None:
    for name, seed in (("one", "1"), ("again", "1"), ("other", "2")):
        dcgan("generate", "--out", f"{name}.png", "--seed", seed)
    assert Path("one.png").read_bytes() == Path("again.png").read_bytes()
    assert Path("one.png").read_bytes() != Path("other.png").read_bytes()


def test_truncation_multiplies_the_noise(weights: str) -> None:
    dcgan("generate", "--out", "faces", "-n", "2", "--truncation", "0")
    assert np.array_equal(pixels("faces/0.png"), pixels("faces/1.png"))
    dcgan("generate", "--out", "faces", "-n", "2", "--truncation", "1")
    assert not np.array_equal(pixels("faces/0.png"), pixels("faces/1.png"))


def test_luma_faces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    make_weights(nc=1)
    assert dcgan("generate", "--out", "faces", "-n", "1")[0] == 0
    face = pixels("faces/0.png")
    assert (face == face[:, :, :1]).all()
    assert dcgan("generate", "--out", "grid.png")[0] == 0


def test_the_way_between_two_faces_begins_and_ends_with_them(weights: str) -> None:
    assert dcgan("interpolate", "--out", "way.png", "--rows", "2", "--steps", "4", "--seed", "3")[0] == 0
    way = pixels("way.png")
    assert way.shape == (2 * 32 + 3 * 2, 4 * 32 + 5 * 2, 3)
    dcgan("generate", "--out", "ends", "-n", "4", "--seed", "3")
    first, last = way[2:34, 2:34], way[2:34, -34:-2]
    # A batch of another size may round another way.
    assert np.abs(first.astype(int) - pixels("ends/0.png")).max() <= 1
    assert np.abs(last.astype(int) - pixels("ends/2.png")).max() <= 1


@pytest.mark.parametrize(
    "words",
    [
        pytest.param(["generate", "--count", "0"], id="no faces"),
        pytest.param(["generate", "--count", "many"], id="no number"),
        pytest.param(["generate", "--seed", "-1"], id="a negative seed"),
        pytest.param(["generate", "--truncation", "-0.5"], id="a negative truncation"),
        pytest.param(["generate", "--out", "faces.jpg"], id="no PNG"),
        pytest.param(["generate", "--colour"], id="an unknown option"),
        pytest.param(["interpolate", "--steps", "1"], id="no way between"),
        pytest.param(["interpolate", "--out", "folder"], id="no file"),
        pytest.param(["train"], id="an unknown command"),
        pytest.param([], id="nothing"),
    ],
)
def test_bad_usage(words: list[str], weights: str) -> None:
    before = sorted(Path().rglob("*"))
    assert dcgan(*words)[0] == 2
    assert sorted(Path().rglob("*")) == before


@pytest.mark.parametrize("command", ["generate", "interpolate"])
def test_no_generator(command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    expected = "dcgan: models/generator.safetensors is missing; run 'dvc repro train' first\n"
    assert dcgan(command) == (1, expected)


def test_the_generator_alone_decides_what_is_drawn(weights: str) -> None:
    dcgan("generate", "--out", "faces", "-n", "1", "--seed", "4", "--weights", weights)
    netG = load_generator(Path(weights), torch.device("cpu"))
    assert np.array_equal(pixels("faces/0.png"), generate(netG, sample_noise(1, 5, 4), 1)[0])

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from pipeline import paths
from pipeline.dcgan import sampling
from pipeline.dcgan.networks import Generator
from pipeline.dcgan.sampling import generate, load_generator, sample_noise, to_uint8
from pipeline.dcgan.weights import save_weights
from pipeline.errors import StageError
from pipeline.params import Params

CPU = torch.device("cpu")
SIZES = {"nz": 5, "ngf": 4, "nc": 3, "image_size": 32}


@pytest.fixture
def netG() -> Generator:
    netG = Generator(**SIZES)
    netG(sample_noise(8, 5, 1))  # running statistics that are not the initial ones
    return netG.eval()


def test_noise_is_standard_normal_and_its_beginning_does_not_depend_on_how_much_follows() -> None:
    z = sample_noise(1000, 10, seed=0)
    assert z.shape == (1000, 10, 1, 1)
    assert z.dtype == torch.float32
    assert z.mean().item() == pytest.approx(0, abs=0.05)
    assert z.std().item() == pytest.approx(1, abs=0.05)
    assert torch.equal(sample_noise(1000, 10, seed=0), z)
    assert not torch.equal(sample_noise(1000, 10, seed=1), z)


def test_to_uint8() -> None:
    images = torch.tensor([-1.0, 0.0, 1.0, 2.0]).view(1, 1, 2, 2)
    assert to_uint8(images).tolist() == [[[[0], [128]], [[255], [255]]]]


def test_a_saved_generator_draws_the_same(netG: Generator, tmp_path: Path) -> None:
    save_weights(tmp_path / "g.safetensors", netG, {key: str(value) for key, value in SIZES.items()})
    loaded = load_generator(tmp_path / "g.safetensors", CPU)
    assert not loaded.training
    assert loaded.nz == 5
    z = sample_noise(3, 5, 0)
    assert np.array_equal(generate(loaded, z, 3), generate(netG, z, 3))


def test_pictures_do_not_depend_on_their_batch(netG: Generator) -> None:
    z = sample_noise(7, 5, 0)
    whole, split = generate(netG, z, 7), generate(netG, z, 2)
    assert whole.shape == (7, 32, 32, 3)
    assert whole.dtype == np.uint8
    assert np.abs(whole.astype(int) - split).max() <= 1


@pytest.mark.parametrize("training", [True, False])
def test_drawing_leaves_the_generator_as_it_was(training: bool, netG: Generator) -> None:
    netG.train(training)
    before = {name: value.clone() for name, value in netG.state_dict().items()}
    generate(netG, sample_noise(4, 5, 0), 4)
    assert netG.training == training
    assert all(torch.equal(value, before[name]) for name, value in netG.state_dict().items())


@pytest.mark.parametrize(
    ("change", "words"),
    [
        pytest.param({"nz": None}, "does not say nz", id="a size is missing"),
        pytest.param({"nz": "many"}, "does not say nz", id="a size is no number"),
        pytest.param({"ngf": "8"}, "holds no Generator of the sizes", id="a size is wrong"),
        pytest.param({"image_size": "64"}, "holds no Generator of the sizes", id="another depth"),
        pytest.param({"ngf": "100000"}, "holds no Generator of the sizes", id="terabytes"),
        pytest.param({"nz": str(10**12)}, "holds no Generator of the sizes", id="petabytes"),
        pytest.param({"image_size": str(2**40)}, "does not say nz", id="38 layers"),
        pytest.param({"nz": str(10**30)}, "does not say nz", id="beyond 64 bits"),
        pytest.param({"nz": "9" * 5000}, "does not say nz", id="beyond Python's digits"),
        pytest.param({"nz": "-1"}, "does not say nz", id="less than none"),
        pytest.param({"image_size": "0"}, "does not say nz", id="no side"),
        pytest.param({"image_size": "1"}, "does not say nz", id="no layer"),
    ],
)
def test_metadata_that_does_not_fit(change: dict[str, str | None], words: str, netG: Generator, tmp_path: Path) -> None:
    metadata = {key: str(value) for key, value in SIZES.items()} | change
    named = {key: value for key, value in metadata.items() if value is not None}
    save_weights(tmp_path / "g.safetensors", netG, named)
    with pytest.raises(StageError, match=words):
        load_generator(tmp_path / "g.safetensors", CPU)


@pytest.mark.parametrize(
    ("generator", "ema", "loaded"),
    [
        pytest.param("last", True, [paths.GENERATOR, paths.GENERATOR_LIVE], id="the average and netG"),
        pytest.param("best", True, [paths.GENERATOR_BEST, paths.GENERATOR_LIVE], id="the best average and netG"),
        pytest.param("last", False, [paths.GENERATOR], id="netG, which has no average, once"),
        pytest.param("best", False, [paths.GENERATOR_BEST, paths.GENERATOR_LIVE], id="the best and the last netG"),
    ],
)
def test_the_generators_that_the_params_name_are_evaluated(
    generator: str, ema: bool, loaded: list[Path], params: Params, monkeypatch: pytest.MonkeyPatch
) -> None:
    evaluate = params.evaluate.model_copy(update={"generator": generator})
    named = params.model_copy(update={"evaluate": evaluate, "train": params.train.model_copy(update={"ema": ema})})
    monkeypatch.setattr(sampling, "load_generator", lambda path, _: path)
    nets = sampling.load_evaluated(named, CPU)
    assert list(nets.items()) == list(zip(("", "live"), loaded, strict=False))


def test_generators_that_do_not_fit_each_other_or_the_faces_are_refused() -> None:
    def netG(nz: int, image_size: int) -> Generator:
        return Generator(nz=nz, ngf=2, nc=3, image_size=image_size)

    faces = np.zeros((4, 32, 32, 3), np.uint8)
    sampling.require_alike({"": netG(4, 32), "live": netG(4, 32)}, faces)
    with pytest.raises(StageError, match=r"the generator to evaluate has image_size, nc and nz \(64, 3, 4\), where"):
        sampling.require_alike({"": netG(4, 64), "live": netG(4, 32)}, faces)
    with pytest.raises(
        StageError, match=r"the generator live has image_size, nc and nz \(32, 3, 5\), where \(32, 3, 4\)"
    ):
        sampling.require_alike({"": netG(4, 32), "live": netG(5, 32)}, faces)

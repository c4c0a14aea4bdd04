"""The table of recipes and the race against the classic loop: what they measure is what they say."""

from __future__ import annotations

import json
from dataclasses import astuple, replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks import recipes, train_vs_classic
from benchmarks.classic_dcgan import classic_training
from benchmarks.recipe_training import CLASSIC, DEFAULTS, RECIPES, SAME
from pipeline.codec import decode, encode_jpeg
from pipeline.dcgan.networks import Generator
from pipeline.packing import resize_face
from pipeline.params import Params
from pipeline.sources.builtin import draw

SIDE = 32

pytestmark = [pytest.mark.long, pytest.mark.filterwarnings("ignore:Please use the new API settings:UserWarning")]


@pytest.fixture
def tiny(params: Params, monkeypatch: pytest.MonkeyPatch) -> Params:
    """Params for small nets on the CPU, which the benchmarks read too."""
    small = {"image_size": SIDE, "ngf": 4, "ndf": 4, "nz": 5, "batch_size": 8, "ngpu": 0}
    tiny = params.model_copy(update={**small, "train": params.train.model_copy(update={"precision": "fp32"})})
    for module in (recipes, train_vs_classic):
        monkeypatch.setattr(module, "load_params", lambda: tiny)
    return tiny


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder of 50 faces."""
    folder = tmp_path / "faces"
    folder.mkdir()
    for number in range(50):
        (folder / f"{number:02}.jpg").write_bytes(encode_jpeg(draw(0, number, 64), 92))
    return folder


def test_the_recipe_called_the_defaults_is_that_of_params_yaml(params: Params) -> None:
    recipe, knobs = RECIPES[DEFAULTS], params.train
    assert (recipe.batch_size, recipe.lr_ratio) == (params.batch_size, knobs.lr_ratio)
    assert (recipe.ema, recipe.flip) == (knobs.ema, knobs.flip)
    assert recipe.augment == tuple(name for name, on in knobs.augment.model_dump().items() if on)
    assert (recipe.spectral_norm, recipe.hinge, recipe.r1) == (False, False, 0.0), "the pipeline has none of these"


def test_each_recipe_differs_in_one_thing_from_what_it_is_compared_with() -> None:
    chain = [name for name in RECIPES if not name.startswith("…")]
    beside = [(chain[-1], name) for name in RECIPES if name not in chain]
    for one, other in [*pairwise(chain), *beside]:
        changed = zip(astuple(RECIPES[one]), astuple(RECIPES[other]), strict=True)
        assert sum(before != after for before, after in changed) == (2 if other == "… and both" else 1), other


def test_a_tenth_of_a_folder_is_kept_aside_and_the_rest_is_the_same_for_both_loops(
    folder: Path, tmp_path: Path, tiny: Params, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in (SAME, DEFAULTS):
        monkeypatch.setitem(RECIPES, name, replace(RECIPES[name], batch_size=tiny.batch_size))
    monkeypatch.setattr(torch, "set_num_threads", lambda _: None)  # of this process, which has other tests to run
    recipes.prepare(folder, tmp_path / "work", SIDE)
    files = sorted((tmp_path / "work" / "files").rglob("*.jpg"))
    train, holdout = np.load(tmp_path / "work" / "train.npy"), np.load(tmp_path / "work" / "holdout.npy")
    assert (train.shape, train.dtype.name, len(files)) == ((45, SIDE, SIDE, 3), "uint8", 45)
    assert holdout.shape == (5, 1280)
    assert {int(file.stem) % 10 for file in files} == set(range(9))
    in_order = sorted(files, key=lambda file: int(file.stem))
    assert np.array_equal(train, [resize_face(decode(file.read_bytes(), 10**6), SIDE, 3) for file in in_order])
    setting = recipes.Setting(tmp_path / "work", 4, 0.0)
    for recipe in (CLASSIC, DEFAULTS):
        found = recipes.outcome(recipe, 0, setting)
        assert found.kimg == tiny.batch_size / 1000
        assert found.kid > 0


def test_a_folder_without_pictures_is_no_reason_to_draw_some(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="holds 0 pictures"):
        recipes.prepare(tmp_path / "misspelt", tmp_path / "work", SIDE)


def test_the_table_has_the_mean_and_the_spread_of_the_seeds() -> None:
    found = {"a": [recipes.Outcome(100.0, 40.0), recipes.Outcome(200.0, 50.0)], "b": [recipes.Outcome(7.0, 1.0)]}
    assert recipes.table(found).splitlines()[2:] == ["| a | 150 ± 71 | 45 |", "| b | 7 | 1 |"]


def test_the_classic_loop_learns_from_the_pictures_and_tells_how_long_it_waited(folder: Path, tiny: Params) -> None:
    torch.manual_seed(0)
    netG = Generator(nz=tiny.nz, ngf=tiny.ngf, nc=tiny.nc, image_size=SIDE)
    steps = classic_training(folder.parent, tiny, torch.device("cpu"), netG, loaders=0)
    assert next(steps) > 0
    first = netG.main[0].weight
    assert first.std().item() == pytest.approx(0.02, rel=0.2), "N(0, 0.02), a step later"
    before = first.detach().clone()
    for _ in range(7):  # over the end of an epoch of 50 pictures
        assert next(steps) > 0
    assert not torch.equal(first, before)
    assert first.isfinite().all()


def test_the_operations_of_a_step_are_those_of_its_convolutions(params: Params) -> None:
    """By hand: multiplications and additions of each convolution, forwards, and to its input's and weights' slopes."""
    width, side, nz, nc = 64, 64, 100, 3
    wide = [nc, width, 2 * width, 4 * width, 8 * width]
    netD = [2 * 16 * a * b * (side >> n) ** 2 for n, (a, b) in enumerate(pairwise(wide), 1)] + [2 * 16 * 8 * width]
    netG = [2 * 16 * nz * 8 * width] + [2 * 16 * a * b * (4 << n) ** 2 for n, (a, b) in enumerate(pairwise(wide[::-1]))]
    of_netD = 2 * (3 * sum(netD) - netD[0])  # real and fake faces; nothing asks for the slope of these
    of_netG = sum(netG) + 2 * sum(netD) + 2 * sum(netG) - netG[0]
    sized = params.model_copy(
        update={"ngf": width, "ndf": width, "image_size": side, "nz": nz, "nc": nc, "batch_size": 2}
    )
    assert train_vs_classic.flop_per_image(sized) == pytest.approx(of_netD + of_netG, rel=1e-6)


def test_both_loops_are_timed_in_turns(tiny: Params, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    figures = train_vs_classic.compare(ngf=4, turns=2, steps=3, work=tmp_path)
    assert set(figures) == {
        f"{name}_ngf4" for name in ("ratio", "img_per_s", "classic_img_per_s", "of_matmul", "waiting")
    }
    ratio = figures["img_per_s_ngf4"] / figures["classic_img_per_s_ngf4"]
    assert figures["ratio_ngf4"] == pytest.approx(ratio, rel=0.01, abs=0.006)
    assert figures["waiting_ngf4"] > 0
    assert len(capsys.readouterr().out.partition("in each turn ")[2].splitlines()[0].split(", ")) == 2
    assert json.dumps(figures)

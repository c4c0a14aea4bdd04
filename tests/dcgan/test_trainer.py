from __future__ import annotations

import copy
import os
import signal
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

import numpy as np
import pytest
import torch

from pipeline.dcgan.checkpoint import Checkpoint
from pipeline.dcgan.device import open_fabric
from pipeline.dcgan.ema import update_ema
from pipeline.dcgan.figures import COLUMNS, Row
from pipeline.dcgan.state import TrainState, new_state, seeded
from pipeline.dcgan.trainer import fixed_noise_pictures, train
from pipeline.faces import Faces
from pipeline.params import Params

CPU = torch.device("cpu")
Small = Callable[..., Params]


class Told:
    """A report that keeps what it is told."""

    def __init__(self) -> None:
        self.ticks: list[Row] = []
        self.scores: list[Row] = []
        self.epochs: list[tuple[Row, Faces]] = []
        self.collapses: list[tuple[str, int]] = []

    def tick(self, figures: Row) -> None:
        self.ticks.append(figures)

    def quality(self, figures: Row) -> None:
        self.scores.append(figures)

    def epoch(self, figures: Row, pictures: Faces) -> None:
        self.epochs.append((figures, pictures))

    def collapsed(self, how: str, step: int) -> None:
        self.collapses.append((how, step))


class Cut(Exception):  # noqa: N818
    """Stands for a power cut."""


def run(
    state: TrainState,
    faces: Faces,
    params: Params,
    save: Callable[[TrainState], None] = lambda _: None,
    judge: Callable[[Faces], float] | None = None,
) -> TrainState:
    train(state, faces, params, open_fabric(params), report=Told(), save=save, judge=judge)
    return state


def same(one: Any, other: Any) -> bool:
    """Whether two states dicts are equal to the last bit, whatever is nested in them, but for wall times."""
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other)
    if isinstance(one, dict):
        keys = [key for key in one if key not in ("seconds", "img_per_s")]
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in keys)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(one == other)


def test_a_run_notes_what_it_should(faces: Faces, small: Small) -> None:
    params = small(num_epochs=3)
    told, saved_at = Told(), []
    state = new_state(params, CPU)
    train(
        state,
        faces,
        params,
        open_fabric(params),
        report=told,
        save=lambda state: saved_at.append(state.step),
    )
    assert saved_at == [9]
    assert [row["step"] for row in state.rows] == [2, 4, 6, 8]
    assert all(set(row) == {*COLUMNS, "lossD", "diversity", "img_per_s"} for row in state.rows)
    assert told.ticks == state.rows
    assert all(0 < row["diversity"] < 1 and row["img_per_s"] > 0 for row in state.rows)
    assert (told.collapses, told.scores, state.quality, state.best) == ([], [], [], None)
    assert [figures["step"] for figures, _ in told.epochs] == [3, 6, 9]
    assert [figures for figures, _ in told.epochs] == state.epochs
    for figures, pictures in told.epochs:
        assert figures["kimg"] == figures["step"] * 4 / 1000
        assert figures["lossD"] == figures["lossD_real"] + figures["lossD_fake"]
        assert 0 < figures["D_x"] < 1
        assert figures["img_per_s"] > 0
        assert pictures.shape == (64, 32, 32, 3)
        assert pictures.dtype == np.uint8
    assert list(state.frames) == [0, 2, 4, 6, 8]
    assert np.array_equal(told.epochs[-1][1], fixed_noise_pictures(state, params))


def test_netD_sees_real_and_drawn_faces_in_the_same_range(small: Small) -> None:
    """Bytes of 0 to 255 are -1 to 1, as netG's tanh gives them: by another range netD would tell them at once."""
    unchanged = small().train.augment.model_copy(update=dict.fromkeys(("color", "translation", "cutout"), False))
    params = small(num_epochs=1, flip=False, augment=unchanged)
    faces = np.broadcast_to(np.array([0, 255], np.uint8)[:, None, None, None], (2, 32, 32, 3)).repeat(4, axis=0)
    state, seen = new_state(params, CPU), []
    state.netD.register_forward_pre_hook(lambda _, given: seen.append(given[0].detach()))
    run(state, faces, params)
    real = [batch for batch in seen if set(batch.unique().tolist()) <= {-1.0, 1.0}]
    drawn = [batch for batch in seen if len(batch.unique()) > 2]
    assert real
    assert drawn
    assert len(real) + len(drawn) == len(seen)
    assert set(torch.cat(real).unique().tolist()) == {-1.0, 1.0}
    assert torch.cat(drawn).abs().max() <= 1
    assert torch.cat(drawn).min() < 0 < torch.cat(drawn).max()


def test_the_best_generator_is_kept_beside_the_last(faces: Faces, small: Small) -> None:
    params = small(num_epochs=3, quick_kid_images=8, quick_kid_kimg=0.012)  # every third step
    scores, seen = iter([5.0, 3.0, 4.0]), []

    def judge(pictures: Faces) -> float:
        seen.append(pictures)
        return next(scores)

    state = run(new_state(params, CPU), faces, params, judge=judge)
    assert state.quality == [
        {"step": 3, "kimg": 0.012, "quick_kid": 5.0},
        {"step": 6, "kimg": 0.024, "quick_kid": 3.0},
        {"step": 9, "kimg": 0.036, "quick_kid": 4.0},
    ]
    assert all(pictures.shape == (8, 32, 32, 3) for pictures in seen)
    shorter = small(num_epochs=2)
    assert same(state.best, run(new_state(shorter, CPU), faces, shorter).shown.state_dict())


def test_rows_are_means_over_their_interval(faces: Faces, small: Small) -> None:
    fine = run(new_state(small(log_steps=1), CPU), faces, small(log_steps=1)).rows
    coarse = run(new_state(small(log_steps=2), CPU), faces, small(log_steps=2)).rows
    for row, pair in zip(coarse, zip(fine[::2], fine[1::2], strict=True), strict=True):
        for name in COLUMNS[3:]:
            assert row[name] == pytest.approx((pair[0][name] + pair[1][name]) / 2)


def test_one_step_of_the_recipe_by_hand(faces: Faces, small: Small) -> None:
    """Without what is beside the recipe, the first step is that of the PyTorch tutorial's loop."""
    augment = small().train.augment.model_copy(update={"color": False, "translation": False, "cutout": False})
    params = small(batch_size=14, num_epochs=1, flip=False, ema=False, augment=augment)
    ours, theirs = new_state(params, CPU), new_state(params, CPU)
    noise = torch.randn(14, 5, 1, 1, generator=seeded(CPU, 0, "process 0"))
    real = torch.from_numpy(faces).permute(0, 3, 1, 2) / 127.5 - 1
    bce = torch.nn.BCELoss()

    theirs.netD.zero_grad()
    errD_real = bce(torch.sigmoid(theirs.netD(real)), torch.ones(14))
    errD_real.backward()
    fake = theirs.netG(noise)
    errD_fake = bce(torch.sigmoid(theirs.netD(fake.detach())), torch.zeros(14))
    errD_fake.backward()
    theirs.optD.step()
    theirs.netG.zero_grad()
    errG = bce(torch.sigmoid(theirs.netD(fake)), torch.ones(14))
    errG.backward()
    theirs.optG.step()

    run(ours, faces, params)
    figures = ours.epochs[0]
    assert figures["lossD_real"] == pytest.approx(errD_real.item(), rel=1e-5)
    assert figures["lossD_fake"] == pytest.approx(errD_fake.item(), rel=1e-5)
    assert figures["lossG"] == pytest.approx(errG.item(), rel=1e-4)
    for net, other in ((ours.netG, theirs.netG), (ours.netD, theirs.netD)):
        for weight, expected in zip(net.parameters(), other.parameters(), strict=True):
            # Adam's first step is lr · sign(gradient): a gradient of almost 0 may fall on either side.
            close = torch.isclose(weight, expected, atol=1e-6)
            assert close.float().mean() > 0.99


def test_the_same_seed_gives_the_same_weights_and_another_seed_others(faces: Faces, small: Small) -> None:
    first, again = (run(new_state(small(), CPU), faces, small(workers=workers)) for workers in (0, 2))
    other = run(new_state(small(seed=1), CPU), faces, small(seed=1))
    assert same(first.state_dict(), again.state_dict())
    assert not same(first.netG.state_dict(), other.netG.state_dict())


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("cut_at", [pytest.param(3, id="at an epoch's end"), pytest.param(4, id="within an epoch")])
def test_cut_off_and_taken_up_is_as_never_cut_off(
    precision: str, cut_at: int, faces: Faces, small: Small, tmp_path, monkeypatch: pytest.MonkeyPatch
) -> None:
    params = small(precision=precision, num_epochs=3, checkpoint_minutes=1e-9)  # one after each step
    whole = run(new_state(params, CPU), faces, params)
    checkpoint = Checkpoint(tmp_path)

    def save_and_cut(state: TrainState) -> None:
        checkpoint.save(state)
        if state.step == cut_at:
            raise Cut

    with pytest.raises(Cut):
        run(new_state(params, CPU), faces, params, save_and_cut)
    resumed = new_state(small(seed=7), CPU)  # nothing of a fresh state may shine through
    checkpoint.resume(resumed, total_steps=9, are_stored=bool)
    assert resumed.step == cut_at
    run(resumed, faces, params)
    assert same(whole.state_dict(), resumed.state_dict())


def test_of_epochs_of_few_steps_not_every_one_is_drawn(faces: Faces, small: Small) -> None:
    told, params = Told(), small(num_epochs=8, log_steps=9)
    state = new_state(params, CPU)
    train(state, faces, params, open_fabric(params), report=told, save=lambda _: None)
    assert [figures["step"] for figures, _ in told.epochs] == [9, 18, 24], "of three steps each, and the last"
    assert len(state.epochs) == 8


def test_more_epochs_go_on_from_fewer(faces: Faces, small: Small, tmp_path) -> None:
    whole = run(new_state(small(num_epochs=4), CPU), faces, small(num_epochs=4))
    checkpoint = Checkpoint(tmp_path)
    run(new_state(small(num_epochs=2), CPU), faces, small(num_epochs=2), checkpoint.save)
    checkpoint.finish(["outs"])
    state = new_state(small(num_epochs=4), CPU)
    checkpoint.resume(state, total_steps=12, are_stored=bool)
    assert state.step == 6
    run(state, faces, small(num_epochs=4))
    assert same(whole.state_dict(), state.state_dict())


@pytest.mark.parametrize(
    ("signum", "raised"),
    [
        pytest.param(signal.SIGINT, KeyboardInterrupt, id="Ctrl-C"),
        pytest.param(signal.SIGTERM, SystemExit, id="SIGTERM"),
    ],
)
def test_a_signal_ends_the_step_saves_and_leaves(
    signum: signal.Signals,
    raised: type[BaseException],
    faces: Faces,
    small: Small,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    state, saved_at = new_state(small(num_epochs=5), CPU), []

    def interrupted(*of_step: Any) -> None:
        if state.step == 4:
            os.kill(os.getpid(), signum)
        update_ema(*of_step)

    monkeypatch.setattr("pipeline.dcgan.trainer.update_ema", interrupted)
    before = signal.getsignal(signum)
    with pytest.raises(raised) as left:
        run(state, faces, small(num_epochs=5), lambda state: saved_at.append(state.step))
    assert saved_at == [4]
    assert signal.getsignal(signum) == before
    if isinstance(left.value, SystemExit):
        assert left.value.code == 143


def test_a_signal_after_the_last_step_was_saved_leaves_too(
    faces: Faces, small: Small, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(batches: Iterator[Any], stop: int) -> Iterator[Any]:
        yield from islice(batches, stop)
        os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr("pipeline.dcgan.trainer.islice", interrupted)
    saved_at: list[int] = []
    with pytest.raises(SystemExit) as left:
        run(new_state(small(num_epochs=1), CPU), faces, small(num_epochs=1), lambda state: saved_at.append(state.step))
    assert left.value.code == 143
    assert saved_at


@pytest.mark.parametrize("ema", [True, False])
def test_netG_learns_with_its_batch_statistics(ema: bool, faces: Faces, small: Small) -> None:
    """Showing pictures puts netG into eval mode where it is what is shown; learning must not go on so."""
    state = run(new_state(small(ema=ema), CPU), faces, small(ema=ema))
    assert state.netG.training
    statistics = state.netG.main[1]
    assert statistics.num_batches_tracked == 6  # type: ignore[union-attr]


def test_luma_faces(faces: Faces, small: Small) -> None:
    state = run(new_state(small(nc=1), CPU), faces[..., :1], small(nc=1))
    assert fixed_noise_pictures(state, small(nc=1)).shape == (64, 32, 32, 1)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_on_cuda(faces: Faces, small: Small) -> None:
    params = small(ngpu=1, precision="auto")
    fabric = open_fabric(params)
    state = new_state(params, fabric.device)
    train(state, faces, params, fabric, report=Told(), save=lambda _: None)
    assert state.step == 6
    assert all(np.isfinite(list(row.values())).all() for row in state.rows)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_on_cuda_a_run_that_was_cut_off_ends_as_one_that_was_not(faces: Faces, small: Small) -> None:
    params, kept = small(ngpu=1), []

    def keep_and_end(state: TrainState) -> None:
        kept.append(copy.deepcopy(state.state_dict()))
        raise Cut

    device = open_fabric(params).device
    whole = run(new_state(params, device), faces, params)
    with pytest.raises(Cut):
        run(new_state(params, device), faces, small(ngpu=1, checkpoint_minutes=1e-9), keep_and_end)
    resumed = new_state(params, device)
    resumed.load_state_dict(kept[0])
    assert 0 < resumed.step < whole.step
    assert same(run(resumed, faces, params).state_dict(), whole.state_dict())


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_on_cuda_nothing_waits_for_the_device_within_a_tick(
    faces: Faces, small: Small, monkeypatch: pytest.MonkeyPatch
) -> None:
    params = small(ngpu=1, batch_size=2, log_steps=100)
    state = new_state(params, open_fabric(params).device)

    def watched(*of_step: Any) -> None:
        update_ema(*of_step)
        if state.step == 4:
            raise Cut
        torch.cuda.set_sync_debug_mode("error")

    monkeypatch.setattr("pipeline.dcgan.trainer.update_ema", watched)
    assert len(faces) // params.batch_size > 4
    try:
        with pytest.raises(Cut):
            run(state, faces, params)
    finally:
        torch.cuda.set_sync_debug_mode("default")

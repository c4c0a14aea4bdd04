from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch

from pipeline.dcgan.device import open_fabric
from pipeline.dcgan.figures import Row
from pipeline.dcgan.guards import CollapsedError, DivergedError, collapse, diversity, require_finite
from pipeline.dcgan.state import TrainState, new_state
from pipeline.dcgan.trainer import train
from pipeline.faces import Faces
from pipeline.params import Params
from tests.dcgan.test_trainer import Told, run, same

CPU = torch.device("cpu")
Small = Callable[..., Params]


def test_a_fresh_state_is_finite(small: Small) -> None:
    require_finite(new_state(small(), CPU))


def weight(state: TrainState, value: float) -> None:
    with torch.no_grad():
        state.netG.main[0].weight[0, 0, 0, 0] = value  # type: ignore[union-attr, index]


def gradient(state: TrainState, value: float) -> None:
    found = torch.zeros_like(next(state.netD.parameters()))
    found[0, 0, 0, 0] = value
    next(state.netD.parameters()).grad = found


def loss(state: TrainState, value: float) -> None:
    state.interval[2] = value


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        pytest.param(weight, r"netG.main.0.weight has 1 of \d+ not finite, the others in -0.\d+ … 0.\d+", id="weight"),
        pytest.param(gradient, r"the gradient of netD.main.0.weight has 1 of \d+ not finite", id="gradient"),
        pytest.param(loss, "lossG (nan|-?inf)", id="loss"),
    ],
)
def test_what_is_not_finite_is_named(
    spoil: Callable[[TrainState, float], None], value: float, words: str, small: Small
) -> None:
    state = new_state(small(), CPU)
    state.step = 7
    spoil(state, value)
    with pytest.raises(DivergedError, match=f"diverged by step 7: .*{words}"):
        require_finite(state)


def test_a_huge_finite_gradient_is_no_divergence(small: Small) -> None:
    state = new_state(small(), CPU)
    gradient(state, 1e30)
    require_finite(state)


def test_a_gradient_whose_square_is_infinite_is_divergence(small: Small) -> None:
    """The gradients and weights after it are finite, and the weight never changes again."""
    state = new_state(small(), CPU)
    gradient(state, 1e30)
    state.optD.step()
    gradient(state, 1.0)
    with pytest.raises(DivergedError, match=r"Adam's exp_avg_sq of netD.main.0.weight has 1 of \d+ not finite"):
        require_finite(state)


def test_a_training_that_diverges_ends_and_saves_nothing_of_it(faces: Faces, small: Small) -> None:
    """Adam moves each weight by its learning rate in a step, so that at 1e38 two steps are past float32."""
    params = small(num_epochs=9, lr=1.0)
    state, saved = new_state(params, CPU), []
    for group in state.optG.param_groups:
        group["lr"] = 1e38
    with pytest.raises(DivergedError, match=r"diverged by step [23]: .*netG"):
        train(state, faces, params, open_fabric(params), report=Told(), save=lambda state: saved.append(state.step))
    assert saved == []


def test_what_was_saved_before_a_training_diverged_is_gone_on_from(faces: Faces, small: Small) -> None:
    """The second epoch diverges; from the first one's save the training ends as if nothing had been."""
    params, saves = small(num_epochs=2, checkpoint_minutes=1e-9), []
    state = new_state(params, CPU)

    class Sabotage(Told):
        def epoch(self, figures: Row, pictures: Faces) -> None:
            super().epoch(figures, pictures)
            for group in state.optG.param_groups:
                group["lr"] = 1e38

    def save(state: TrainState) -> None:
        saves.append(copy.deepcopy(state.state_dict()))
        saves[-1]["optG"]["param_groups"][0]["lr"] = saves[-1]["optD"]["param_groups"][0]["lr"] * params.train.lr_ratio

    with pytest.raises(DivergedError, match="netG"):
        train(state, faces, params, open_fabric(params), report=Sabotage(), save=save)
    (saved,) = (one for one in saves if one["step"] == 3)  # the first epoch's end
    taken_up = new_state(params, CPU)
    taken_up.load_state_dict(saved)
    assert same(run(taken_up, faces, params).state_dict(), run(new_state(params, CPU), faces, params).state_dict())


def test_diversity_is_the_deviation_over_the_images() -> None:
    images = torch.zeros(2, 3, 4, 4)
    assert diversity(images) == 0
    images[1] = 1
    assert diversity(images) == pytest.approx(0.5**0.5)


def rows(D_G_z2: float, lossG: float, *varied: float) -> list[dict[str, float]]:
    return [{"D_G_z2": D_G_z2, "lossG": lossG, "diversity": value} for value in varied]


@pytest.mark.parametrize(
    ("found", "words"),
    [
        pytest.param(rows(0.01, 6, 0.5, 0.5, 0.5), "netD wins", id="netD wins"),
        pytest.param(rows(0.01, 6, 0.5, 0.5), None, id="netD wins, not for long enough"),
        pytest.param(rows(0.1, 6, 0.5, 0.5, 0.5), None, id="some fakes pass"),
        pytest.param(rows(0.01, 4, 0.5, 0.5, 0.5), None, id="lossG is not high"),
        pytest.param(rows(0.5, 1, 0.5, 0.1, 0.1, 0.1), "become alike", id="alike, having been varied"),
        pytest.param(rows(0.5, 1, 0.5, 0.1, 0.1), None, id="alike, not for long enough"),
        pytest.param(rows(0.5, 1, 0.1, 0.1, 0.1, 0.1), None, id="not varied yet, as every training begins"),
        pytest.param(rows(0.5, 1, 0.5, 0.1, 0.4, 0.1), None, id="varied in between"),
        pytest.param([], None, id="no tick yet"),
    ],
)
def test_collapse(found: list[dict[str, float]], words: str | None, small: Small) -> None:
    knobs = small(collapse_ticks=3, collapse_D_G_z=0.02, collapse_lossG=5.0, collapse_diversity=0.3).train
    how = collapse(found, knobs)
    assert how is None if words is None else words in str(how)


def lost(small: Small, **wanted: object) -> Params:
    """Params with which netD wins: netG hardly learns, and netD fast."""
    augment = small().train.augment.model_copy(update={"color": False, "translation": False, "cutout": False})
    hopeless = {"lr": 0.01, "lr_ratio": 1e-6, "num_epochs": 30, "augment": augment}
    return small(**hopeless, ndf=16, collapse_ticks=5, **wanted)


def test_a_netG_that_has_lost_is_told_of_once(faces: Faces, small: Small) -> None:
    params, told = lost(small), Told()
    state = new_state(params, CPU)
    train(state, faces, params, open_fabric(params), report=told, save=lambda _: None)
    ((how, step),) = told.collapses
    assert "netD wins" in how
    assert step < state.step == 90


def test_a_netG_that_has_lost_ends_the_run_where_that_is_wanted(faces: Faces, small: Small) -> None:
    params, told = lost(small, stop_on_collapse=True), Told()
    state = new_state(params, CPU)
    with pytest.raises(CollapsedError, match=r"stopped at step \d+: netD wins.*set train.lr_ratio higher"):
        train(state, faces, params, open_fabric(params), report=told, save=lambda _: None)
    assert len(told.collapses) == 1
    assert state.step < 90


def test_a_netG_that_draws_one_picture_again_and_again_is_told_of(faces: Faces, small: Small) -> None:
    params = small(num_epochs=20, lr_ratio=1e-6, collapse_ticks=3, collapse_diversity=0.01)
    state = new_state(params, CPU)

    class Forgetful(Told):
        def tick(self, figures: Row) -> None:
            super().tick(figures)
            if figures["step"] == 20:  # from here on the noise does not reach the picture
                torch.nn.init.zeros_(state.netG.main[0].weight)  # type: ignore[arg-type, union-attr]

    told = Forgetful()
    train(state, faces, params, open_fabric(params), report=told, save=lambda _: None)
    ((how, step),) = told.collapses
    assert "the faces have become alike" in how
    assert step == 26  # the third tick of two steps after it

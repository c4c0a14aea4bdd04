"""What tells that a training has gone wrong: numbers that are none, and a netG that has stopped learning."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from pipeline.dcgan.figures import Row
from pipeline.dcgan.losses import FIGURES
from pipeline.dcgan.state import TrainState
from pipeline.errors import StageError
from pipeline.params import TrainParams

NAMED = 3  # tensors that a message names


class DivergedError(StageError):
    """A loss, a weight or a gradient is no finite number: no later step would mend that."""


class CollapsedError(StageError):
    """netG has stopped learning, and train.stop_on_collapse is on."""


def require_finite(state: TrainState) -> None:
    """Raise DivergedError, with the step and the ranges of what is wrong, unless all that was learnt is finite.

    Looks at the losses since the last row of losses.csv, the weights, BatchNorm's statistics, the last gradients and
    Adam's moments; waits for the device.
    """
    tensors = dict(_learnt(state))
    # One number for each, the largest size in it, and one look at all of them.
    largest = torch.stack(torch._foreach_norm(list(tensors.values()), ord=float("inf")))
    if bool((largest.isfinite().all() & state.interval.isfinite().all()).item()):
        return
    losses = [f"{name} {value}" for name, value in zip(FIGURES, state.interval.tolist(), strict=True)]
    wrong = [_range(name, tensor) for name, tensor in tensors.items() if not tensor.isfinite().all()]
    more = f" and {len(wrong) - NAMED} more tensors" if len(wrong) > NAMED else ""
    raise DivergedError(
        f"training has diverged by step {state.step}: {'; '.join(wrong[:NAMED])}{more} (sums since the last row of "
        f"losses.csv: {', '.join(losses)}); no checkpoint holds it; set lr or train.lr_ratio lower"
    )


def _learnt(state: TrainState) -> Iterator[tuple[str, Tensor]]:
    nets = {"netG": state.netG, "netD": state.netD} | ({} if state.ema is None else {"the average of netG": state.ema})
    for owner, net in nets.items():
        for name, weight in net.named_parameters():
            yield f"{owner}.{name}", weight.detach()
            if weight.grad is not None:
                yield f"the gradient of {owner}.{name}", weight.grad
        for name, statistic in net.named_buffers():
            if statistic.is_floating_point():
                yield f"{owner}.{name}", statistic
    # The square of a gradient may be infinite where the gradient is not: its weight would never change again.
    for owner, net, optimizer in (("netG", state.netG, state.optG), ("netD", state.netD, state.optD)):
        for name, weight in net.named_parameters():
            for moment in ("exp_avg", "exp_avg_sq"):
                if weight in optimizer.state:
                    yield f"Adam's {moment} of {owner}.{name}", optimizer.state[weight][moment]


def _range(name: str, tensor: Tensor) -> str:
    finite = tensor[tensor.isfinite()]
    rest = f"the others in {finite.min():.3g} … {finite.max():.3g}" if len(finite) else "no other"
    return f"{name} has {tensor.numel() - len(finite)} of {tensor.numel()} not finite, {rest}"


def diversity(images: Tensor) -> Tensor:
    """Return how far images (N, C, H, W) differ from each other: the mean over pixels of their deviation over N."""
    return images.detach().float().std(dim=0).mean()


def collapse(rows: Sequence[Row], knobs: TrainParams) -> str | None:
    """Return how netG has collapsed, as the last train.collapse_ticks rows of losses.csv tell; None where it has not.

    Either netD wins: it takes no fake for real, and netG learns nothing from it any more. Or what netG draws, once as
    varied as train.collapse_diversity of the real images, no longer is: it draws one picture again and again.
    """
    recent = rows[-knobs.collapse_ticks :]
    if len(recent) < knobs.collapse_ticks:
        return None
    if all(row["D_G_z2"] < knobs.collapse_D_G_z and row["lossG"] > knobs.collapse_lossG for row in recent):
        return (
            f"netD wins: D(G(z)) has been below {knobs.collapse_D_G_z} and lossG over {knobs.collapse_lossG} for "
            f"{knobs.collapse_ticks} ticks; set train.lr_ratio higher or lr lower, or turn train.augment on"
        )

    def is_varied(row: Row) -> bool:
        return row["diversity"] >= knobs.collapse_diversity

    if not any(map(is_varied, recent)) and any(map(is_varied, rows)):
        return (
            f"the faces have become alike: for {knobs.collapse_ticks} ticks as varied as less than "
            f"{knobs.collapse_diversity} of the real ones; set train.lr_ratio or lr lower, or turn train.augment on"
        )
    return None

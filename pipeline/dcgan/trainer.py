"""The training loop."""

from __future__ import annotations

import time
from collections.abc import Callable
from itertools import islice
from typing import Protocol

import torch
from lightning_fabric import Fabric
from tqdm import tqdm

from pipeline.dcgan.augment import augment, flip
from pipeline.dcgan.batches import epoch_batches, on_device, to_images
from pipeline.dcgan.ema import ema_decay, update_ema
from pipeline.dcgan.figures import Row, row
from pipeline.dcgan.film import add_frame, spacing
from pipeline.dcgan.guards import CollapsedError, collapse, diversity, require_finite
from pipeline.dcgan.interrupt import held_signals
from pipeline.dcgan.losses import FAKE, REAL, bce, probability
from pipeline.dcgan.sampling import generate, sample_noise
from pipeline.dcgan.state import TrainState, seeded
from pipeline.faces import Faces
from pipeline.metrics.features import spread
from pipeline.params import Params

FIXED_NOISE = 64  # images, as in the reference recipe


class Report(Protocol):
    """What is told of a training while it goes on."""

    def tick(self, figures: Row) -> None:
        """Take a row of losses.csv, with lossD, diversity and img_per_s beside its columns."""

    def quality(self, figures: Row) -> None:
        """Take a row of quick_kid.csv."""

    def epoch(self, figures: Row, pictures: Faces) -> None:
        """Take an epoch's figures and what is made of the fixed noise: uint8 (64, H, W, C)."""

    def collapsed(self, how: str, step: int) -> None:
        """Take how netG has collapsed, once each time."""


def fixed_noise_pictures(state: TrainState, params: Params) -> Faces:
    """Return what the generator that is shown makes of the fixed noise: uint8 (64, H, W, C)."""
    return generate(state.shown, sample_noise(FIXED_NOISE, params.nz, params.seed), FIXED_NOISE)


def judge_shown(state: TrainState, params: Params, judge: Callable[[Faces], float]) -> Row:
    """Return a row of quick_kid.csv, noted in state; the generator with the lowest is kept in state.best."""
    noise = sample_noise(params.train.quick_kid_images, params.nz, params.seed)
    found = {
        "step": state.step,
        "kimg": state.step * params.batch_size / 1000,
        "quick_kid": judge(generate(state.shown, noise, FIXED_NOISE)),
    }
    if found["quick_kid"] < min((past["quick_kid"] for past in state.quality), default=float("inf")):
        state.best = {name: tensor.detach().cpu().clone() for name, tensor in state.shown.state_dict().items()}
    state.quality.append(found)
    return found


def train(
    state: TrainState,
    faces: Faces,
    params: Params,
    fabric: Fabric,
    *,
    report: Report,
    save: Callable[[TrainState], None],
    judge: Callable[[Faces], float] | None = None,
) -> None:
    """Train from state.step to the end of the last epoch, changing state in place.

    faces: uint8 (N, image_size, image_size, nc), N at least batch_size. save is called every train.checkpoint_minutes,
    after the last step, and before a signal leaves the loop; judge returns the quick KID of pictures uint8
    (N, H, W, C). With several processes each trains on its share of every batch, and the first alone reports,
    saves and judges. What comes out depends on the faces, the params and the number of processes, however often
    training was cut off and taken up again from a save. Raises DivergedError and CollapsedError.
    """
    # What stays the same.
    knobs, device, batch_size = params.train, fabric.device, params.batch_size
    share = batch_size // fabric.world_size
    mine = slice(fabric.global_rank * share, (fabric.global_rank + 1) * share)
    epoch_steps = len(faces) // batch_size
    data = on_device(faces, device)
    some = spread(faces, 10 * FIXED_NOISE)  # and not the first: in sorted order alike ones may adjoin
    real_diversity = diversity(to_images(on_device(some, device)))
    total_steps = params.num_epochs * epoch_steps
    shown_epochs = max(1, knobs.log_steps // epoch_steps)  # between two pictures: of few faces an epoch is a few steps
    quality_steps = max(1, round(1000 * knobs.quick_kid_kimg / batch_size))
    batches = islice(epoch_batches(len(faces), batch_size, params.seed, device, state.step), total_steps - state.step)
    netG, optG = fabric.setup(state.netG, state.optG)
    netD, optD = fabric.setup(state.netD, state.optD)
    if state.step == 0:
        state.frames[0] = fixed_noise_pictures(state, params)

    # The clock: a run that was cut off counts on. A rate is of a tick or an epoch, or of what this process did of it.
    began = time.monotonic() - state.seconds
    saved_seconds = state.seconds
    of_tick = of_epoch = (state.step, state.seconds)
    has_collapsed = False  # as far as this process has told

    def rate(since: tuple[int, float]) -> float:
        return (state.step - since[0]) * batch_size / (time.monotonic() - began - since[1])

    bar = tqdm(
        total=total_steps * batch_size,
        initial=state.step * batch_size,
        desc="train",
        unit="img",
        unit_scale=True,
        disable=not fabric.is_global_zero,
    )
    with bar, held_signals() as signals:
        for batch in batches:
            # Real images, and fake ones that serve both nets.
            rng = seeded(device, params.seed, f"process {fabric.global_rank}", state.step)
            real = to_images(data[batch[mine]])
            real = flip(real, rng) if knobs.flip else real
            fake = netG(torch.randn(share, params.nz, 1, 1, generator=rng, device=device))

            # netD: maximise log D(x) + log(1 - D(G(z))).
            state.netD.requires_grad_(True)
            optD.zero_grad()
            logits_real = netD(augment(real, knobs.augment, rng))
            logits_fake = netD(augment(fake.detach(), knobs.augment, rng))
            lossD_real, lossD_fake = bce(logits_real, REAL), bce(logits_fake, FAKE)
            fabric.backward(lossD_real + lossD_fake)
            optD.step()

            # netG: maximise log D(G(z)); netD's weights are frozen, so that no gradient is computed for them.
            state.netD.requires_grad_(False)
            optG.zero_grad()
            changed = augment(fake, knobs.augment, rng)
            with fabric.autocast():
                logits = state.netD(changed).float()
            lossG = bce(logits, REAL)
            fabric.backward(lossG)
            optG.step()

            # The average of netG.
            state.step += 1
            if state.ema is not None:
                decay = ema_decay(batch_size, state.step * batch_size, knobs.ema_kimg, knobs.ema_rampup)
                update_ema(state.ema, state.netG, decay)

            # The figures are added up on the device: to read one is to wait for the step to end.
            D_x, D_G_z1, D_G_z2 = (probability(seen) for seen in (logits_real, logits_fake, logits))
            figures = torch.stack([lossD_real, lossD_fake, lossG, D_x, D_G_z1, D_G_z2]).detach()
            if fabric.world_size > 1:
                torch.distributed.all_reduce(figures)
                figures /= fabric.world_size
            state.interval += figures
            state.epoch += figures
            bar.update(batch_size)
            if not fabric.is_global_zero:
                continue

            # Every tick: a row of losses.csv, a look at how it goes, and now and then a frame of the film.
            epoch_is_over = state.step % epoch_steps == 0
            if state.step % knobs.log_steps == 0:
                require_finite(state)
                found = row(state.interval, knobs.log_steps, state.step, epoch_steps, batch_size)
                found |= {"diversity": float(diversity(fake) / real_diversity), "img_per_s": rate(of_tick)}
                of_tick = (state.step, time.monotonic() - began)
                state.rows.append(found)
                state.interval.zero_()
                report.tick(found)
                how = collapse(state.rows, knobs)
                is_new, has_collapsed = how and not has_collapsed, how is not None
                if how and is_new:
                    report.collapsed(how, state.step)
                    if knobs.stop_on_collapse:
                        raise CollapsedError(f"stopped at step {state.step}: {how}")
                if state.step % spacing(state.step, knobs.log_steps, knobs.gif_frames) == 0:
                    pictures = fixed_noise_pictures(state, params)
                    state.frames = add_frame(state.frames, state.step, pictures, knobs.log_steps, knobs.gif_frames)

            # Now and then: how good the pictures are.
            if judge and state.step % quality_steps == 0:
                require_finite(state)
                report.quality(judge_shown(state, params, judge))

            # Every epoch: its figures and pictures.
            if epoch_is_over:
                require_finite(state)
                found = row(state.epoch, epoch_steps, state.step, epoch_steps, batch_size)
                found["img_per_s"] = rate(of_epoch)
                state.epoch.zero_()
                state.epochs.append(found)
                if len(state.epochs) % shown_epochs == 0 or state.step == total_steps:
                    report.epoch(found, fixed_noise_pictures(state, params))
                of_epoch = (state.step, time.monotonic() - began)

            # A checkpoint, and the way out between two steps.
            state.seconds = time.monotonic() - began
            is_due = state.seconds - saved_seconds >= 60 * knobs.checkpoint_minutes
            if is_due or signals.received or state.step == total_steps:
                require_finite(state)
                save(state)
                saved_seconds = state.seconds
            if signals.received:
                signals.leave()
    if signals.received and fabric.is_global_zero:  # since the last step was saved
        signals.leave()
    fabric.barrier()  # none leaves while another waits for it

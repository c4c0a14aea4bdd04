"""The training loop."""

from __future__ import annotations

import time
from collections.abc import Callable
from itertools import islice

import torch
from lightning_fabric import Fabric
from tqdm import tqdm

from pipeline.dcgan.augment import augment, flip
from pipeline.dcgan.batches import epoch_batches, on_device, to_images
from pipeline.dcgan.ema import ema_decay, update_ema
from pipeline.dcgan.figures import Row, row
from pipeline.dcgan.film import add_frame, spacing
from pipeline.dcgan.interrupt import held_signals
from pipeline.dcgan.losses import FAKE, REAL, bce, probability
from pipeline.dcgan.sampling import generate, sample_noise
from pipeline.dcgan.state import TrainState
from pipeline.faces import Faces
from pipeline.params import Params

FIXED_NOISE = 64  # images, as in the reference recipe


def fixed_noise_pictures(state: TrainState, params: Params) -> Faces:
    """Return what the generator that is shown makes of the fixed noise: uint8 (64, H, W, C)."""
    return generate(state.shown, sample_noise(FIXED_NOISE, params.nz, params.seed), FIXED_NOISE)


def train(
    state: TrainState,
    faces: Faces,
    params: Params,
    fabric: Fabric,
    *,
    report: Callable[[Row, Faces], None],
    save: Callable[[TrainState], None],
) -> None:
    """Train from state.step to the end of the last epoch, changing state in place.

    faces: uint8 (N, image_size, image_size, nc), N at least batch_size. report is called at each epoch's end with its
    figures and the pictures of the fixed noise; save at each epoch's end, every train.checkpoint_minutes, and before
    Ctrl-C or SIGTERM leaves the loop. What comes out depends on the faces and the params alone, however often
    training was cut off and taken up again from a save.
    """
    # What stays the same.
    knobs, device, batch_size, rng = params.train, fabric.device, params.batch_size, state.rng
    epoch_steps = len(faces) // batch_size
    data = on_device(faces, device)
    total_steps = params.num_epochs * epoch_steps
    batches = islice(epoch_batches(len(faces), batch_size, params.seed, device, state.step), total_steps - state.step)
    netG, optG = fabric.setup(state.netG, state.optG)
    netD, optD = fabric.setup(state.netD, state.optD)
    if state.step == 0:
        state.frames[0] = fixed_noise_pictures(state, params)

    # The clock: a run that was cut off counts on. The rate is that of an epoch, or of what this process did of it.
    began = time.monotonic() - state.seconds
    since_step, since_seconds, saved_seconds = state.step, state.seconds, state.seconds

    bar = tqdm(total=total_steps, initial=state.step, desc="train", unit="step", mininterval=0.5)
    with bar, held_signals() as signals:
        for batch in batches:
            # Real images, and fake ones that serve both nets.
            real = to_images(data[batch])
            real = flip(real, rng) if knobs.flip else real
            noise = torch.randn(batch_size, params.nz, 1, 1, generator=rng, device=device)
            fake = netG(noise)

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
            logits = netD(augment(fake, knobs.augment, rng))
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
            state.interval += figures
            state.epoch += figures
            bar.update()

            # Every logging interval: a row of losses.csv, and now and then a frame of the film.
            epoch_is_over = state.step % epoch_steps == 0
            if state.step % knobs.log_steps == 0:
                state.rows.append(row(state.interval, knobs.log_steps, state.step, epoch_steps, batch_size))
                state.interval.zero_()
                img_per_s = (state.step - since_step) * batch_size / (time.monotonic() - began - since_seconds)
                lossD = state.rows[-1]["lossD_real"] + state.rows[-1]["lossD_fake"]
                bar.set_postfix_str(f"{img_per_s:.0f} img/s, lossD {lossD:.2f}, lossG {state.rows[-1]['lossG']:.2f}")
                if state.step % spacing(state.step, knobs.log_steps, knobs.gif_frames) == 0:
                    pictures = fixed_noise_pictures(state, params)
                    state.frames = add_frame(state.frames, state.step, pictures, knobs.log_steps, knobs.gif_frames)

            # Every epoch: its figures and pictures.
            if epoch_is_over:
                of_epoch = row(state.epoch, epoch_steps, state.step, epoch_steps, batch_size)
                state.epoch.zero_()
                state.seconds = time.monotonic() - began
                of_epoch["lossD"] = of_epoch["lossD_real"] + of_epoch["lossD_fake"]
                of_epoch["img_per_s"] = (state.step - since_step) * batch_size / (state.seconds - since_seconds)
                since_step, since_seconds = state.step, state.seconds
                state.epochs.append(of_epoch)
                report(of_epoch, fixed_noise_pictures(state, params))

            # A checkpoint, and the way out between two steps.
            state.seconds = time.monotonic() - began
            is_due = state.seconds - saved_seconds >= 60 * knobs.checkpoint_minutes
            if epoch_is_over or is_due or signals.received:
                save(state)
                saved_seconds = state.seconds
            if signals.received:
                signals.leave()

"""The training loop."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable

import torch
from lightning_fabric import Fabric
from torch import Tensor
from tqdm import tqdm

from pipeline.dcgan.augment import augment, flip
from pipeline.dcgan.ema import ema_decay, update_ema
from pipeline.dcgan.film import add_frame
from pipeline.dcgan.interrupt import deferred_signals
from pipeline.dcgan.losses import FAKE, FIGURES, REAL, bce, probability
from pipeline.dcgan.sampling import generate, sample_noise
from pipeline.dcgan.state import TrainState, seeded
from pipeline.faces import Faces
from pipeline.params import Params

FIXED_NOISE = 64


def train(
    state: TrainState,
    faces: Faces,
    params: Params,
    fabric: Fabric,
    *,
    save: Callable[[TrainState], None],
    report: Callable[[dict[str, float], Faces], None],
) -> None:
    """Train from state.step until num_epochs are over, changing state in place.

    faces: uint8 (N, image_size, image_size, nc), N at least batch_size; an epoch's last partial batch is dropped.
    save is called with the state at each epoch's end, every train.checkpoint_minutes, and before the loop leaves by
    KeyboardInterrupt or SystemExit because of a signal; report with an epoch's figures and the fixed noise's pictures.
    The result depends on the seed, the faces and the params alone, however often the loop was left and gone on with.
    """
    # Constants.
    knobs, device, batch_size = params.train, fabric.device, params.batch_size
    epoch_steps = len(faces) // batch_size
    fixed_noise = sample_noise(FIXED_NOISE, params.nz, params.seed)
    data = _on_device(faces, device)
    netG, optG = fabric.setup(state.netG, state.optG)
    netD, optD = fabric.setup(state.netD, state.optD)
    saved_at = time.monotonic()

    bar = tqdm(total=params.num_epochs * epoch_steps, initial=state.step, desc="train", unit="step", mininterval=0.5)
    with bar, deferred_signals() as signals:
        if state.step == 0:
            add_frame(state.frames, 0, generate(state.shown, fixed_noise, FIXED_NOISE), knobs.frame_steps)
        for epoch in range(state.step // epoch_steps, params.num_epochs):
            order = torch.randperm(len(data), generator=seeded(device, params.seed, "order", epoch), device=device)
            began, began_at = time.monotonic(), state.step
            for batch in order[: epoch_steps * batch_size].split(batch_size)[state.step % epoch_steps :]:
                # Real images, and fake ones that serve both nets.
                netG.train()
                real = to_images(data[batch])
                real = flip(real, state.rng) if knobs.flip else real
                noise = torch.randn(batch_size, params.nz, 1, 1, generator=state.rng, device=device)
                fake = netG(noise)

                # netD: maximise log D(x) + log(1 - D(G(z))).
                netD.requires_grad_(True)
                optD.zero_grad()
                logits_real = netD(augment(real, knobs.augment, state.rng))
                logits_fake = netD(augment(fake.detach(), knobs.augment, state.rng))
                lossD_real, lossD_fake = bce(logits_real, REAL), bce(logits_fake, FAKE)
                fabric.backward(lossD_real + lossD_fake)
                optD.step()

                # netG: maximise log D(G(z)). netD's weights are frozen, so no gradient is computed for them.
                netD.requires_grad_(False)
                optG.zero_grad()
                logits = netD(augment(fake, knobs.augment, state.rng))
                lossG = bce(logits, REAL)
                fabric.backward(lossG)
                optG.step()

                # The average of netG.
                state.step += 1
                if state.ema is not None:
                    decay = ema_decay(batch_size, state.step * batch_size, knobs.ema_kimg, knobs.ema_rampup)
                    update_ema(state.ema, state.netG, decay)

                # Sum the figures on the device: to read them is to wait for it.
                D_x, D_G_z1, D_G_z2 = (probability(seen) for seen in (logits_real, logits_fake, logits))
                figures = torch.stack([lossD_real, lossD_fake, lossG, D_x, D_G_z1, D_G_z2]).detach()
                state.interval += figures
                state.epoch += figures
                bar.update()

                # Every logging interval: a row of losses.csv.
                if state.step % knobs.log_steps == 0:
                    ...
    bar.close()

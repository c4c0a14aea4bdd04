"""Fit pipeline/cleaning/gamma.safetensors again: python -m benchmarks.gamma_fit FOLDER [FOLDER ...].

Each folder holds faces (PNG or JPEG); as many built-in ones are drawn as a fifth of them, or the measure would take
flat art for pale. Every face is taken as it is and with random gammas, some of them tinted or grey, saved as a JPEG, as
such pictures come; a network of one hidden layer is fitted to the logarithm of the gamma by least squares.
"""

from __future__ import annotations

import argparse
import csv
import json
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import torch
from safetensors.numpy import save_file
from torch import nn
from tqdm import tqdm

from pipeline.atomic import whole_file
from pipeline.cleaning.gamma import WEIGHTS, tone_profile
from pipeline.cleaning.tone import undo_gamma
from pipeline.cleaning.views import luma, net_view
from pipeline.codec import Pixels, decode
from pipeline.params import load_params
from pipeline.sources.builtin import draw

NATURAL, PALE, DARK, BETWEEN = (1.0, 1.0), (0.2, 0.42), (2.2, 4.2), (0.42, 2.2)
HIDDEN, EPOCHS, BATCH, JITTER = 64, 20, 512, 0.1


def as_jpeg(pixels: Pixels) -> Pixels:
    """Return a picture after a JPEG of quality 92 with chroma subsampling."""
    _, data = cv2.imencode(".jpg", cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, 92])
    return decode(data.tobytes(), pixels.size)


def variants(face: Pixels, generator: np.random.Generator) -> Iterator[tuple[Pixels, float]]:
    """Yield twelve pictures of a face and the logarithm of the gamma that each went through."""
    tinted = np.clip(face * generator.uniform(0.85, 1.15, 3), 0, 255).astype(np.uint8)
    grey = np.repeat(luma(face)[:, :, None], 3, axis=2) if generator.random() < 0.3 else face
    for low, high in (NATURAL, PALE, DARK, BETWEEN):
        for picture in (face, tinted, grey):
            gamma = float(np.exp(generator.uniform(np.log(low), np.log(high))))
            yield as_jpeg(undo_gamma(picture, 1 / gamma)), float(np.log(gamma))


def fit(profiles: torch.Tensor, goals: torch.Tensor) -> nn.Sequential:
    """Return the fitted network of standardised profiles (N, terms), to whose terms noise is added while it learns."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(profiles.shape[1], HIDDEN), nn.Tanh(), nn.Linear(HIDDEN, 1))
    optimizer = torch.optim.AdamW(net.parameters(), weight_decay=0.01)
    steps = len(goals) // BATCH
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.01, total_steps=EPOCHS * steps)
    for _ in tqdm(range(EPOCHS), desc="fit"):
        for batch in torch.randperm(len(goals))[: steps * BATCH].split(BATCH):
            noisy = profiles[batch] + JITTER * torch.randn(BATCH, profiles.shape[1])
            loss = nn.functional.mse_loss(net(noisy)[:, 0], goals[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    return net


def main() -> None:
    """Write the weights, and print how far off they are on every tenth face, left out; one line of JSON last."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("folder", type=Path, nargs="+")
    parser.add_argument(
        "--leave-out", type=Path, metavar="LABELS", help="a labels.csv: not the faces it names as origin"
    )
    arguments = parser.parse_args()
    named: set[str] = set()
    if arguments.leave_out:
        with arguments.leave_out.open(encoding="utf-8") as file:
            named = {row["origin"] for row in csv.DictReader(file)}
    files = [
        file for folder in arguments.folder for file in sorted(folder.rglob("*")) if file.suffix in (".png", ".jpg")
    ]
    files = [file for file in files if file.name not in named]
    params = load_params()
    generator = np.random.default_rng(0)
    terms, gammas = [], []
    for number in tqdm(range(len(files) + len(files) // 5), desc="measure"):
        photo = number < len(files)
        face = decode(files[number].read_bytes(), params.crawl.max_pixels) if photo else draw(1, number, 96)
        for picture, gamma in variants(face, generator):
            terms.append(tone_profile(net_view(picture, params.image_size)))
            gammas.append(gamma)
    profiles, goals = np.array(terms), np.array(gammas, np.float32)
    test = np.arange(len(goals)) // 12 % 10 == 9

    mean, deviation = profiles.mean(axis=0), profiles.std(axis=0) + 1e-3
    net = fit(torch.from_numpy((profiles - mean) / deviation)[~test], torch.from_numpy(goals)[~test])
    hidden, bias, output, offset = (parameter.detach().numpy() for parameter in net.parameters())
    # The standardisation is folded into the first layer.
    weight = np.ascontiguousarray((hidden / deviation).T)
    weights = {
        "hidden.weight": weight,
        "hidden.bias": bias - mean @ weight,
        "output.weight": np.ascontiguousarray(output[0]),
        "output.bias": offset,
    }
    with whole_file(WEIGHTS) as temporary:
        save_file(weights, temporary)
    error = np.tanh(profiles @ weight + weights["hidden.bias"]) @ output[0] + offset - goals
    figures = {
        "faces": len(files),
        "rms_log_gamma_natural": round(float(np.sqrt(np.mean(error[test & (goals == 0)] ** 2))), 3),
        "rms_log_gamma_changed": round(float(np.sqrt(np.mean(error[test & (goals != 0)] ** 2))), 3),
    }
    print(json.dumps(figures))


if __name__ == "__main__":
    main()

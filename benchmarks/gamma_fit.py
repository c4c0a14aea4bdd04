"""Fit pipeline/cleaning/gamma.safetensors and gamma_net.safetensors again: python -m benchmarks.gamma_fit FOLDER ...

Each folder holds faces (PNG or JPEG); as many built-in ones are drawn as a fifth of them, or the measure would take
flat art for pale. For the first look every face is taken as it is and with random gammas, some of them tinted or grey,
saved as a JPEG, as such pictures come; a network of one hidden layer is fitted to the logarithm of the gamma by least
squares. The second look is benchmarks.gamma_net, 30 minutes on one core. The figures are of every tenth face, left out
of both.
"""

from __future__ import annotations

import argparse
import csv
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from safetensors.numpy import save_file
from torch import nn
from tqdm import tqdm

from benchmarks import gamma_net
from pipeline.atomic import whole_file
from pipeline.cleaning.gamma import (
    MILD,
    NET_WEIGHTS,
    WEIGHTS,
    first_look,
    gamma,
    second_look,
    tone_profiles,
)
from pipeline.cleaning.tone import undo_gamma
from pipeline.cleaning.views import luma, net_view
from pipeline.codec import Pixels, decode
from pipeline.params import Params, load_params
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
            applied = float(np.exp(generator.uniform(np.log(low), np.log(high))))
            yield as_jpeg(undo_gamma(picture, 1 / applied)), float(np.log(applied))


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


def first(faces: Sequence[Pixels], params: Params) -> dict[str, Any]:
    """Write the weights of the first look; return how far off they are on every tenth face, left out."""
    generator = np.random.default_rng(0)
    terms, gammas = [], []
    for face in tqdm(faces, desc="measure"):
        for picture, goal in variants(face, generator):
            terms.append(tone_profiles(net_view(picture, params.image_size)[None])[0])
            gammas.append(goal)
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
    return {
        "rms_log_gamma_natural": round(float(np.sqrt(np.mean(error[test & (goals == 0)] ** 2))), 3),
        "rms_log_gamma_changed": round(float(np.sqrt(np.mean(error[test & (goals != 0)] ** 2))), 3),
    }


def second(faces: Sequence[Pixels], steps: int) -> None:
    """Write the weights of the second look, fitted to four faces in five."""
    net = gamma_net.fit([face for number, face in enumerate(faces) if number % 5 != 4], steps)
    with whole_file(NET_WEIGHTS) as temporary:
        save_file(gamma_net.folded(net), temporary)


def both(faces: Sequence[Pixels], params: Params) -> dict[str, Any]:
    """Return how both looks do on faces left out of both: what is undone of natural ones, and of changed ones.

    faces: real ones only. By how many nats a gamma seems likelier than none, for the most misleading of the natural
    faces, is what filter.gamma_nats is chosen by.
    """
    generator = np.random.default_rng(1)
    left_out, limits = faces[9::10], (params.filter.min_gamma, params.filter.max_gamma)
    figures: dict[str, Any] = {"left_out": len(left_out)}
    for label, (low, high) in {"natural": NATURAL, "pale": (0.22, 0.4), "dark": (2.4, 3.5)}.items():
        nats, errors, undone = [], [], 0
        for face in tqdm(left_out, desc=label):
            goal = generator.uniform(np.log(low), np.log(high))
            picture = face if label == "natural" else as_jpeg(undo_gamma(face, 1 / np.exp(goal)))
            view = net_view(picture, params.image_size)[None]
            found = gamma([picture], view, params.filter.gamma_nats).item()
            if found < limits[0] or found > limits[1]:
                undone += 1
                errors.append(np.log(found) - goal)
            if not MILD[0] < first_look(view).item() < MILD[1]:
                logits = second_look(picture)[:3]
                nats.append(float(max(logits[1:]) - logits[0]))
        figures[label] = {"second_looks": len(nats), "undone": undone}
        if label == "natural":
            figures[label]["nats_of_the_worst"] = [round(value, 2) for value in sorted(nats)[:-9:-1]]
        else:
            figures[label]["rms_log_gamma_undone"] = round(float(np.sqrt(np.mean(np.square(errors)))), 3)
    return {**figures, "gamma_nats": params.filter.gamma_nats}


def main() -> None:
    """Write the weights, and print how they do on faces left out; one line of JSON last."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("folder", type=Path, nargs="+")
    parser.add_argument(
        "--leave-out", type=Path, metavar="LABELS", help="a labels.csv: not the faces it names as origin"
    )
    parser.add_argument(
        "--looks", default="12", choices=("1", "2", "12", "0"), help="which looks to fit; 0: only the figures"
    )
    parser.add_argument("--steps", type=int, default=15000, help="of the second look")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    named: set[str] = set()
    if arguments.leave_out:
        with arguments.leave_out.open(encoding="utf-8") as file:
            named = {row["origin"] for row in csv.DictReader(file)}
    files = [
        file for folder in arguments.folder for file in sorted(folder.rglob("*")) if file.suffix in (".png", ".jpg")
    ]
    params = load_params()
    photos = [decode(file.read_bytes(), params.crawl.max_pixels) for file in files if file.name not in named]
    faces = [*photos, *(draw(1, len(photos) + number, 96) for number in range(len(photos) // 5))]
    figures: dict[str, Any] = {"faces": len(photos)}
    if "1" in arguments.looks:
        figures.update(first(faces, params))
    if "2" in arguments.looks:
        second(faces, arguments.steps)
    print(json.dumps({**figures, **both(photos, params)}))


if __name__ == "__main__":
    main()

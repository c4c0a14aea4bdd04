"""Fit the second look at the gamma, pipeline/cleaning/gamma_net.safetensors, which benchmarks.gamma_fit writes.

Each time a face is shown it is another: cut, mirrored, made smaller, tinted, its levels moved and stretched, all of
which leaves what lies on an edge a linear mixture of what lies beside it; then, for three in five, a gamma, which does
not. Nothing else tells the two kinds of picture apart: every change comes to both, and both are saved as a JPEG, or, if
not, rounded to levels only after the curve, so that no gaps in the histogram give it away.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from tqdm import tqdm

from pipeline.cleaning.gamma import LAYERS, LEVELS_SEEN, MILD, SIDES, middle
from pipeline.codec import Pixels

BATCH, LEARNING_RATE, DECAY, WARM_UP = 64, 3e-3, 0.05, 0.1
# The share of the pictures that go through no gamma, a dark one, a pale one, or one between, which is neither.
NATURAL, DARK, PALE, BETWEEN = range(4)
SHARES = (0.4, 0.22, 0.22, 0.16)
GAMMAS = ((1.0, 1.0), (MILD[1], 4.0), (0.21, MILD[0]), MILD)


class Sample(NamedTuple):
    """A picture to learn from, RGB uint8 (side, side, 3): which of the four kinds, and the logarithm of its gamma."""

    pixels: Pixels
    kind: int
    goal: float


def sample(face: Pixels, side: int, generator: np.random.Generator) -> Sample:
    """Return a face changed at random, with a gamma or without; RGB uint8, square, no smaller than side."""
    values = _cut(face.astype(np.float32) / 255, side, generator)
    values = _moved_levels(_tinted(values, generator), generator)
    # What was rounded before the curve is spread again, or the unsaved would have its gaps.
    values = np.clip(values + generator.uniform(-0.5, 0.5, values.shape) / 255, 0, 1).astype(np.float32)
    kind = int(generator.choice(4, p=SHARES))
    low, high = np.log(GAMMAS[kind])
    goal = float(generator.uniform(low, high))
    values **= math.exp(goal)
    if values.shape[0] > side:
        values = cv2.resize(values, (side, side), interpolation=cv2.INTER_AREA)
    pixels = np.rint(values * 255).astype(np.uint8)
    if generator.random() < 0.8:
        quality = int(generator.integers(86, 98))
        _, data = cv2.imencode(".jpg", pixels[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
        pixels = np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR)[:, :, ::-1], np.uint8)
    return Sample(pixels, kind, goal)


def _cut(values: NDArray[np.float32], side: int, generator: np.random.Generator) -> NDArray[np.float32]:
    """Return a square part, mirrored or not, of the face or of the face made smaller.

    It is as large as side; or larger, for one in five, to be reduced after the curve, as a larger picture is.
    """
    if generator.random() < 0.5:
        reduced = int(generator.integers(side, values.shape[0] + 1))
        method = cv2.INTER_AREA if generator.random() < 0.5 else cv2.INTER_LINEAR
        values = np.asarray(cv2.resize(values, (reduced, reduced), interpolation=method), np.float32)
    whole = values.shape[0]
    taken = int(generator.integers(side, whole + 1)) if generator.random() < 0.2 else side
    top, left = generator.integers(0, whole - taken + 1, 2)
    part = values[top : top + taken, left : left + taken]
    return part[:, ::-1] if generator.random() < 0.5 else part


def _tinted(values: NDArray[np.float32], generator: np.random.Generator) -> NDArray[np.float32]:
    """Return a picture with other colours, for a third: tinted, grey, or with its channels exchanged."""
    chance = generator.random()
    if chance < 0.25:
        return np.clip(values * generator.uniform(0.85, 1.15, 3).astype(np.float32), 0, 1)
    if chance < 0.31:
        return np.repeat(cv2.cvtColor(np.ascontiguousarray(values), cv2.COLOR_RGB2GRAY)[:, :, None], 3, axis=2)
    return values[:, :, generator.permutation(3)] if chance < 0.37 else values


def _moved_levels(values: NDArray[np.float32], generator: np.random.Generator) -> NDArray[np.float32]:
    """Return a picture with more or less contrast, darker or brighter, for a quarter: by a straight line, clipped."""
    if generator.random() >= 0.25:
        return values
    gain = math.exp(generator.uniform(-0.5, 0.35))
    offset = generator.random() * (1 - gain)
    return np.clip(gain * values + offset, 0, 1)


class Net(nn.Module):
    """The network to fit: what pipeline.cleaning.gamma computes, with the means and deviations that it learns by."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        channels = 6
        for width, side, stride in LAYERS:
            layers += [nn.Conv2d(channels, width, side, stride, side // 2, bias=False), nn.BatchNorm2d(width)]
            layers.append(nn.ReLU())
            channels = width
        self.body = nn.Sequential(*layers)
        self.head = nn.Sequential(nn.Linear(3 * channels, 48), nn.ReLU(), nn.Linear(48, 5))

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """Return three logits and two logarithms of a gamma, (N, 5), of uint8 (N, H, W, 3)."""
        planes = torch.from_numpy(LEVELS_SEEN)[pixels.long()].flatten(3).permute(0, 3, 1, 2)
        found = self.body(planes.contiguous(memory_format=torch.channels_last))
        parts = (found.mean((2, 3)), found[:, :, *middle(*found.shape[2:])].mean((2, 3)), found.amax((2, 3)))
        outputs: torch.Tensor = self.head(torch.cat(parts, dim=1))
        return outputs


def loss(outputs: torch.Tensor, kinds: torch.Tensor, goals: torch.Tensor) -> torch.Tensor:
    """Return how wrong outputs (N, 5) are: on what kind of picture each is, and on how strong its gamma is."""
    told = nn.functional.cross_entropy(outputs[:, :3], kinds, ignore_index=BETWEEN)
    dark = (outputs[:, 3] - goals).square() * (goals > 0)
    pale = (outputs[:, 4] - goals).square() * (goals < 0)
    return told + 4 * (dark + pale).mean()


def fit(faces: Sequence[Pixels], steps: int) -> Net:
    """Return the network fitted to so many batches of faces, RGB uint8 (96, 96, 3) each."""
    torch.manual_seed(0)
    generator = np.random.default_rng(0)
    net = Net().to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(net.parameters(), weight_decay=DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, total_steps=steps, pct_start=WARM_UP)
    for _ in tqdm(range(steps), desc="second look", mininterval=10):
        side = int(generator.choice(SIDES))
        shown = [sample(faces[number], side, generator) for number in generator.integers(0, len(faces), BATCH)]
        pixels, kinds, goals = zip(*shown, strict=True)
        outputs = net(torch.from_numpy(np.stack(pixels)))
        wrong = loss(outputs, torch.tensor(kinds), torch.tensor(goals))
        optimizer.zero_grad()
        wrong.backward()
        optimizer.step()
        schedule.step()
    return net.eval()


def folded(net: Net) -> dict[str, NDArray[np.float16]]:
    """Return the weights by name, the means and deviations folded into them; a layer is (side, side, in, out)."""
    weights: dict[str, torch.Tensor] = {}
    modules = list(net.body)
    for number in range(len(LAYERS)):
        convolution, norm = modules[3 * number], modules[3 * number + 1]
        assert isinstance(convolution, nn.Conv2d)
        assert isinstance(norm, nn.BatchNorm2d)
        assert norm.running_mean is not None
        assert norm.running_var is not None
        scale = norm.weight / (norm.running_var + norm.eps).sqrt()
        weights[f"{number}.weight"] = (convolution.weight * scale[:, None, None, None]).permute(2, 3, 1, 0)
        weights[f"{number}.bias"] = norm.bias - norm.running_mean * scale
    for name, number in (("hidden", 0), ("output", 2)):
        linear = net.head[number]
        assert isinstance(linear, nn.Linear)
        weights[f"{name}.weight"], weights[f"{name}.bias"] = linear.weight.T, linear.bias
    return {name: value.detach().numpy().astype(np.float16, order="C") for name, value in weights.items()}

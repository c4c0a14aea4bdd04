"""What each denoising filter and tone curve gains, and costs: python -m benchmarks.repair_family PATH [--most N].

PATH as in benchmarks.filter_quality. Each member is applied to every picture of the kinds that it may be chosen for,
whether its damage is recognised or not and without the check that the filter makes after a repair, and to clean ones,
as `denoise_all` and `tone_all` do. Those tried and not kept are here, so that the tables can be made again.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

from benchmarks.filter_quality import Label, labelled_set, psnr, read_labels
from pipeline.cleaning.denoise import DENOISERS, Sigmas
from pipeline.cleaning.gamma import gamma
from pipeline.cleaning.opponent import PLANE_RANGE, from_opponent, noise_sigmas, opponent_planes
from pipeline.cleaning.tone import TONE_CURVES, Tone
from pipeline.cleaning.views import luma, net_view
from pipeline.codec import Pixels, decode
from pipeline.params import FilterParams, load_params

Member = Callable[[Pixels], Pixels]
# From a damaged picture and its kind to what a member makes of it, prepared outside the time that is taken.
Prepare = Callable[[Pixels, str], Member]

NOISES, TONES = ("gaussian_noise", "salt_pepper", "jpeg_blocks"), ("dark", "bright", "faded")


def bilateral(pixels: Pixels, sigmas: Sigmas) -> Pixels:
    """Return a picture after a bilateral filter of each opponent plane, at the strength that gained most."""
    planes = [
        cv2.bilateralFilter(plane / PLANE_RANGE, 7, 3 * sigma / PLANE_RANGE, 1.5) * PLANE_RANGE if sigma > 0 else plane
        for plane, sigma in zip(opponent_planes(pixels), sigmas.tolist(), strict=True)
    ]
    return from_opponent(np.stack(planes))


def gaussian(pixels: Pixels, sigmas: Sigmas) -> Pixels:
    """Return a picture under a Gaussian of 0.7 pixels, or none where there is no noise."""
    return np.asarray(cv2.GaussianBlur(pixels, (0, 0), 0.7), np.uint8) if sigmas.any() else pixels


def sigmoid(pixels: Pixels, _: Tone) -> Pixels:
    """Return a picture under a sigmoid about its mean luma, black and white kept, at the gain that gained most."""
    curve = 1 / (1 + np.exp(8 * (luma(pixels).mean() / 255 - np.arange(256) / 255)))
    curve = 255 * (curve - curve[0]) / (curve[-1] - curve[0])
    return np.asarray(np.rint(curve).astype(np.uint8)[pixels], np.uint8)


def clahe(pixels: Pixels, _: Tone) -> Pixels:
    """Return a picture whose lightness OpenCV's CLAHE equalized, at the limit and tiles that gained most."""
    lab = cv2.cvtColor(pixels, cv2.COLOR_RGB2LAB)
    lab[:, :, 0] = cv2.createCLAHE(4.0, (2, 2)).apply(np.ascontiguousarray(lab[:, :, 0]))
    return np.asarray(cv2.cvtColor(lab, cv2.COLOR_LAB2RGB), np.uint8)


def denoisers(params: FilterParams) -> dict[str, Prepare]:
    """Return how each denoising filter is applied: as the filter does, by the measured noise, blocks by the params."""

    def prepare(member: Callable[[Pixels, Sigmas], Pixels]) -> Prepare:
        def with_noise(pixels: Pixels, kind: str) -> Member:
            blocks = np.full(3, params.deblock_sigma, np.float32)
            sigmas = blocks if kind == "jpeg_blocks" else noise_sigmas(pixels)
            return lambda pixels: member(pixels, sigmas)

        return with_noise

    members = {**DENOISERS, "bilateral": bilateral, "gaussian": gaussian}
    return {name: prepare(member) for name, member in members.items()}


def curves(params: FilterParams, image_size: int) -> dict[str, Prepare]:
    """Return how each tone curve is applied: by the estimated gamma and the levels of the params."""

    def prepare(member: Callable[[Pixels, Tone], Pixels]) -> Prepare:
        def with_tone(pixels: Pixels, _: str) -> Member:
            estimated = gamma([pixels], net_view(pixels, image_size)[None], params.gamma_nats).item()
            tone = Tone(estimated, params.faded_black, params.faded_white, params.mean_brightness)
            return lambda pixels: member(pixels, tone)

        return with_tone

    members = {**TONE_CURVES, "sigmoid": sigmoid, "clahe": clahe}
    return {name: prepare(member) for name, member in members.items()}


def pairs(root: Path, labels: list[Label], kind: str, most: int, max_pixels: int) -> list[tuple[Pixels, Pixels]]:
    """Return the pictures of a kind, each with its undamaged original, which for a clean one is itself."""

    def read(path: Path) -> Pixels:
        return decode(path.read_bytes(), max_pixels)

    found = []
    for label in [label for label in labels if label["kind"] == kind][:most]:
        damaged = read(root / "images" / label["file"])
        pristine = root / "pristine" / f"{Path(label['file']).stem}.png"
        found.append((damaged, read(pristine) if label["expect"] == "repair" else damaged))
    return found


def table(
    members: Mapping[str, Prepare], kept: Mapping[str, object], pictures: Mapping[str, list[tuple[Pixels, Pixels]]]
) -> dict[str, dict[str, float]]:
    """Print and return each member's mean gain in dB by kind, what it leaves of clean pictures, and its time."""
    print(f"{'':16}", *(f"{kind:>15}" for kind in pictures), f"{'ms':>7}")
    rows: dict[str, dict[str, float]] = {}
    for name, prepare in members.items():
        seconds, row = 0.0, {}
        for kind, some in pictures.items():
            values = []
            for damaged, pristine in tqdm(some, desc=f"{name}, {kind}", leave=False):
                member = prepare(damaged, kind)
                started = time.perf_counter()
                after = member(damaged)
                seconds += time.perf_counter() - started
                values.append(psnr(after, pristine) - (0.0 if kind == "clean" else psnr(damaged, pristine)))
            row[kind] = round(float(np.mean(values)), 2) + 0.0
        row["ms"] = round(1000 * seconds / sum(map(len, pictures.values())), 2)
        print(f"{name:16}", *(f"{row[kind]:15.2f}" for kind in pictures), f"{row['ms']:7.2f}", end="")
        print("" if name in kept else "  not kept")
        rows[name] = row
    return rows


def main() -> None:
    """Measure both families on PATH and print one line of JSON last."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("path", type=Path)
    parser.add_argument("--most", type=int, default=120, help="pictures of a kind (default: %(default)s)")
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    params = load_params()
    with tempfile.TemporaryDirectory() as folder:
        root = labelled_set(arguments.path, Path(folder))
        labels = read_labels(root)
        pictures = {
            kind: pairs(root, labels, kind, arguments.most, params.crawl.max_pixels)
            for kind in (*NOISES, *TONES, "clean")
        }
    print("Mean gain in dB; for clean pictures the PSNR against themselves (54: unchanged); milliseconds an image\n")
    figures = {}
    for family, members, kept, kinds in (
        ("denoise", denoisers(params.filter), DENOISERS, NOISES),
        ("tone", curves(params.filter, params.image_size), TONE_CURVES, TONES),
    ):
        figures[family] = table(members, kept, {kind: pictures[kind] for kind in (*kinds, "clean")})
        print()
    print(json.dumps(figures))


if __name__ == "__main__":
    main()

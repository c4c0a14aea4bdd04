"""Does KID rise with damage, and the more the worse it is: python -m benchmarks.metric_sanity [FOLDER] [--most N].

Of the built-in faces or, where a folder is given, of its pictures one half is the reference; the other is damaged, ever
more, by blur, noise, JPEG and swirl, or loses its modes: clusters of like faces, found in the reference. Strength 0 is
the other half as it is. For the built-in faces, as many as usual, a plot is written too (docs/metric_sanity.png);
pictures of others' faces, and plots of them, don't belong in the project.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray
from scipy.cluster.vq import kmeans2, vq
from skimage.transform import swirl
from tqdm import tqdm

from benchmarks.folder import readable_pictures
from pipeline.atomic import whole_file
from pipeline.codec import decode
from pipeline.faces import Faces
from pipeline.metrics.backbone import Backbone, Features, open_backbone
from pipeline.metrics.distances import kid
from pipeline.metrics.features import extract_features, spread
from pipeline.packing import resize_face
from pipeline.params import load_params
from pipeline.sources.builtin import draw

PLOT, MOST = Path("docs/metric_sanity.png"), 1000
SIDE, MODES, SUBSETS = 64, 10, 50

Damage = Callable[[Faces, float], Faces]
# KID ×1000 and its standard error by strength.
Curve = dict[float, tuple[float, float]]


def blurred(faces: Faces, sigma: float) -> Faces:
    """Return faces under a Gaussian of that deviation in pixels."""
    return np.stack([cv2.GaussianBlur(face, (0, 0), sigma) for face in faces]).astype(np.uint8)


def noisy(faces: Faces, sigma: float) -> Faces:
    """Return faces with Gaussian noise of that deviation in grey levels, the same in every call."""
    noise = np.random.default_rng(0).normal(0, sigma, faces.shape)
    return np.clip(faces + noise, 0, 255).astype(np.uint8)


def as_jpeg(faces: Faces, loss: float) -> Faces:
    """Return faces after a JPEG of quality 100 - loss."""
    options = [cv2.IMWRITE_JPEG_QUALITY, int(100 - loss)]
    encoded = [cv2.imencode(".jpg", cv2.cvtColor(face, cv2.COLOR_RGB2BGR), options)[1] for face in faces]
    return np.stack([decode(data.tobytes(), faces[0].size) for data in encoded])


def swirled(faces: Faces, strength: float) -> Faces:
    """Return faces swirled about their middle, by skimage's strength.

    Bicubic, for a weak swirl would otherwise be a blur before all else.
    """
    turned = [swirl(face, strength=strength, radius=SIDE, order=3, mode="edge", preserve_range=True) for face in faces]
    return np.rint(np.stack(turned)).clip(0, 255).astype(np.uint8)


DAMAGES: dict[str, tuple[Damage, tuple[float, ...], str]] = {
    "blur": (blurred, (0.5, 1, 2, 4), "deviation, pixels"),
    "noise": (noisy, (8, 16, 32, 64), "deviation, grey levels"),
    "JPEG": (as_jpeg, (40, 70, 85, 95), "100 - quality"),
    "swirl": (swirled, (1, 2, 4, 8), "strength"),
}
# The smallest first.
LOST = (1, 3, 5, 7, 9)
UNITS = {**{name: unit for name, (_, _, unit) in DAMAGES.items()}, "lost modes": f"of {MODES} clusters"}


def builtin_faces(count: int) -> Faces:
    """Return so many built-in faces, uint8 (N, 64, 64, 3), undamaged."""
    return np.stack([draw(0, number, SIDE) for number in tqdm(range(count), desc="draw", leave=False)])


def folder_faces(folder: Path, most: int, max_pixels: int) -> Faces:
    """Return at most so many of a folder's pictures, evenly taken, as resize would: uint8 (N, 64, 64, 3)."""
    found = np.array(readable_pictures(folder, max_pixels), object)
    pictures = (decode(path.read_bytes(), max_pixels) for path in tqdm(spread(found, most), desc="read", leave=False))
    return np.stack([resize_face(picture, SIDE, 3) for picture in pictures])


def curves(
    faces: Faces,
    backbone: Backbone,
    damages: Mapping[str, tuple[Damage, Sequence[float], str]] = DAMAGES,
    lost: Sequence[float] = LOST,
) -> dict[str, Curve]:
    """Return KID of every damage at every strength, 0 included, of every second face against the others."""
    known, unseen = faces[::2], faces[1::2]
    reference, whole = (extract_features(some, backbone, "undamaged") for some in (known, unseen))

    def measure(features: Features) -> tuple[float, float]:
        value, error = kid(reference, features, SUBSETS, 0)
        return 1000 * value, 1000 * error

    start = {0.0: measure(whole)}
    found: dict[str, Curve] = {}
    for name, (damage, strengths, _) in damages.items():
        found[name] = start | {
            strength: measure(extract_features(damage(unseen, strength), backbone, f"{name} {strength}"))
            for strength in strengths
        }
    modes = modes_of(reference, whole)
    found["lost modes"] = start | {number: measure(whole[modes >= number]) for number in lost}
    return found


def modes_of(reference: Features, features: Features) -> NDArray[np.intp]:
    """Return each row's mode, a cluster (k-means) of the reference: 0 is the one with the fewest of the rows."""
    centres, _ = kmeans2(reference.astype(np.float64), MODES, minit="++", rng=0)
    modes = vq(features.astype(np.float64), centres)[0]
    ranks: NDArray[np.intp] = np.bincount(modes, minlength=MODES).argsort(kind="stable").argsort()[modes]
    return ranks


def rises(curve: Curve) -> bool:
    """Return whether KID rises with the damage: from first to last by more than twice the error, and no step falls by
    more than its own.
    """

    def apart(weak: tuple[float, float], strong: tuple[float, float]) -> float:
        return (strong[0] - weak[0]) / math.hypot(weak[1], strong[1])

    points = list(curve.values())
    return apart(points[0], points[-1]) > 2 and all(apart(*step) >= -1 for step in pairwise(points))


def plot(found: Mapping[str, Curve], path: Path) -> None:
    """Draw a panel a damage as a PNG: KID over its strength, with two standard errors to each side."""
    figure = Figure(figsize=(14, 3), layout="constrained")
    for axes, (name, curve) in zip(figure.subplots(1, len(found)), found.items(), strict=True):
        values, errors = np.array(list(curve.values())).T
        axes.errorbar(list(curve), values, yerr=2 * errors, marker="o", capsize=3)
        axes.set_title(name)
        axes.set_xlabel(UNITS[name])
        axes.grid(alpha=0.3)
    figure.axes[0].set_ylabel("KID ×1000")
    with whole_file(path) as temporary:
        figure.savefig(temporary, dpi=80, format="png")


def main() -> None:
    """Measure, print a table and one line of JSON last."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("folder", type=Path, nargs="?", help="of faces (default: the built-in ones)")
    parser.add_argument("--most", type=int, default=MOST, help="faces, both halves together (default: %(default)s)")
    arguments = parser.parse_args()
    if arguments.folder:
        faces = folder_faces(arguments.folder, arguments.most, load_params().crawl.max_pixels)
    else:
        faces = builtin_faces(arguments.most)
    found = curves(faces, open_backbone(torch.device("cpu"), SIDE, 3))
    print(f"KID×1000 ± standard error, {len(faces) // 2} faces against {len(faces) - len(faces) // 2} others\n")
    for name, curve in found.items():
        steps = "   ".join(
            f"{strength:g}: {round(value, 1) + 0.0} ± {error:.1f}" for strength, (value, error) in curve.items()
        )
        print(f"{name:10} ({UNITS[name]})\n    {steps}   {'rises' if rises(curve) else 'DOES NOT RISE'}")
    if not arguments.folder and arguments.most == MOST:
        plot(found, PLOT)
    headline = {
        name: {f"{strength:g}": round(value, 1) + 0.0 for strength, (value, _) in curve.items()}
        for name, curve in found.items()
    }
    print(json.dumps({"rises": all(map(rises, found.values())), "faces": len(faces), "kid_lite0": headline}))


if __name__ == "__main__":
    main()

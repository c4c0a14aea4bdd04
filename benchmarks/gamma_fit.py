"""Fit the weights of cleaning.measures.gamma again: python -m benchmarks.gamma_fit FOLDER [FOLDER ...].

Each folder holds natural faces (PNG or JPEG). Every face is taken once as it is, gamma 1, and once each with a random
gamma that makes it far too pale and far too dark, saved as a JPEG, as such pictures come; the terms are regressed on
the logarithm of the gamma by least squares.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

from pipeline.cleaning.measures import gamma_terms
from pipeline.cleaning.tone import undo_gamma
from pipeline.cleaning.views import luma, net_view
from pipeline.codec import Pixels, decode
from pipeline.params import load_params

PALE, DARK = (0.2, 0.42), (2.2, 4.2)


def as_jpeg(pixels: Pixels) -> Pixels:
    """Return a picture after a JPEG of quality 92 with chroma subsampling."""
    _, data = cv2.imencode(".jpg", cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, 92])
    return decode(data.tobytes(), pixels.size)


def main() -> None:
    """Print the weights, and how far off they are on the faces left out; one line of JSON last."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("folder", type=Path, nargs="+")
    folders = parser.parse_args().folder
    params = load_params()
    generator = np.random.default_rng(0)
    terms, targets = [], []
    files = [file for folder in folders for file in sorted(folder.rglob("*")) if file.suffix in (".png", ".jpg")]
    for file in tqdm(files):
        face = decode(file.read_bytes(), params.crawl.max_pixels)
        for low, high in ((1.0, 1.0), PALE, DARK):
            gamma = float(np.exp(generator.uniform(np.log(low), np.log(high))))
            net = net_view(face if gamma == 1.0 else as_jpeg(undo_gamma(face, 1 / gamma)), params.image_size)
            terms.append(gamma_terms(net, luma(net)))
            targets.append(np.log(gamma))
    design, goal = np.array(terms), np.array(targets)
    # Every other face, with all three of its gammas.
    test = np.arange(len(goal)) // 3 % 2 == 1
    weights = np.linalg.lstsq(design[~test], goal[~test])[0]
    error = (design @ weights - goal)[test]
    changed = goal[test] != 0
    figures = {
        "weights": [round(float(weight), 2) for weight in weights],
        "faces": len(files),
        "rms_log_gamma_natural": round(float(np.sqrt(np.mean(error[~changed] ** 2))), 3),
        "rms_log_gamma_changed": round(float(np.sqrt(np.mean(error[changed] ** 2))), 3),
    }
    print(json.dumps(figures))


if __name__ == "__main__":
    main()

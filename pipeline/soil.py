"""Clean pictures into a set with known dirt, in the layout that `python -m benchmarks.filter_quality` reads.

images/ holds the files, labels.csv a row a file (Label), pristine/ the undamaged original of every 'repair' row as PNG.
"""

from __future__ import annotations

import csv
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

from pipeline.codec import DecodeError, decode, decode_with_format, encode_png
from pipeline.errors import StageError
from pipeline.params import CrawlParams
from pipeline.sources.builtin import COPIES, EXACT_COPY
from pipeline.sources.damage import DAMAGES
from pipeline.sources.folder import folder_units
from pipeline.sources.items import Unit

# What a filter should do about each kind of damage; of a copy and its original either may be the one that it rejects.
EXPECTED = {
    EXACT_COPY: "reject",
    "reencoded_duplicate": "reject",
    "blur": "reject",
    "gaussian_noise": "repair",
    "salt_pepper": "repair",
    "dark": "repair",
    "bright": "repair",
    "faded": "repair",
    "unreadable": "reject",
    "tiny": "reject",
}

LONGEST = 65_500  # pixels a side that libjpeg writes, as which some are saved anew


class Label(NamedTuple):
    """A row of labels.csv: a file of images/, or with file and expect blank an input that could not be read.

    origin is the input's path below its folder, strength is blank because a damage keeps its draw to itself, pair is
    the file that a copy shows.
    """

    file: str
    origin: str
    kind: str
    expect: str
    strength: str = ""
    pair: str = ""


def plan(count: int, share: float, seed: int) -> dict[int, str]:
    """Choose which of so many pictures, numbered from 0, get which damage: kinds in equal parts, give or take one."""
    chosen = np.random.default_rng(seed).permutation(count)[: round(share * count)]
    kinds = list(EXPECTED)
    return {int(number): kinds[at % len(kinds)] for at, number in enumerate(chosen)}


def soil(folder: Path, out: Path, share: float, seed: int, crawl: CrawlParams) -> list[Label]:
    """Write the pictures below a folder, that share of them damaged, as a labelled set to out; return its labels.

    The same files give the same set for a seed. out appears whole or not at all. StageError where folder holds no
    picture, or out is there already or lies inside folder, where it would be the next one's input.
    """
    if not folder.is_dir():
        raise StageError(f"soil: {folder} is no folder; name one that holds clean pictures")
    if out.exists() or out.is_symlink():
        raise StageError(f"soil: {out} is there already; name another, or remove it first")
    if out.resolve().is_relative_to(folder.resolve()):
        raise StageError(f"soil: {out} is inside {folder}; name a place outside it")
    units = folder_units(folder, crawl.max_bytes)
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}.") as held:
        root = Path(held) / "set"
        for name in ("images", "pristine"):
            (root / name).mkdir(parents=True)
        clean, skipped = _take_in(units, root / "images", crawl.max_pixels)
        if not clean:
            raise StageError(f"soil: of {len(skipped)} files in {folder} none is a picture that can be read")
        kinds = plan(len(clean), share, seed)
        rows = {number: [label] for number, label in enumerate(clean)}
        for number, kind in tqdm(sorted(kinds.items()), desc="soil", unit="img"):
            rng = np.random.default_rng([seed, number])
            rows[number] = _damage(root, clean[number], kind, rng, crawl.max_pixels)
        labels = [label for group in rows.values() for label in group] + skipped
        with (root / "labels.csv").open("w", encoding="utf-8", newline="") as file:
            csv.writer(file, lineterminator="\n", quoting=csv.QUOTE_ALL).writerows([Label._fields, *labels])
        root.rename(out)
    return labels


def _take_in(units: Sequence[Unit], images: Path, max_pixels: int) -> tuple[list[Label], list[Label]]:
    """Copy what can be decoded and damaged to the folder images, bytes as they are; return its labels, and the rest's.

    They are numbered, because a name may be anything. The input may change from here on: it is read once.
    """
    clean, skipped = list[Label](), list[Label]()
    items = (item for unit in units for item in unit.read())
    for item in tqdm(items, total=sum(unit.images for unit in units), desc="read", unit="img"):
        try:
            picture, picture_format = decode_with_format(data := item.data or b"", max_pixels)
        except DecodeError as fault:
            skipped.append(Label("", item.path, f"skipped/{item.error or fault}", ""))
            continue
        if max(picture.size) > LONGEST:
            skipped.append(Label("", item.path, "skipped/too long to be damaged", ""))
            continue
        file = f"{len(clean):06d}.{picture_format.lower()}"
        (images / file).write_bytes(data)
        clean.append(Label(file, item.path, "clean", "keep"))
    return clean, skipped


def _damage(root: Path, clean: Label, kind: str, rng: np.random.Generator, max_pixels: int) -> list[Label]:
    """Damage a picture of the set at root; return its row, or its two: a copy stands beside its original."""
    original = root / "images" / clean.file
    data = original.read_bytes()
    pixels = decode(data, max_pixels)
    soiled = data if kind == EXACT_COPY else DAMAGES[kind](pixels, rng)
    suffix = original.suffix if kind == EXACT_COPY else ".png" if soiled.startswith(b"\x89PNG") else ".jpeg"
    label = Label(original.stem + suffix, clean.origin, kind, EXPECTED[kind])
    if kind in COPIES:
        label = label._replace(file=f"{original.stem}_copy{suffix}", pair=clean.file)
    else:
        original.unlink()
    (root / "images" / label.file).write_bytes(soiled)
    if label.expect == "repair":
        (root / "pristine" / f"{original.stem}.png").write_bytes(encode_png(pixels))
    return [clean, label] if label.pair else [label]

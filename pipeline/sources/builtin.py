"""Built-in faces: drawn with DiceBear's style "lorelei" (Lisa Wischofsky, CC0) and soiled by a recipe."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache, partial
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import resvg_py
from dicebear import Avatar, Style
from pydantic import Field, field_validator

from pipeline.codec import Pixels, decode_trusted, encode_png
from pipeline.params import Count, Section, Share, validate
from pipeline.sources.damage import DAMAGES
from pipeline.sources.items import Item, Unit, cut

LICENCE = "CC0-1.0"

# Unset, the style is black on white. The crop is closer than the style's own, because an eye must survive at 64×64.
STYLE_OPTIONS: dict[str, Any] = {
    "scale": 1.3,
    "translateY": 2,
    "flip": ["none", "horizontal"],
    "beardProbability": 0,
    "hairColor": [
        *("#1c1c28", "#2c1b18", "#4a312c", "#724133", "#a55728", "#d6b370", "#c93305"),
        *("#e8748f", "#6a4fb3", "#3f7fd0", "#4fae8a", "#9aa3b5"),
    ],
    "skinColor": ["#ffe4d0", "#fbd3b4", "#f2c29b", "#e0a67c", "#c68863", "#9a6245"],
    "eyesColor": ["#3b2a20", "#1f4e79", "#2f6b3a", "#6b2f6b"],
    "mouthColor": ["#8c2f39", "#b5525c"],
    "backgroundColor": ["#f6f1e7", "#dfeaf2", "#f7dfe3", "#e3f0dd", "#efe2f5", "#ffe9c7"],
}

EXACT_COPY = "exact_duplicate"
COPIES = (EXACT_COPY, "reencoded_duplicate")
KINDS = (EXACT_COPY, *DAMAGES)


class BuiltinRecipe(Section):
    """data/builtin.yaml: how many faces to draw, how large, and how much dirt of which kind to mix in."""

    kind: Literal["builtin"]
    seed: Count
    count: Annotated[int, Field(ge=1, le=10_000_000)]  # names of seven digits are in the order of their rows
    size: Annotated[int, Field(ge=32, le=512)]
    dirt: dict[str, Share]

    @field_validator("dirt")
    @classmethod
    def _dirt(cls, dirt: dict[str, float]) -> dict[str, float]:
        unknown = sorted(set(dirt) - set(KINDS))
        if unknown:
            raise ValueError(f"unknown kind {unknown[0]!r}; there are {', '.join(KINDS)}")
        if sum(dirt.values()) > 0.9:
            raise ValueError("the shares add up to more than 0.9; a tenth at least must be clean")
        return dirt


@dataclass(frozen=True)
class Planned:
    """One image of a recipe: its row, what is done to it, and the row of the face that it shows."""

    row: int
    kind: str
    face: int


def plan(recipe: BuiltinRecipe) -> list[Planned]:
    """Decide what every row of a recipe is, by its seed alone; a copy shows the face of a clean row."""
    rng = np.random.default_rng(recipe.seed)
    kinds = [kind for kind, share in recipe.dirt.items() for _ in range(round(share * recipe.count))]
    kinds = kinds[: recipe.count - 1] + ["clean"] * max(1, recipe.count - len(kinds))
    shuffled = [kinds[index] for index in rng.permutation(recipe.count)]
    clean = [row for row, kind in enumerate(shuffled) if kind == "clean"]
    copied = rng.choice(clean, recipe.count)
    return [Planned(row, kind, int(copied[row]) if kind in COPIES else row) for row, kind in enumerate(shuffled)]


@cache
def _style() -> Style:
    return Style(json.loads(files("dicebear_styles").joinpath("lorelei.json").read_text("utf-8")))


def draw(seed: int, face: int, size: int) -> Pixels:
    """Draw one face: RGB uint8 (size, size, 3), the same for the same arguments in any process."""
    avatar = Avatar(_style(), {**STYLE_OPTIONS, "seed": f"{seed}/{face}", "size": size})
    png = resvg_py.svg_to_bytes(svg_string=avatar.to_string(), width=size, height=size, skip_system_fonts=True)
    return decode_trusted(png)


def _item(recipe: BuiltinRecipe, planned: Planned) -> Item:
    pixels = draw(recipe.seed, planned.face, recipe.size)
    original = encode_png(pixels)
    untouched = planned.kind in ("clean", EXACT_COPY)
    rng = np.random.default_rng([recipe.seed, planned.row])
    return Item(
        path=f"faces/{planned.row:07d}",
        source="builtin:lorelei",
        data=original if untouched else DAMAGES[planned.kind](pixels, rng),
        licence=LICENCE,
        split_by=original,
        truth=planned.kind,
        truth_copy_of=planned.face if planned.kind in COPIES else None,
        pristine=None if untouched else original,
    )


def _read(recipe: BuiltinRecipe, rows: Sequence[Planned]) -> Iterator[Item]:
    for planned in rows:
        yield _item(recipe, planned)


def builtin_units(recipe_path: Path, content: dict[str, Any]) -> list[Unit]:
    """Return the shards of a recipe of kind `builtin`; ParamsError where the recipe is wrong."""
    recipe = validate(BuiltinRecipe, content, recipe_path)
    shards = cut(plan(recipe), size_of=lambda _: 0)
    return [Unit(first, len(rows), partial(_read, recipe, rows)) for first, rows in shards]

"""A recipe, a dataroot that says in YAML what to draw or to crawl: its settings, beside those of params.yaml."""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from pipeline.errors import ParamsError
from pipeline.params import flatten, read_yaml

RECIPES = (".yaml", ".yml")  # how its name ends


def recipe_settings(recipe: Path) -> dict[str, Any]:
    """Return what a dataroot that is a recipe sets, as `dataroot:KEY`; nothing for any other, and an unreadable one.

    Of a table of numbers, such as dirt, its sum too.
    """
    if recipe.suffix not in RECIPES or not recipe.is_file():
        return {}
    with suppress(ParamsError):  # the import says what is wrong with it
        # MLflow would refuse all settings for one whose name has another letter.
        told = {str(key): value for key, value in read_yaml(recipe).items()}
        sums = {key: round(sum(value.values()), 6) for key, value in told.items() if _is_of_numbers(value)}
        return {
            f"dataroot:{key}": value for key, value in (flatten(told) | sums).items() if re.fullmatch(r"[\w.]+", key)
        }
    return {}


def _is_of_numbers(value: object) -> bool:
    return isinstance(value, Mapping) and all(isinstance(number, int | float) for number in value.values())

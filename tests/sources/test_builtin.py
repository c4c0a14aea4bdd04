from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from pipeline.codec import DecodeError, decode
from pipeline.errors import ParamsError
from pipeline.sources.builtin import COPIES, KINDS, BuiltinRecipe, builtin_units, draw, plan
from pipeline.sources.items import Item

RECIPE = {"kind": "builtin", "seed": 3, "count": 60, "size": 48, "dirt": dict.fromkeys(KINDS, 0.05)}


@pytest.fixture(scope="module")
def items() -> list[Item]:
    return [item for unit in builtin_units(Path("recipe.yaml"), RECIPE) for item in unit.read()]


def test_a_face_is_the_same_each_time_and_another_face_is_not() -> None:
    assert draw(0, 1, 48).shape == (48, 48, 3)
    np.testing.assert_array_equal(draw(0, 1, 48), draw(0, 1, 48))
    assert (draw(0, 1, 48) != draw(0, 2, 48)).any()
    assert (draw(0, 1, 48) != draw(1, 1, 48)).any()


def test_faces_are_coloured() -> None:
    """Unset, the style is black and white: then the channels are equal."""
    face = draw(0, 1, 48).astype(int)
    assert np.ptp(face, axis=2).max() > 50


def test_plan_gives_each_kind_its_share() -> None:
    recipe = BuiltinRecipe.model_validate(RECIPE)
    kinds = Counter(planned.kind for planned in plan(recipe))
    assert kinds == {**dict.fromkeys(KINDS, 3), "clean": 60 - 3 * len(KINDS)}


def test_a_copy_shows_a_clean_face() -> None:
    planned = plan(BuiltinRecipe.model_validate(RECIPE))
    for entry in planned:
        if entry.kind in COPIES:
            assert planned[entry.face].kind == "clean"
        else:
            assert entry.face == entry.row


def test_truth_holds(items: list[Item]) -> None:
    for item in items:
        if item.truth == "exact_duplicate":
            assert item.data == items[item.truth_copy_of].data
        if item.truth == "clean":
            assert item.pristine is None
            assert item.data == item.split_by
        if item.truth == "unreadable":
            with pytest.raises(DecodeError):
                decode(item.data, 10**6)
        elif item.truth == "tiny":
            assert max(decode(item.data, 10**6).shape[:2]) < 25
        elif item.pristine is not None:
            assert (decode(item.data, 10**6) != decode(item.pristine, 10**6)).any()


def test_a_copy_splits_with_its_original(items: list[Item]) -> None:
    assert all(item.split_by == items[item.truth_copy_of].data for item in items if item.truth in COPIES)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        pytest.param({"dirt": {"mud": 0.1}}, "dirt: unknown kind 'mud'", id="unknown dirt"),
        pytest.param({"dirt": {"blur": 0.5, "dark": 0.5}}, "more than 0.9", id="all dirt"),
        pytest.param({"count": 0}, "count: ", id="no faces"),
        pytest.param({"colour": "red"}, "colour: unknown key", id="unknown key"),
    ],
)
def test_wrong_recipe_is_refused_by_name(change: dict, message: str) -> None:
    with pytest.raises(ParamsError, match=r"recipe\.yaml") as refused:
        builtin_units(Path("recipe.yaml"), RECIPE | change)
    assert message in str(refused.value)


def test_dirt_free_recipe() -> None:
    recipe = BuiltinRecipe.model_validate(RECIPE | {"dirt": {}})
    assert {planned.kind for planned in plan(recipe)} == {"clean"}

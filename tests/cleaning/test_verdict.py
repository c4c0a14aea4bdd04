from __future__ import annotations

import numpy as np
import pytest

from pipeline.cleaning.measures import Measures
from pipeline.cleaning.verdict import (
    COPY_RULES,
    DROP_RULES,
    NEED_ALL,
    REPAIR_RULES,
    as_columns,
    damages,
    judge,
    severities,
    with_shape,
)

GOOD = Measures(
    width=96, height=96, contrast=200, white=255, information=5, edges=0.6, blur=0.3, sharpness=0.7, noise=1,
    impulses=0, blockiness=1, gamma=1,
)  # fmt: skip


def verdict(params, **changes):
    reasons, repairs = judge(as_columns(GOOD._replace(**changes)), params)
    return reasons[0], repairs[0]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        pytest.param({}, None, id="good"),
        pytest.param({"width": 31, "height": 60}, "too small", id="narrow"),
        pytest.param({"width": 32, "height": 32}, None, id="just large enough"),
        pytest.param({"width": 289}, "aspect", id="banner"),
        pytest.param({"width": 288}, None, id="just square enough"),
        pytest.param({"width": 20, "height": 200}, "aspect", id="aspect before size"),
        pytest.param({"contrast": 11}, "uniform", id="flat"),
        pytest.param({"information": 0.9}, "uniform", id="text card"),
        pytest.param({"edges": 0.05}, "uniform", id="gradient"),
        pytest.param({"contrast": 0, "sharpness": 0, "blur": 1}, "uniform", id="uniform before blurry"),
        pytest.param({"blur": 0.6, "sharpness": 0.2}, "blurry", id="blurry"),
        pytest.param({"blur": 0.6}, None, id="soft but sharp"),
        pytest.param({"sharpness": 0.2}, None, id="smooth but not blurred"),
    ],
)
def test_reasons(params, changes, reason):
    assert verdict(params.filter, **changes) == (reason, None)


@pytest.mark.parametrize(
    ("changes", "repair"),
    [
        pytest.param({"impulses": 0.02, "noise": 12}, "impulse noise", id="dots before noise"),
        pytest.param({"noise": 12}, "gaussian noise", id="noise"),
        pytest.param({"contrast": 60, "white": 180, "gamma": 0.3}, "faded", id="faded"),
        pytest.param({"contrast": 60, "gamma": 0.3}, "bright", id="pale, but white is white"),
        pytest.param({"gamma": 4}, "dark", id="dark"),
        pytest.param({"blockiness": 3}, "jpeg blocks", id="blocks"),
        pytest.param({"gamma": 1.9}, None, id="a little dark"),
        pytest.param({"blur": 0.6, "sharpness": 0.2, "noise": 12}, None, id="dropped, not repaired"),
    ],
)
def test_repairs(params, changes, repair):
    assert verdict(params.filter, **changes)[1] == repair


@pytest.mark.parametrize("switched_off", ["min_contrast", "min_information", "min_edges"])
def test_a_flat_picture_is_uniform_by_any_two_of_the_three_limits(params, switched_off):
    """A limit of 0 is never undercut, and 0 of 0 says nothing: it must not silence the other two."""
    fewer = params.filter.model_copy(update={switched_off: 0.0})
    flat = {"contrast": 0, "information": 0, "edges": 0, "sharpness": 0, "blur": 1}
    assert verdict(fewer, **flat)[0] == "uniform"


def test_the_toggles(params):
    blurred = {"blur": 0.6, "sharpness": 0.2}
    assert verdict(params.filter.model_copy(update={"blur": False}), **blurred) == (None, None)
    assert verdict(params.filter.model_copy(update={"repair": False}), noise=12) == (None, None)
    off = params.filter.model_copy(update={"enabled": False})
    assert verdict(off, width=5, **blurred) == (None, None)
    assert verdict(off, noise=12) == (None, None)


def test_severity_is_the_ratio_to_the_threshold(params):
    far = severities(as_columns(GOOD._replace(width=8)), params.filter)
    assert far["too small"][0] == params.filter.min_side / 8
    assert (
        damages(as_columns(GOOD._replace(noise=21)), params.filter)["gaussian noise"][0] == 21 / params.filter.max_noise
    )


def test_unreadable_files_have_no_measures_and_no_verdict(params):
    nothing = Measures(*[np.nan] * len(Measures._fields))
    reasons, repairs = judge(as_columns(nothing), params.filter)
    assert (reasons[0], repairs[0]) == (None, None)


def test_every_rule_compares_a_measure_with_a_setting(params):
    measures = {*with_shape(as_columns(GOOD)), "difference"}
    for rules in (DROP_RULES, REPAIR_RULES, COPY_RULES):
        for rule in (rule for some in rules.values() for rule in some):
            assert rule.measure in measures
            assert isinstance(getattr(params.filter, rule.param), int | float)
    assert {*DROP_RULES, *REPAIR_RULES} >= NEED_ALL


def test_copies_are_those_whose_difference_is_under_the_limit():
    """The page says so; the pairs themselves are compared in copies.py."""
    assert {rule.over for some in COPY_RULES.values() for rule in some} == {False}


@pytest.mark.parametrize(("width", "height"), [(30, 90), (90, 30)])
def test_shape(width, height):
    shape = with_shape(as_columns(GOOD._replace(width=width, height=height)))
    assert (shape["side"][0], shape["aspect"][0]) == (30, 3)

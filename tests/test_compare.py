from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFont

from pipeline import compare
from pipeline.compare import Difference, cautions, differences, differing_settings, picture, told
from pipeline.dcgan.networks import Generator
from pipeline.dcgan.sampling import generate, sample_noise
from pipeline.dcgan.weights import save_weights
from pipeline.errors import StageError
from pipeline.reports.grids import grid
from pipeline.results import Results

PARAMS = {"lr": "0.1", "nz": "4", "seed": "3", "dataroot": "faces", "filter.max_blur": "3.0", "filter.cache_days": "1"}
PARAMS |= {"evaluate.n_generated": "64", "train.ema": "True"}
PARAMS |= {"crawl.holdout_fraction": "0.1", "crawl.crop.pad": "0.25", "crawl.delay": "0.5"}
FIGURES = {
    "kid_lite0_raw": 100.0, "kid_lite0_raw_se": 3.0, "kid_lite0_clean": 90.0, "kid_lite0_clean_se": 3.0,
    "fd_lite0_floor": 2.0, "precision": 0.5, "precision_se": 0.03, "recall": 0.4, "seconds": 10.0, "n_generated": 64,
}  # fmt: skip


def results(
    name: str, figures: dict | None = None, params: dict | None = None, generator: Path | None = None
) -> Results:
    return Results(
        name, f"made up {name}", PARAMS | (params or {}), FIGURES if figures is None else figures, generator, None
    )


def verdicts(text: str) -> dict[str, str]:
    """Return the last column by the first."""
    lines = text.split("\n\n")[2].splitlines()
    start = text.splitlines()[0].index("told apart")
    return {line.split()[0]: line[start:] for line in lines}


def test_a_difference_and_its_error() -> None:
    other = FIGURES | {"kid_lite0_raw": 89.9, "kid_lite0_raw_se": 4.0, "precision": 0.584, "precision_se": 0.03}
    found = {one.name: one for one in differences(results("A"), results("B", other))}
    assert found["kid_lite0_raw"] == Difference(
        "kid_lite0_raw", "100.0 ± 3.0", "89.9 ± 4.0", pytest.approx(-10.1), 5.0, True
    )
    assert found["precision"].exceeds is False  # 0.084 under 2 × 0.0424
    assert found["recall"] == Difference("recall", "0.400", "0.400", 0.0, None, None)
    assert set(found) == {"kid_lite0_raw", "kid_lite0_clean", "fd_lite0_floor", "precision", "recall"}


def test_exactly_twice_its_error_is_not_beyond_it() -> None:
    other = FIGURES | {"kid_lite0_raw": 90.0, "kid_lite0_raw_se": 4.0}
    (first, *_) = differences(results("A"), results("B", other))
    assert first.exceeds is False


def test_a_figure_or_an_error_of_one_run_alone() -> None:
    (one,) = differences(
        results("A", {"precision": 0.5, "precision_se": 0.1, "fid": 9.0}), results("B", {"precision": 1.0})
    )
    assert (one.difference, one.error, one.exceeds) == (0.5, None, None)


def test_settings_are_equal_by_their_value() -> None:
    other = results("B", params={"lr": "1e-1", "filter.max_blur": "3", "train.ema": "False", "only.here": "1"})
    assert differing_settings(results("A"), other) == {"train.ema": ("True", "False")}


@pytest.mark.parametrize(
    ("params", "figures", "filtered"),
    [
        pytest.param({"lr": "0.2", "filter.cache_days": "2"}, {}, [], id="nothing in the way"),
        pytest.param({"evaluate.n_generated": "65"}, {}, [False], id="other numbers of faces"),
        pytest.param({"filter.max_blur": "4"}, {}, [True], id="another filter"),
        pytest.param({"dataroot": "others"}, {}, [False], id="other faces"),
        pytest.param({"crawl.holdout_fraction": "0.4"}, {}, [False], id="another split"),
        pytest.param({"crawl.crop.pad": "1", "filter.max_blur": "4"}, {}, [False, True], id="other crops"),
        pytest.param({"filter.max_blur": "4", "evaluate.n_generated": "65"}, {}, [False, True], id="two reasons"),
        pytest.param({}, {"fd_lite0_floor": 2.1}, [False], id="other faces by the same name"),
        pytest.param({"filter.max_blur": "4"}, {"fd_lite0_floor": 2.1}, [True], id="another filter moves the floor"),
    ],
)
def test_what_does_not_compare(params: dict, figures: dict, filtered: list[bool]) -> None:
    left, right = results("A"), results("B", FIGURES | {"kid_lite0_raw": 50.0} | figures, params)
    assert [caution.filtered for caution in cautions(left, right)] == filtered
    text = told(left, right)
    assert text.count("warning: ") == len(filtered)
    expected = "does not compare" if False in filtered else "yes, better"
    assert verdicts(text)["kid_lite0_raw"] == expected
    assert verdicts(text)["kid_lite0_clean"] == ("does not compare" if filtered else "no")
    if "fd_lite0_floor" in figures:
        assert verdicts(text)["fd_lite0_floor"] == "does not compare"


def test_other_imports_do_not_compare_whatever_the_filter() -> None:
    left, right = (results(name)._replace(imported=name) for name in "AB")
    for other in (right, right._replace(params=PARAMS | {"filter.max_blur": "4"})):
        assert False in [caution.filtered for caution in cautions(left, other)]
        assert verdicts(told(left, other))["kid_lite0_raw"] == "does not compare"
    assert cautions(left, right._replace(imported="A")) == []
    same = right._replace(imported="A", params=PARAMS | {"crawl.holdout_fraction": "0.4", "dataroot": "elsewhere"})
    assert cautions(left, same) == [], "by whatever settings, these are the files"
    smaller = left._replace(imported="A", params=PARAMS | {"image_size": "64"})
    assert len(cautions(smaller, smaller._replace(params=PARAMS | {"image_size": "32"}))) == 1


def test_one_raw_holdout_is_what_figures_need_to_compare() -> None:
    """Known by its digest, whatever the settings are by which it came about."""
    left, right = (results(name)._replace(holdout=name) for name in "AB")
    for changed in ({}, {"filter.max_blur": "4"}, {"crawl.delay": "1.0"}):
        other = right._replace(params=PARAMS | changed)
        assert False in [caution.filtered for caution in cautions(left, other)]
        assert verdicts(told(left, other))["kid_lite0_raw"] == "does not compare"
        assert False not in [caution.filtered for caution in cautions(left, other._replace(holdout="A"))]
    elsewhere = right._replace(params=PARAMS | {"dataroot": "the/same/elsewhere"}, holdout="A")
    assert cautions(left, elsewhere) == []


def test_other_clean_holdouts_spare_the_figures_against_the_raw_one() -> None:
    left, right = (results(name)._replace(holdout="A", clean=name) for name in "AB")
    (caution,) = cautions(left, right)
    assert caution.filtered
    assert caution.says.startswith("the clean holdouts are other faces")
    assert cautions(left, right._replace(clean=None)) == []


def test_figures_by_other_code_do_not_compare() -> None:
    left, right = (results(name)._replace(holdout="A", metrics_code=name) for name in "AB")
    (caution,) = cautions(left, right)
    assert (caution.filtered, "by other code" in caution.says) == (False, True)
    assert verdicts(told(left, right))["kid_lite0_raw"] == "does not compare"
    assert cautions(left, right._replace(metrics_code=None)) == []


def test_a_setting_that_changes_no_face_is_in_nobodys_way() -> None:
    assert cautions(results("A"), results("B", params={"crawl.delay": "1.0"})) == []


def test_an_error_of_nothing_tells_nothing() -> None:
    found = differences(
        results("A", {"copied_share": 0.0, "copied_share_se": 0.0}),
        results("B", {"copied_share": 0.001, "copied_share_se": 0.0004}),
    )
    assert [one.exceeds for one in found] == [None]


def test_the_text_names_runs_settings_and_the_rule() -> None:
    first = {"precision": 0.5, "recall": 0.4} | FIGURES
    text = told(results("A", first), results("B", FIGURES | {"precision": 0.1, "fd_lite0_floor": 2.001}, {"lr": "0.2"}))
    heading, origins, settings, *_ = [line.split() for line in text.splitlines() if line]
    assert heading == ["A", "B", "difference", "told", "apart"]
    assert origins == ["made", "up", "A", "made", "up", "B"]
    assert settings == ["lr", "0.1", "0.2"]
    assert verdicts(text)["precision"] == "yes, worse"
    assert verdicts(text)["recall"] == ""
    assert list(verdicts(text))[-1] == "fd_lite0_floor"
    kids = [name.startswith("kid") for name in verdicts(text) if "_floor" not in name]
    assert kids == sorted(kids, reverse=True) != [False] * len(kids)
    assert "|difference| > 2 × sqrt(se₁² + se₂²)" in text
    same = told(results("A"), results("B"))
    assert "no setting differs" in same
    assert "fd_lite0_floor" not in verdicts(same)
    assert "the same in both: 1 of the floors" in same


def test_settings_that_were_edited_since_are_not_taken_for_those_of_the_run() -> None:
    text = told(results("HEAD"), results("workspace")._replace(edited=["filter.max_blur", "lr"]))
    assert "warning: params.yaml has changed since workspace was made (filter.max_blur, lr); shown is what" in text


def test_figures_that_are_0_in_both_share_a_line() -> None:
    none = {"precision": 0.0, "precision_se": 0.0, "recall": 0.0, "recall_se": 0.0}
    text = told(results("A", FIGURES | none), results("B", FIGURES | none | {"recall": 0.001}))
    assert "0 in both: precision\n" in text
    assert "precision" not in verdicts(text)
    assert "recall" in verdicts(text)
    assert "0 in both" not in told(results("A"), results("B"))


def weights(path: Path, nz: int = 4, image_size: int = 32) -> tuple[Path, Generator]:
    netG = Generator(nz=nz, ngf=2, nc=3, image_size=image_size).eval()
    save_weights(path, netG, {"nz": str(nz), "ngf": "2", "nc": "3", "image_size": str(image_size)})
    return path, netG


def test_both_grids_are_from_the_same_noise(tmp_path: Path) -> None:
    (first, one), (second, other) = weights(tmp_path / "1.safetensors"), weights(tmp_path / "2.safetensors")
    # The noise is the left run's, whatever the right one's seed.
    pixels, says = picture(results("A", generator=first), results("B", params={"seed": "9"}, generator=second))
    assert says == "A and B, 64 faces each; the noise is the same"
    faces = [grid(generate(netG, sample_noise(64, 4, 3), 64), 8) for netG in (one, other)]
    height, width, _ = faces[0].shape
    top, margin = compare.MARGIN + 3 * compare.LINE, compare.MARGIN
    assert pixels.shape == (height + top + margin, 2 * (width + 2 * margin), 3)
    for at, expected in enumerate(faces):
        left = margin + at * (width + 2 * margin)
        assert np.array_equal(pixels[top : top + height, left : left + width], expected)
        assert pixels[:top, left : left + width].min() < 128, "the label"


def test_another_nz_is_another_noise_and_another_size_fits(tmp_path: Path) -> None:
    first, _ = weights(tmp_path / "1.safetensors")
    second, _ = weights(tmp_path / "2.safetensors", nz=5, image_size=64)
    pixels, says = picture(results("A", generator=first), results("B", params={"nz": "5"}, generator=second))
    assert "NOT the same" in says
    assert pixels.shape[0] == 8 * 66 + 2 + 3 * compare.LINE + 2 * compare.MARGIN


def test_where_weights_are_gone_the_logged_picture_and_its_noise_serve(tmp_path: Path) -> None:
    first, netG = weights(tmp_path / "1.safetensors")
    logged = np.full((274, 274, 3), 77, np.uint8)
    Image.fromarray(logged).save(tmp_path / "samples.png")
    right = results("B", params={"seed": "9"})._replace(samples=tmp_path / "samples.png")
    pixels, says = picture(results("A", generator=first), right)
    assert says.endswith(
        "B's as evaluate logged them, because its generator is not in DVC's cache; the noise is the same"
    )
    top, margin = compare.MARGIN + 3 * compare.LINE, compare.MARGIN
    assert (pixels[top : top + 274, 274 + 3 * margin : -margin] == 77).all()
    expected = grid(generate(netG, sample_noise(64, 4, 9), 64), 8)
    assert np.array_equal(pixels[top : top + 274, margin : margin + 274], expected)
    with pytest.raises(StageError, match=r"B .made up B.: its generator is not in DVC's cache"):
        picture(results("A", generator=first), results("B"))


def test_a_long_name_is_cut() -> None:
    font = ImageFont.load_default(14)
    assert compare._fitted("short", font, 200) == "short"
    cut = compare._fitted("x" * 500, font, 200)
    assert cut.endswith("x…")
    assert font.getlength(cut) <= 200

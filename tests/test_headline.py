import pytest

from pipeline.headline import headline


@pytest.mark.parametrize(
    ("stage", "figures", "shown"),
    [
        pytest.param(
            "filter",
            {"input": 8, "kept": 6, "rejected.blurry": 2, "img_per_s": 9.0},
            {"filter/input": 8, "filter/kept": 6, "filter/rejected.blurry": 2, "kept_share": 0.75},
            id="counts without rates",
        ),
        pytest.param(
            "filter", {"input": 0, "kept": 0}, {"filter/input": 0, "filter/kept": 0}, id="of nothing no share"
        ),
        pytest.param("resize", {"train": 5}, {"resize/train": 5}, id="resize"),
        pytest.param("train", {"kimg": 2.0, "img_per_s": 9.0, "D_x": 0.5}, {"kimg": 2.0, "img_per_s": 9.0}, id="train"),
        pytest.param("evaluate", {"recall": 0.5}, {}, id="evaluate logs its own"),
    ],
)
def test_headline(stage: str, figures: dict, shown: dict) -> None:
    assert headline(stage, figures) == shown

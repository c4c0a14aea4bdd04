from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from scipy.special import logit

from pipeline.errors import StageError
from pipeline.metrics.belief import Beliefs
from pipeline.params import Params
from pipeline.reports.evaluate_page import Counts, write_evaluate_page

LOSSES = "step,epoch,kimg,lossD_real,lossD_fake,lossG,D_x,D_G_z1,D_G_z2\n1,1,1,0.5,0.4,2,0.7,0.3,0.2\n"
NAMES = ("samples", "real_vs_generated", "interpolation", "nearest", "suspicious")
FIGURES = {
    "kid_lite0_clean": 20.0, "kid_lite0_clean_se": 1.0, "kid_lite0_raw": 30.0, "kid_lite0_raw_se": 2.0,
    "kid_lite0_floor": 0.5, "kid_lite0_floor_se": 0.25, "precision": 0.75, "copied_share": 0.02,
}  # fmt: skip
COUNTS = Counts(floor=5000, searched=20000, train=20000, holdout=3000)
LIKE = np.linspace(0.2, 0.9, 50)


class Reader(HTMLParser):
    """Collects tags that are opened and not closed, and every address."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.addresses: list[str] = []
        self.ids: list[str] = []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        named = dict(attributes)
        self.addresses += [named[key] or "" for key in ("src", "href") if key in named]
        self.ids += [named["id"] or ""] if "id" in named else []
        if tag not in ("meta", "img", "br", "path"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_startendtag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        pass


def write(
    folder: Path,
    params: Params,
    figures: dict[str, float] = FIGURES,
    beliefs: Beliefs | None = None,
    counts: Counts = COUNTS,
    generator: str = "last",
) -> str:
    (folder / "losses.csv").write_text(LOSSES)
    (folder / "quick_kid.csv").write_text("step,kimg,quick_kid\n")
    pictures = {name: np.full((40, 50, 3), 30 * at, np.uint8) for at, name in enumerate(NAMES)}
    believed = beliefs or Beliefs(*map(logit, (LIKE, LIKE, 1 - LIKE)))
    knobs = params.evaluate.model_copy(update={"generator": generator})
    write_evaluate_page(figures, knobs, counts, pictures, believed, folder, folder / "page.html")
    return (folder / "page.html").read_text(encoding="utf-8")


def test_the_page_shows_all_and_needs_nothing_from_outside(tmp_path: Path, params: Params) -> None:
    text = write(tmp_path, params)
    reader = Reader()
    reader.feed(text)
    assert reader.open == []
    kinds = [address.split(";")[0] for address in reader.addresses]
    assert kinds == ["#figures", *["data:image/jpeg"] * 5, "data:image/png"]
    assert "figures" in reader.ids
    assert len(set(reader.addresses)) == 7
    assert not re.search(r"https?://|@import|url\(|<script", text)
    assert len(re.findall("<svg", text)) == 3


def test_netG_without_its_average_has_a_column(tmp_path: Path, params: Params) -> None:
    text = " ".join(write(tmp_path, params, FIGURES | {"kid_lite0_live_raw": 35.0}).split())
    heads = '<th scope="col">generated</th><th scope="col">without EMA</th><th scope="col">training faces</th>'
    assert heads in text
    assert '<tr><th scope="row">raw</th><td>30.0 ± 2.0</td><td>35.0</td><td>0.50 ± 0.25</td></tr>' in text
    assert '<tr><th scope="row">raw</th><td>0.750</td><td></td><td></td></tr>' in text
    assert 'colspan="4"' in text
    assert 'colspan="3"' not in text


def test_figures_stand_with_errors_floors_and_warnings(tmp_path: Path, params: Params) -> None:
    text = " ".join(write(tmp_path, params).split())
    assert "<h1>KID ×1000 30.0 ± 2.0 against faces that netG never saw</h1>" in text
    assert '<tr><th scope="row">raw</th><td>30.0 ± 2.0</td><td>0.50 ± 0.25</td></tr>' in text
    assert "without EMA" not in text
    assert "compare only at equal filter params" in text
    assert "drawn by the last generator" in text
    assert "pristine" not in text
    assert "Here it is 0.020." in text
    assert "but 1 % of the raw holdout's faces" in text
    assert "as many of them: by KID and the two distances no generator is expected to do better" in text
    assert "They were sought among" not in text
    assert "less than chance would give" not in text


def test_a_floor_of_fewer_faces_is_no_floor(tmp_path: Path, params: Params) -> None:
    text = " ".join(write(tmp_path, params, counts=Counts(2700, 2700, 2700, 300)).split())
    assert "of 2,700 of them, and the two distances, recall and coverage depend on the number" in text
    assert "expected to do better" not in text


def test_a_search_for_copies_says_what_it_can_not_find(tmp_path: Path, params: Params) -> None:
    far = FIGURES | {"copied_share": 0.0, "copied_share_se": 0.0}
    text = " ".join(write(tmp_path, params, far, counts=Counts(5000, 20000, 26287, 30)).split())
    assert "about 0.032 where netG has learnt" in text, "with 30 holdout faces"
    assert "less than chance would give: the generated faces are too far from all real ones" in text
    assert "They were sought among 20,000 of the 26,287 training faces" in text


def test_the_best_generator_stands_beside_the_last_one(tmp_path: Path, params: Params) -> None:
    text = " ".join(write(tmp_path, params, FIGURES | {"kid_lite0_live_raw": 35.0}, generator="best").split())
    assert '<th scope="col">last, without EMA</th>' in text
    assert "Last, without ema" not in text


def test_learning_by_heart_is_told(tmp_path: Path, params: Params) -> None:
    assert "That is no sign of a netD that knows training faces." in write(tmp_path, params)
    text = " ".join(write(tmp_path, params, beliefs=Beliefs(*map(logit, (LIKE + 0.09, LIKE - 0.19, LIKE)))).split())
    assert "netD knows training faces" in text
    assert "training faces 0.640, holdout 0.360, generated 0.550" in text


def test_the_same_evaluation_gives_the_same_bytes_and_a_fault_leaves_none(tmp_path: Path, params: Params) -> None:
    assert write(tmp_path, params) == write(tmp_path, params)
    (tmp_path / "page.html").unlink()
    (tmp_path / "quick_kid.csv").unlink()
    beliefs, blank = Beliefs(LIKE, LIKE, LIKE), np.zeros((4, 4, 3), np.uint8)
    with pytest.raises(StageError, match="quick_kid"):
        write_evaluate_page(
            FIGURES,
            params.evaluate,
            Counts(5, 5, 5, 5),
            dict.fromkeys(NAMES, blank),
            beliefs,
            tmp_path,
            tmp_path / "page.html",
        )
    assert [path.name for path in tmp_path.iterdir()] == ["losses.csv"]

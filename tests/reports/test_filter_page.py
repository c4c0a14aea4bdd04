from __future__ import annotations

import re
import time
from collections import Counter
from html.parser import HTMLParser

import pyarrow.compute as pc
import pytest

from pipeline.reports.filter_choice import DROPPED, KEPT, largest_groups, sections
from pipeline.reports.filter_page import write_filter_page


class Reader(HTMLParser):
    """Collects each heading with the number of pictures below it, the marks, the table, and every address."""

    def __init__(self):
        super().__init__()
        self.pictures, self.addresses, self.marks, self.cells, self.ids = {}, [], Counter(), [], []
        self.heading, self.cell = None, False

    def handle_starttag(self, tag, attributes):
        named = dict(attributes)
        self.addresses += [named[key] for key in ("src", "href") if key in named]
        self.ids += [named["id"]] if "id" in named else []
        if tag in ("h2", "h3"):
            self.heading = ""
        elif tag == "img":
            self.pictures[list(self.pictures)[-1]] += 1
        elif tag == "figure" and named.get("class"):
            self.marks[named["class"]] += 1
        elif tag == "tr":
            self.cells.append([])
        self.cell = tag in ("th", "td", "a") and bool(self.cells)

    def handle_endtag(self, tag):
        if tag in ("h2", "h3"):
            self.pictures[" ".join(self.heading.split())] = 0
            self.heading = None
        self.cell = self.cell and tag == "a"

    def handle_data(self, data):
        if self.heading is not None:
            self.heading += data
        elif self.cell and data.strip():
            self.cells[-1].append(data.strip())


@pytest.fixture(scope="module")
def page(heap, params, tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "page.html"
    write_filter_page(*heap, params.filter, path)
    return path


@pytest.fixture(scope="module")
def text(page):
    return page.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def reader(text):
    reader = Reader()
    reader.feed(text)
    return reader


def test_every_reason_and_repair_has_its_pictures(reader):
    drops, kept = ("aspect", "too small", "uniform"), DROPPED[0]
    repairs = ("impulse noise", "gaussian noise", "faded", "bright", "dark", "jpeg blocks")
    shown = reader.pictures
    assert shown["blurry: 60 41.4%"] == sum(DROPPED)
    assert shown["Kept, nearest to blurry"] == kept
    for reason in drops:
        assert shown[f"{reason}: 3 2.1%"] == 3
        assert 3 <= shown[f"Kept, nearest to {reason}"] <= kept
    for reason in ("exact duplicate", "near duplicate", "holdout twin"):
        assert shown[f"{reason}: 3 2.1%"] == 2 * 3
    for damage in repairs:
        assert shown[f"{damage}: 3 2.1%"] == 2 * 3
        assert shown[f"Left alone, nearest to {damage}"] >= 3
    assert shown["Measured as gaussian noise, but the repair did not hold"] == 3
    assert shown["groups of copies: 2"] == 1 + 6 + 1 + 3
    assert shown["left alone: 46 31.7%"] == KEPT


def test_counts_and_shares(reader, text):
    lines = {tuple(cells) for cells in reader.cells}
    assert {("blurry", "60", "41.4%"), ("unreadable", "3", "2.1%"), ("dark", "3", "2.1%")} <= lines
    assert {("all", "81", "55.9%"), ("all", "18", "12.4%")} <= lines
    assert "64 of 145 images kept" in text


def test_what_is_off_is_said(heap, params, text, tmp_path):
    write_filter_page(*heap, params.filter.model_copy(update={"enabled": False, "blur": False}), tmp_path / "page.html")
    assert "Off in params.yaml: filter.enabled, filter.blur." in (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "Off in params.yaml" not in text


def test_links_lead_somewhere(reader):
    assert {address[1:] for address in reader.addresses if address.startswith("#")} <= set(reader.ids)
    assert len(set(reader.ids)) == len(reader.ids)


def test_each_measure_is_drawn_with_its_thresholds(text, params):
    drawn = re.findall(r'aria-label="(\w+) of (\d+) images', text)
    assert len(drawn) == 13
    assert {"blur": "142", "gamma": "142", "difference": "6"}.items() <= dict(drawn).items()
    for name in ("max_blur 0.48 →", "← min_sharpness 0.205", "← min_gamma 0.35", "max_gamma 2.5 →", "← min_side 32"):
        assert f">{name}</text>" in text


def test_tiles_name_the_measures_of_their_reason(text):
    def under(heading):
        return set(re.findall(r"<span>(\w+)", text.split(heading)[1].split("<h")[0]))

    assert under("Kept, nearest to aspect") == {"aspect"}
    assert under("Kept, nearest to too small") == {"side"}
    assert under("Kept, nearest to uniform") == {"contrast", "information", "edges"}
    assert under("Kept, nearest to blurry") == {"blur", "sharpness"}
    assert under("Left alone, nearest to dark") == {"gamma"}


def test_the_survivor_of_a_group_is_marked(reader, text):
    assert reader.marks["stays"] == 2
    assert "<span>copy of &lt;good&gt;/0.png</span><span>difference 0.19</span>" in text


def test_a_name_is_no_markup(text):
    assert "&lt;blurry&gt;/" in text
    assert "&lt;empty&gt; file" in text
    assert not re.search(r"<(blurry|good|empty|dark)", text)


def test_the_page_needs_nothing_from_outside(reader, text):
    assert all(address.startswith(("data:image/jpeg;base64,", "#")) for address in reader.addresses)
    assert not re.search(r"https?://|@import|url\(|<script", text)


def test_the_same_verdicts_give_the_same_page(heap, params, page, tmp_path):
    write_filter_page(*heap, params.filter, tmp_path / "again.html")
    assert (tmp_path / "again.html").read_bytes() == page.read_bytes()


@pytest.mark.parametrize(
    ("fates", "headline"),
    [
        pytest.param(["good"] * 3, "3 of 3 images kept", id="nothing dropped, nothing repaired"),
        pytest.param(["unreadable"] * 2, "0 of 2 images kept", id="nothing readable"),
        pytest.param([], "0 of 0 images kept", id="nothing"),
    ],
)
def test_a_page_about_little(fates, headline, verdicts_of, shards_of, params, tmp_path):
    verdicts = verdicts_of(fates)
    write_filter_page(verdicts, *shards_of(verdicts, tmp_path), params.filter, tmp_path / "page.html")
    assert headline in (tmp_path / "page.html").read_text(encoding="utf-8")


def test_a_long_or_commanding_name_is_shown_tamed(verdicts_of, shards_of, params, tmp_path):
    verdicts = verdicts_of(["good", "unreadable"])
    names = ["x" * 5000 + "/\u202egnp.png", "\x1b[2J" + "y" * 5000]
    verdicts = verdicts.set_column(verdicts.schema.get_field_index("path"), "path", [names])
    write_filter_page(verdicts, *shards_of(verdicts, tmp_path), params.filter, tmp_path / "page.html")
    text = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "xxx/\\u202egnp.png" in text
    assert "x" * 100 not in text
    assert "y" * 100 not in text
    assert "\x1b" not in text


def test_100_000_images_of_noise_stay_below_10_mb(fates, verdicts_of, shards_of, params, tmp_path):
    """Noise is what JPEG compresses worst, and every strip is full; only what is shown has to be in the shards."""
    verdicts = verdicts_of(["good", "good", *(fate for fate in fates for _ in range(100_000 // len(fates)))])
    rows = {row for section in sections(verdicts, params.filter) for strip in section.strips for row, _ in strip.rows}
    rows |= {row for group in largest_groups(verdicts)[0] for row in (group.best, *group.copies)}
    some = verdicts.filter(pc.is_in(verdicts["row"], pc.cast(list(rows), "int64")))
    folders = shards_of(some, tmp_path)
    started = time.monotonic()
    write_filter_page(verdicts, *folders, params.filter, tmp_path / "page.html")
    assert time.monotonic() - started < 20
    assert 4e6 < (tmp_path / "page.html").stat().st_size < 10e6


def test_the_filters_used_are_named(verdicts_of, repairs_of, shards_of, params, tmp_path):
    verdicts = repairs_of(verdicts_of(["gaussian noise", "dark", "good"]), ["gaussian noise", "dark", "denoised"])
    folders = shards_of(verdicts, tmp_path)

    def page(**changes):
        section = params.filter.model_copy(update=changes)
        write_filter_page(verdicts, *folders, section, tmp_path / "page.html")
        return (tmp_path / "page.html").read_text(encoding="utf-8")

    plain = page()
    assert "noise over max_noise 7: smoothed by as much noise as is measured, by dct." in plain
    assert "gamma over max_gamma 2.5: brightened, by auto_gamma." in plain
    assert 'id="denoised"' not in plain
    asked = page(noise_filter="wavelet", denoise_all="total_variation")
    assert "smoothed by as much noise as is measured, by wavelet." in asked
    assert "brightened, by auto_gamma; and total_variation as for every image." in asked
    assert "No damage was repaired; total_variation, as the params ask of every image, without a check." in asked
    assert 'href="#denoised"' in asked

from __future__ import annotations

import re
from html.parser import HTMLParser

import numpy as np
import pyarrow as pa
import pytest

from pipeline.cleaning.decide import VERDICT_SCHEMA
from pipeline.codec import encode_png
from pipeline.records import CLEAN_SCHEMA, RAW_SCHEMA, write_shard
from pipeline.reports.filter_page import BORDERLINE, OTHERS, write_filter_page


@pytest.fixture
def heap(tmp_path):
    """A raw and a clean folder, and the verdicts: 60 blurry, 2 near duplicates, 3 repaired, 1 unreadable, 4 kept."""
    fates = ["blurry"] * 60 + ["near duplicate"] * 2 + ["dark"] * 3 + ["unreadable"] + [None] * 4
    data = encode_png(np.random.default_rng(0).integers(0, 256, (96, 96, 3)).astype(np.uint8))
    verdicts, raw, clean = [], [], []
    for row, fate in enumerate(fates):
        kept = fate in ("dark", None)
        record = dict.fromkeys(VERDICT_SCHEMA.names) | {
            "row": row,
            "path": f"<{row}>.png",
            "kept": kept,
            "reason": None if kept else fate,
            "repair": fate if fate == "dark" else None,
            "duplicate_of": 66 if fate == "near duplicate" else None,
            "difference": 0.1 if fate == "near duplicate" else None,
            "severity": 1 + row / 100,
            "blur": 0.5,
            "sharpness": 0.3,
            "gamma": 3.0,
        }
        verdicts.append(record)
        image = {"bytes": None if fate == "unreadable" else data, "path": record["path"]}
        raw.append(
            {
                "row": row,
                "path": record["path"],
                "image": image,
                "error": "empty file" if fate == "unreadable" else None,
            }
        )
        if kept:
            clean.append({"row": row, "image": image})
    write_shard(tmp_path / "raw" / "0.parquet", iter(raw), RAW_SCHEMA)
    write_shard(tmp_path / "clean" / "0.parquet", iter(clean), CLEAN_SCHEMA)
    return pa.Table.from_pylist(verdicts, schema=VERDICT_SCHEMA), tmp_path


class Reader(HTMLParser):
    """Collects the headings, the number of pictures below each, and every address."""

    def __init__(self):
        super().__init__()
        self.sections, self.addresses, self.marked, self.heading = {}, [], 0, None

    def handle_starttag(self, tag, attributes):
        named = dict(attributes)
        self.addresses += [named[key] for key in ("src", "href") if key in named]
        self.marked += named.get("class") == "borderline"
        self.heading = tag == "h2" or (self.heading if tag != "img" else None)
        if tag == "img":
            self.sections[list(self.sections)[-1]] += 1

    def handle_data(self, data):
        if self.heading is True:
            self.sections[data.strip()] = 0
            self.heading = None


def read(path):
    reader = Reader()
    reader.feed(path.read_text(encoding="utf-8"))
    return reader


def test_the_page_shows_every_reason_and_repair(heap):
    verdicts, folder = heap
    page = folder / "page.html"
    write_filter_page(verdicts, folder / "raw", folder / "clean", page)
    reader = read(page)
    assert reader.sections == {
        "blurry: 60": BORDERLINE + OTHERS,
        "near duplicate: 2": 4,
        "unreadable: 1": 0,
        "dark: 3": 6,
        "kept, the nearest to being dropped first: 7": 4,
    }
    text = page.read_text(encoding="utf-8")
    assert "&lt;65&gt;.png: empty file" in text
    assert "7 of 70 images kept" in text
    assert "<65>" not in text, "a file's name is no markup"


def test_the_page_needs_nothing_from_outside(heap):
    verdicts, folder = heap
    write_filter_page(verdicts, folder / "raw", folder / "clean", folder / "page.html")
    assert all(address.startswith(("data:image/jpeg;base64,", "#")) for address in read(folder / "page.html").addresses)
    assert not re.search(r"https?://|@import|<script", (folder / "page.html").read_text(encoding="utf-8"))


def test_the_same_verdicts_give_the_same_page(heap):
    verdicts, folder = heap
    for name in ("one.html", "two.html"):
        write_filter_page(verdicts, folder / "raw", folder / "clean", folder / name)
    assert (folder / "one.html").read_bytes() == (folder / "two.html").read_bytes()

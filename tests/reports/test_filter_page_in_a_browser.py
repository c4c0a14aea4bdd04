"""The filter's page in Debian's chromium: at a phone's width and a desk's, light and dark."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest

from pipeline.reports.filter_page import write_filter_page
from tests.e2e.browser import look as shown_document
from tests.e2e.browser import texts

CHROMIUM = Path("/usr/bin/chromium")

pytestmark = [pytest.mark.long, pytest.mark.skipif(not CHROMIUM.exists(), reason=f"no {CHROMIUM} here")]

# A window can't be as narrow as a phone, a frame can; of another file's frame nothing is seen from outside, so the
# test's copy of the page tells what it looks like itself.
FRAME = """<!doctype html><title>frame</title>
<script>onmessage = event => document.body.append("seen " + event.data + " end")</script>
<body><iframe src="{name}" width="{width}" height="800" style="border: 0"></iframe></body>
"""
TELL = """<script>
addEventListener("load", () => parent.postMessage(JSON.stringify({
  width: innerWidth,
  scrolls: document.documentElement.scrollWidth,
  wide: [...document.querySelectorAll("main *")].filter(element => {
    const box = element.getBoundingClientRect();
    return box.width && (box.right > innerWidth || box.left < 0);
  }).map(element => element.outerHTML.slice(0, 80)),
  background: getComputedStyle(document.body).backgroundColor,
  colour: getComputedStyle(document.body).color,
  bars: document.querySelectorAll("svg path.all").length,
  barsHigh: Math.max(...[...document.querySelectorAll("svg path.all")].map(e => e.getBoundingClientRect().height)),
  fills: ["all", "acted", "dropped"].map(name => getComputedStyle(document.querySelector("svg ." + name)).fill),
  broken: [...document.images].filter(image => !image.naturalWidth).length,
  pictures: document.images.length,
  headings: [...document.querySelectorAll("h2")].map(heading => heading.innerText.replace(/:.*/s, "")),
}), "*"));
</script></body>"""


@pytest.fixture(scope="module")
def folder(heap, params, tmp_path_factory):
    folder = tmp_path_factory.mktemp("browser")
    # Names without a place to break would be the widest thing on the page.
    names = [f"{'W' * 200}{row}" for row in range(len(heap.verdicts))]
    verdicts = heap.verdicts.set_column(heap.verdicts.schema.get_field_index("path"), "path", [names])
    write_filter_page(verdicts, heap.raw, heap.clean, params.filter, folder / "whole.html")
    text = (folder / "whole.html").read_text(encoding="utf-8")
    (folder / "page.html").write_text(text.replace("</body>", TELL), encoding="utf-8")
    return folder


def look(folder: Path, width: int, dark: bool, name: str = "page.html") -> tuple[dict, list[str]]:
    """Return what the page says of itself, and the console's lines."""
    (folder / "frame.html").write_text(FRAME.format(width=width, name=name))
    run = subprocess.run(
        [
            CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr",
            f"--user-data-dir={folder / 'profile'}", f"--blink-settings=preferredColorScheme={0 if dark else 1}",
            "--window-size=1600,900", "--virtual-time-budget=20000", "--dump-dom", (folder / "frame.html").as_uri(),
        ],
        capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    (seen,) = re.findall(r"seen (\{.*\}) end", run.stdout)
    seen = seen.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
    return json.loads(seen), [line for line in run.stderr.splitlines() if "CONSOLE" in line]


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [375, 1400])
def test_the_page_fits_shows_all_and_follows_the_colour_scheme(folder, width, dark):
    page, console = look(folder, width, dark)
    assert console == []
    assert page["width"] == width
    assert page["scrolls"] <= width
    assert page["wide"] == []
    assert page["broken"] == 0
    assert page["pictures"] > 150
    assert page["bars"] > 100
    assert page["barsHigh"] > 50
    assert len(set(page["fills"])) == 3
    assert page["headings"] == [
        "Measures and thresholds", "aspect", "too small", "uniform", "blurry", "exact duplicate", "near duplicate",
        "holdout twin", "groups of copies", "unreadable", "impulse noise", "gaussian noise", "faded", "bright", "dark",
        "jpeg blocks", "left alone",
    ]  # fmt: skip
    light_of = {name: sum(map(int, re.findall(r"\d+", page[name])[:3])) for name in ("background", "colour")}
    assert (light_of["background"] < light_of["colour"]) == dark


def test_a_fault_would_be_seen(folder):
    (folder / "faulty.html").write_text(
        "<body><div style='width: 2000px'>wide</div><script>console.error('a fault');"
        "parent.postMessage(JSON.stringify({scrolls: document.documentElement.scrollWidth}), '*')</script>"
    )
    page, console = look(folder, 375, dark=False, name="faulty.html")
    assert page["scrolls"] >= 2000
    assert len(console) == 1
    assert "a fault" in console[0]


def test_names_are_text_whatever_is_in_them(heap, params, tmp_path):
    names = [
        "<img src=x onerror=\"document.body.append('harm' + 'ed')\">.png",
        "\"><script>document.body.append('harm' + 'ed')</script>.png",
        "' onload='document.body.append(\"harm\" + \"ed\")' x='.png",
        "javascript:document.body.append('harm' + 'ed')//.png",
        "{{ 7 * 7 }}</style></title><svg onload=harm()>.png",
    ]
    paths = [f"{row}/{names[row % len(names)]}" for row in range(len(heap.verdicts))]
    verdicts = heap.verdicts.set_column(heap.verdicts.schema.get_field_index("path"), "path", [paths])
    write_filter_page(verdicts, heap.raw, heap.clean, params.filter, tmp_path / "page.html")
    document = shown_document((tmp_path / "page.html").as_uri(), tmp_path / "profile")
    assert "harmed" not in document
    assert re.findall(r"<(script|svg onload|a href=\"(?!#))", document) == []
    assert set(re.findall(r'<img src="([^:"]*)', document)) == {"data"}
    assert not re.search(r"<[^>]*[\s\"']on\w+=", re.sub(r'alt="[^"]*"', "", document))
    # And they can be read.
    assert any(text.endswith("<svg onload=harm()>.png") for text in texts(document))

"""The evaluation's page in Debian's chromium: at a phone's width and a desk's, light and dark."""

from __future__ import annotations

import re

import pytest

from tests.reports.test_evaluate_page import FIGURES, write
from tests.reports.test_filter_page_in_a_browser import CHROMIUM, TELL, look

# A row as wide as one comes.
LONG = {
    "density_pristine": 0.000812, "density_pristine_se": 0.000401, "density_live_pristine": 0.000412,
    "density_live_pristine_se": 0.000151, "density_floor_pristine": 1.040612, "density_floor_pristine_se": 0.000173,
}  # fmt: skip

pytestmark = [pytest.mark.long, pytest.mark.skipif(not CHROMIUM.exists(), reason=f"no {CHROMIUM} here")]


@pytest.mark.parametrize(("width", "dark"), [(375, False), (1400, True)], ids=["phone, light", "desk, dark"])
def test_the_page_fits_shows_all_and_follows_the_colour_scheme(tmp_path, params, width, dark):
    html = write(tmp_path, params, FIGURES | LONG)
    (tmp_path / "shown.html").write_text(html.replace("</body>", TELL), encoding="utf-8")
    page, console = look(tmp_path, width, dark, "shown.html")
    assert console == []
    assert page["width"] == width
    assert page["scrolls"] <= width
    assert page["wide"] == []
    assert (page["broken"], page["pictures"]) == (0, 6)
    assert page["barsHigh"] > 20
    assert len(set(page["fills"])) == 3
    light_of = {name: sum(map(int, re.findall(r"\d+", page[name])[:3])) for name in ("background", "colour")}
    assert (light_of["background"] < light_of["colour"]) == dark

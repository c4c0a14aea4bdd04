from __future__ import annotations

import pytest

from pipeline.reports.names import printable, shortened


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        pytest.param("a folder/ünï 顔.png", "a folder/ünï 顔.png", id="letters and spaces"),
        pytest.param("a\x1b[31m.png", "a\\x1b[31m.png", id="a terminal's command"),
        pytest.param("a\nb\t.png", "a\\nb\\t.png", id="lines"),
        pytest.param("https://a.example/1.png?token=hunter2", "https://a.example/1.png?token=***", id="a token"),
        pytest.param("a\u202egnp.exe", "a\\u202egnp.exe", id="turned"),
    ],
)
def test_printable(name, shown):
    assert printable(name) == shown


def test_the_end_of_a_long_name_is_kept():
    assert shortened("x" * 100) == "x" * 100
    assert shortened("x" * 99 + "/y") == "…" + "x" * 97 + "/y"
    assert shortened("https://a.example/1.png?token=" + "x" * 200) == "https://a.example/1.png?token=***"
    assert len(shortened("\x00" * 100)) == 100

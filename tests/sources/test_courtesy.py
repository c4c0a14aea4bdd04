import pytest

from pipeline.sources.addresses import is_public
from pipeline.sources.courtesy import opts_out, retry_after


@pytest.mark.parametrize(
    ("headers", "out"),
    [
        pytest.param([], False, id="none"),
        pytest.param(["noai"], True, id="noai"),
        pytest.param(["nofollow, NoImageAI"], True, id="among others"),
        pytest.param(["nofollow", "noindex"], True, id="second header"),
        pytest.param(["none"], True, id="none at all"),
        pytest.param(["nofollow, noarchive"], False, id="others"),
        pytest.param(["googlebot: noindex"], False, id="to another crawler"),
        pytest.param(["Anime-DCGAN: noindex, nofollow"], True, id="to this one"),
        pytest.param(["unavailable_after: 25 Jun 2030 15:00:00 GMT"], False, id="a date"),
        pytest.param(["noindex, unavailable_after: 25 Jun 2030 15:00:00 GMT"], True, id="and a date"),
        pytest.param(["BadBot: nofollow, anime-dcgan: noai"], True, id="to this one after another"),
        pytest.param(["noarchive, anime-dcgan: noai"], True, id="to this one after all"),
        pytest.param(["noarchive, *: noimageai"], True, id="to all by a star"),
        pytest.param(["googlebot: noarchive, *: noindex"], True, id="to all after another"),
        pytest.param(["anime-dcgan: noarchive, noai"], True, id="to this one, among others"),
        pytest.param(["noai, googlebot: noarchive"], True, id="to all before another"),
        pytest.param(["googlebot: noarchive, noindex"], False, id="to another, among others"),
        pytest.param(["noarchive, googlebot: noindex"], False, id="to another after all"),
        pytest.param(["googlebot: noindex", "noai"], True, id="to all in a header of its own"),
        pytest.param(["unavailable_after: Tue, 25 Jun 2030 15:00:00 GMT, noindex"], True, id="a date with a comma"),
    ],
)
def test_opts_out(headers: list[str], out: bool) -> None:
    assert opts_out(headers, "anime-dcgan") == out


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        pytest.param(None, 0.0, id="none"),
        pytest.param("120", 120.0, id="seconds"),
        pytest.param("Thu, 01 Jan 1970 00:01:40 GMT", 90.0, id="date"),
        pytest.param("Thu, 01 Jan 1970 00:00:00 GMT", 0.0, id="past"),
        pytest.param("soon", 0.0, id="word"),
        pytest.param("9" * 5000, 999999999.0, id="for ever"),
        pytest.param("Mon, 01 Jan 99999999999 00:00:00 GMT", 0.0, id="after all time"),
        pytest.param("Mon, 01 Jan 2026 00:00:00 +99999999999999999999", 0.0, id="nowhere on Earth"),
    ],
)
def test_retry_after(header: str | None, seconds: float) -> None:
    assert retry_after(header, now=10.0) == seconds


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("93.184.215.14", True),
        ("2606:2800:21f:cb07:6820:80da:af6b:8b2c", True),
        ("127.0.0.1", False),
        ("10.1.2.3", False),
        ("100.64.0.1", False),
        ("169.254.169.254", False),
        ("0.0.0.0", False),  # noqa: S104
        ("224.0.0.1", False),
        ("255.255.255.255", False),
        ("::1", False),
        ("fe80::1%eth0", False),
        ("fd00::1", False),
        ("fec0::1", False),
        ("::ffff:127.0.0.1", False),
        ("64:ff9b::7f00:1", False),
        ("2002:7f00:1::", False),
        ("localhost", False),
    ],
)
def test_is_public(address: str, public: bool) -> None:
    assert is_public(address) == public

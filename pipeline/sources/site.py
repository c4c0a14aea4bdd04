"""A site to crawl, as its recipe (.yaml, `kind: site`) describes it, and what one of its pages gives."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from string import Formatter
from typing import Annotated, Any, Literal
from urllib.parse import urljoin, urlsplit

from parsel import Selector
from pydantic import Field, field_validator, model_validator
from w3lib.encoding import html_to_unicode

from pipeline.params import Positive, Section, validate
from pipeline.sources.courtesy import opts_out
from pipeline.sources.urls import Wanted, is_web, plain_url, wanted


class Choice(Section):
    """Which links of a page count: those a CSS selector gives (elements or ::attr(…)) whose whole URL fits."""

    css: str
    pattern: str = ""

    @field_validator("css")
    @classmethod
    def _selector(cls, css: str) -> str:
        try:
            Selector("<p></p>").css(css)
        except Exception as fault:  # cssselect raises its own kinds, and others
            raise ValueError(f"is no CSS selector: {fault}") from None
        return css

    @field_validator("pattern")
    @classmethod
    def _expression(cls, pattern: str) -> str:
        try:
            re.compile(pattern)
        except re.error as fault:
            raise ValueError(f"is no regular expression: {fault}") from None
        return pattern


class Links(Choice):
    """Which links to follow; by their pattern alone where no selector is given."""

    css: str = "a"


class Pictures(Choice):
    """Which images to take; by their pattern alone where no selector is given."""

    css: str = "img"


class Json(Section):
    """How a JSON API pages through its images; start has {page} where the number goes.

    items: where the list is, as a dotted path, blank where the answer is the list. url, licence and fields (name of the
    column: field) are dotted paths in an item; page_url is a URL with {field} in it. Pages that the server does
    not give are passed over; max_failures of them in a row are taken for the end.
    """

    items: str = ""
    url: str
    page_url: str | None = None
    licence: str | None = None
    fields: dict[str, str] = Field(default_factory=dict)
    first_page: Annotated[int, Field(ge=0)] = 1
    max_failures: Positive = 3

    @field_validator("page_url")
    @classmethod
    def _template(cls, template: str | None) -> str | None:
        try:
            list(Formatter().parse(template or ""))
        except ValueError as fault:
            raise ValueError(f"has a brace without its other half: {fault}") from None
        return template


class Site(Section):
    """A recipe. Hosts are exact names, without a port: images may lie on others than the pages, so name all of them."""

    kind: Literal["site"]
    start: Annotated[list[str], Field(min_length=1)]
    allowed_hosts: Annotated[list[str], Field(min_length=1)]
    follow: Links | None = None
    images: Pictures | None = None
    api: Json | None = None
    licence: str | None = None
    max_depth: Annotated[int, Field(ge=0)] = 3
    max_pages: Positive = 1000

    @field_validator("start")
    @classmethod
    def _without_credentials(cls, start: list[str]) -> list[str]:
        """They are not sent, and would be stored with each image."""
        return [plain_url(url) for url in start]

    @model_validator(mode="after")
    def _one_way(self) -> Site:
        if (self.images is None) == (self.api is None):
            raise ValueError("give either images, for HTML pages, or api, for JSON")
        if self.api and any("{page}" not in url for url in self.start):
            raise ValueError("start must have {page} in it where api is given")
        if wrong := [url for url in first_pages(self) if not is_web(url)]:
            raise ValueError(f"start has {wrong[0]}, which is no http or https URL")
        return self


@dataclass(frozen=True)
class Gives:
    """What a page gives: images, and further pages, in the page's order; and why it could not be read whole, if so."""

    images: Sequence[Wanted] = ()
    links: Sequence[str] = ()
    reason: str | None = None


def read_site(path: Path, recipe: Mapping[str, Any]) -> Site:
    """Return a recipe; ParamsError that names every wrong key."""
    return validate(Site, recipe, path)


def first_pages(site: Site) -> list[str]:
    """Return where a crawl starts."""
    return [_numbered(url, site.api.first_page) if site.api else url for url in site.start]


def _numbered(template: str, page: int) -> str:
    return template.replace("{page}", str(page))


def page_gives(
    site: Site, url: str, where: str, depth: int, body: bytes, product: str | None, content_type: str | None = None
) -> Gives:
    """Return what a page gives.

    url: what was asked for, and where: what that redirected to. depth: how many steps from the start it lies; the page
    of an API, counted from 0. product: this crawler's name, None where it may disregard a page's wish. content_type:
    the header, which may name the charset, as may the page.
    """
    if site.api:
        return _json_gives(site, site.api, url, where, depth, body)
    return _html_gives(site, where, depth, html_to_unicode(content_type, body)[1], product)


def next_pages(site: Site, url: str, depth: int, step: int = 1) -> list[str]:
    """Return the page of an API that is so many steps further than the one of that depth; none beyond its hosts."""
    first = site.api.first_page if site.api else 0
    pages = (_numbered(start, first + depth + step) for start in site.start if _numbered(start, first + depth) == url)
    return [page for page in pages if depth + step >= 0 and allowed(site, page)][:1]


def _html_gives(site: Site, url: str, depth: int, text: str, product: str | None) -> Gives:
    if not text.strip():
        return Gives(reason="unreadable")
    page = Selector(text=text, base_url=url, type="html")
    rules = page.css('meta[name="robots" i]::attr(content)').getall() if product else []
    if product and opts_out(rules, product):
        return Gives(reason="opted out")
    found = _chosen(site, site.images, page, url) if site.images else []
    links = _chosen(site, site.follow, page, url) if site.follow and depth < site.max_depth else []
    nofollow = any("nofollow" in rule.lower() for rule in rules)
    images = [wanted(image, url, site.licence) for image in found]
    return Gives(images, [] if nofollow else links, "nested too deep" if _cut_off(page) else None)


def _cut_off(page: Selector) -> bool:
    """Whether libxml2 stopped reading within the page: it keeps what came before, and notes it as fatal alone."""
    return any(entry.type_name == "ERR_RESOURCE_LIMIT" for entry in page.root.getroottree().parser.error_log)


def _chosen(site: Site, choice: Choice, page: Selector, url: str) -> list[str]:
    found: dict[str, None] = {}
    try:
        base = urljoin(url, page.css("base::attr(href)").get("").strip())
    except ValueError:
        base = url
    for one in page.css(choice.css):
        link = one.root if isinstance(one.root, str) else one.attrib.get("href") or one.attrib.get("src")
        if link is None:
            continue
        try:
            whole = plain_url(urljoin(base, link.strip()))
        except ValueError:
            continue
        if allowed(site, whole) and re.search(choice.pattern, whole):
            found[whole] = None
    return list(found)


def allowed(site: Site, url: str) -> bool:
    """Whether a URL is on one of the hosts that the recipe names."""
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and parts.hostname in {host.lower() for host in site.allowed_hosts}
    except ValueError:
        return False


def _json_gives(site: Site, api: Json, url: str, where: str, depth: int, body: bytes) -> Gives:
    try:
        items = _at(json.loads(body), api.items)
    except (ValueError, RecursionError):
        items = None
    if not isinstance(items, list):
        return Gives(reason="without a list")
    images = [one for item in items for one in _item(site, api, item, where)]
    return Gives(images, next_pages(site, url, depth) if items else [])


def _item(site: Site, api: Json, item: Any, url: str) -> Iterator[Wanted]:
    """Yield the image of an item; none where its URL is missing, as it is where a board keeps it for members."""
    link = _at(item, api.url)
    if not isinstance(link, str) or not link:
        return
    try:
        whole = plain_url(urljoin(url, link))
    except ValueError:  # no address, such as http://[x
        return
    if not allowed(site, whole):
        return
    licence = _at(item, api.licence) if api.licence else None
    columns = {name: value for name, field in api.fields.items() if (value := _at(item, field)) not in (None, "")}
    yield wanted(whole, _filled(api.page_url, item) or url, str(licence) if licence else site.licence, columns)


def _at(value: Any, path: str) -> Any:
    for name in path.split(".") if path else []:
        value = value.get(name) if isinstance(value, Mapping) else None
    return value


def _filled(template: str | None, item: Any) -> str | None:
    """Return a template with an item's fields in it; no attribute of anything can be asked for, only fields."""
    if template is None:
        return None
    return "".join(
        text + ("" if name is None else str(_at(item, name))) for text, name, _, _ in Formatter().parse(template)
    )

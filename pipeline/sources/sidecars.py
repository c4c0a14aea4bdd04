"""The JSON files that gallery-dl writes beside its images (`name.jpg.json`): what they tell, and a filter by tags."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from pipeline.sources.provenance import PROVENANCE
from pipeline.sources.takedown import is_url
from pipeline.sources.urls import plain, plain_url

SUFFIX = b".json"
MAX_BYTES = 1_000_000
SIDECAR_UNREAD = "side-car unreadable"
DEEPEST = 8  # lists and objects of tags within each other

# What boards call the same thing, the commonest name first.
_URL = ("file_url", "url", "image_url")
_PAGE = ("post_url", "page_url", "source", "webpage_url")
_TAGS = ("tags", "tag_string", "tags_general", "tag_string_general")
_ARTIST = ("artist", "tags_artist", "tag_string_artist", "author", "uploader")
_LICENCE = ("licence", "license")
_REST = ("rating", "category", "id", "title", "date", "description")


def provenance_of(data: bytes) -> dict[str, Any] | None:
    """Return `licence` and the columns of a crawl (provenance.PROVENANCE) by a side-car's bytes.

    None where it can't be read.
    """
    try:
        told = json.loads(data, parse_constant=lambda _: None)  # NaN, which is no JSON, and which the row has to hold
    except (ValueError, RecursionError):
        return None
    if not isinstance(told, Mapping):
        return None
    columns: dict[str, Any] = dict.fromkeys(PROVENANCE)
    tags = list(dict.fromkeys(tag for name in _TAGS for tag in words(told.get(name))))
    extra = {"tags": tags, "artist": _first(told, _ARTIST), **{name: told.get(name) for name in _REST}}
    extra = {name: value for name, value in extra.items() if value not in (None, "", [])}
    url = _address(told, _URL)
    columns |= {"url": plain_url(url) if url else None, "page_url": _address(told, _PAGE)}
    stated = (told.get(name) for name in _LICENCE)
    columns["licence"] = next((plain(text) for text in stated if isinstance(text, str) and text.strip()), None)
    columns["extra"] = plain(json.dumps(extra, ensure_ascii=False, sort_keys=True)) if extra else None
    return columns


def words(value: object, depth: int = DEEPEST) -> list[str]:
    """Return tags as a list; boards give one, of texts or of objects, or one for each kind of tag, or text.

    Text is taken apart in every way, at spaces and at commas: a tag may hold either, and none may be missed.
    """
    if isinstance(value, str):
        between_commas = [tag.strip() for tag in value.split(",")]
        found = [*value.split(), *between_commas, *value.replace(",", " ").split()] if "," in value else value.split()
        return [tag for tag in dict.fromkeys(found) if tag]
    if isinstance(value, Mapping):
        return [tag for kind in value.values() for tag in words(kind, depth - 1)] if depth else []
    return _texts(value, depth) if isinstance(value, list) else []


def _texts(tag: object, depth: int) -> list[str]:
    """Return what a tag is called: an object has its name under some key, and may have a translation beside it."""
    if isinstance(tag, Mapping):
        tag = [part for part in tag.values() if isinstance(part, str | Mapping | list)]
    if isinstance(tag, list):
        return [text for part in tag for text in _texts(part, depth - 1)] if depth else []
    return [] if tag is None else [str(tag)]


def _pieces(text: str) -> list[str]:
    """Return what lies between the commas, ; and | of a text, as JSON or Python has a list; ;) and |_| are tags."""
    pieces = re.split(r"(?<=\S)[,;|]|(?<=\s)[,;|](?=\s)", text)
    return [" ".join(piece.strip(" []'\"").split()) for piece in pieces]


def _first(told: Mapping[str, Any], names: Sequence[str]) -> Any:
    return next((told[name] for name in names if told.get(name)), None)


def _address(told: Mapping[str, Any], names: Sequence[str]) -> str | None:
    found = (told.get(name) for name in names)
    return next((plain(text) for text in found if isinstance(text, str) and is_url(text)), None)


def tag_fault(provenance: Mapping[str, Any] | None, require: Sequence[str], refuse: Sequence[str]) -> str | None:
    """Return why an image's tags keep it out, None where they don't.

    Its tags are those in `extra`, and its rating as `rating:NAME`; an image without any has none that is required.
    Where they are one text, of which nobody knows what divides its tags, one of several words is found where these
    follow each other, with nothing between them but blanks.
    """
    if not (require or refuse):
        return None
    try:
        told = json.loads((provenance or {}).get("extra") or "{}")
    except RecursionError:  # nested so deep that only the reader of the list, with fewer calls above it, could take it
        return SIDECAR_UNREAD
    named = {str(name).casefold(): value for name, value in told.items()}
    told_as = named.get("tags")
    pieces = [piece.casefold() for piece in _pieces(told_as)] if isinstance(told_as, str) else []
    found = [part for tag in words(told_as) for part in (tag, *tag.split(","))]
    found += [f"rating:{rating}" for rating in [named.get("rating")] if rating is not None]
    found += [*pieces, *" ".join(pieces).split()]
    tags = {tag.strip().casefold() for tag in found}

    def has(tag: str) -> bool:
        sought = tag.casefold()
        return sought in tags or (" " in sought and any(f" {sought} " in f" {piece} " for piece in pieces))

    if any(map(has, refuse)):
        return "refused tag"
    return None if all(map(has, require)) else "required tag missing"

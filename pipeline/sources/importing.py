"""From a dataroot to shards: find the source by its kind, and turn every file in it into a row."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from pipeline.atomic import empty_folder, remove_unfinished
from pipeline.codec import DecodeError, decode_with_format
from pipeline.errors import ParamsError, StageError
from pipeline.params import CrawlParams, read_yaml
from pipeline.records import write_shard
from pipeline.sources.archive import TAR_SUFFIXES, ZIP_SUFFIXES, archive_units
from pipeline.sources.builtin import builtin_units
from pipeline.sources.crawler import listed_units, site_units
from pipeline.sources.crop import face_rows, open_cascade, read_cascade, require_faces, with_faces
from pipeline.sources.folder import folder_units
from pipeline.sources.items import Item, Unit
from pipeline.sources.numbering import number_rows
from pipeline.sources.sidecars import SIDECAR_UNREAD, tag_fault
from pipeline.sources.site import read_site
from pipeline.sources.takedown import TAKEN_DOWN, Takedown
from pipeline.sources.urls import LIST_SUFFIXES, read_list
from pipeline.workers import Workers

SUPPORTED = (
    "a folder, an archive (.zip .tar .tar.gz .tgz), a list of URLs (.txt .csv .jsonl .parquet), or a recipe "
    "(.yaml with `kind: builtin` or `kind: site`)"
)
NOTHING = Takedown()


@contextmanager
def open_source(dataroot: Path, crawl: CrawlParams, takedown: Takedown) -> Iterator[list[Unit]]:
    """Yield the shards that a dataroot gives; they can be read inside the `with` only.

    A list of URLs is fetched first. ParamsError where the dataroot is of no known kind, StageError where it is missing
    or damaged, or too much of it can't be fetched.
    """
    if dataroot.is_dir():
        yield folder_units(dataroot, crawl.max_bytes)
    elif not dataroot.exists():
        raise StageError(
            f"dataroot {dataroot} does not exist; in `dvc exp run --temp` or `--queue` a path inside the project is "
            "seen only if git or DVC tracks it: name it by its absolute path, or `dvc add` it"
        )
    elif not dataroot.is_file():  # to open a pipe would be to wait for its other end
        raise ParamsError(f"dataroot {dataroot} is neither a file nor a folder; it may be {SUPPORTED}")
    elif dataroot.name.endswith((*ZIP_SUFFIXES, *TAR_SUFFIXES)):
        with archive_units(dataroot, crawl.max_bytes) as units:
            yield units
    elif dataroot.suffix in LIST_SUFFIXES:
        with listed_units(dataroot, read_list(dataroot), crawl, takedown) as units:
            yield units
    elif dataroot.suffix in (".yaml", ".yml"):
        recipe = read_yaml(dataroot)
        if recipe.get("kind") == "site":
            with site_units(dataroot, read_site(dataroot, recipe), crawl, takedown) as units:
                yield units
            return
        if recipe.get("kind") != "builtin":
            raise ParamsError(f"{dataroot}: kind {recipe.get('kind')!r} is not supported; dataroot may be {SUPPORTED}")
        yield builtin_units(dataroot, recipe)
    else:
        raise ParamsError(f"dataroot {dataroot} is of no supported kind; it may be {SUPPORTED}")


@dataclass(frozen=True)
class ShardSummary:
    """What came of one shard: images by split, failed files by reason, and a SHA-256 over its paths and ids."""

    splits: Counter[str]
    errors: Counter[str]
    ids: str


def digest_of(shards: Sequence[ShardSummary]) -> str:
    """Return a SHA-256 over all files' paths and contents: what the source was, wherever it lay."""
    return hashlib.sha256("".join(shard.ids for shard in shards).encode()).hexdigest()


def import_source(
    dataroot: Path, crawl: CrawlParams, target: Path, workers: Workers, takedown: Takedown = NOTHING
) -> list[ShardSummary]:
    """Write a dataroot's files as shards (records.RAW_SCHEMA) into the folder target, one row a file.

    With crawl.crop, one row a face (crop.with_faces), and one for each file that gives none. Of what is taken down, a
    row is left that says so. The folder is emptied first. The shards are the same for the same input, whatever the
    number of workers. ParamsError where the cascade is unusable, StageError where it finds no face at all.
    """
    cascade_text = read_cascade(crawl.crop)
    empty_folder(target)
    with open_source(dataroot, crawl, takedown) as units:
        if not units:
            raise StageError(f"dataroot {dataroot} holds no files")
        job = partial(_import_unit, crawl=crawl, target=target.absolute(), takedown=takedown, cascade_text=cascade_text)
        jobs = list(enumerate(units))
        summaries = list(workers.map(job, jobs, label="crawl-import", sizes=[unit.images for unit in units]))
        if cascade_text is not None:  # within, because a crawl counts as finished at the end
            faces = sum(summary.splits.total() for summary in summaries)
            require_faces(faces, sum((summary.errors for summary in summaries), Counter()), crawl.crop)
            number_rows(target, workers)
    remove_unfinished(target)
    return summaries


def _import_unit(
    job: tuple[int, Unit], crawl: CrawlParams, target: Path, takedown: Takedown, cascade_text: str | None
) -> ShardSummary:
    number, unit = job
    splits: Counter[str] = Counter()
    errors: Counter[str] = Counter()
    digest = hashlib.sha256()
    cascade = None if cascade_text is None else open_cascade(cascade_text)

    def records() -> Iterator[dict[str, Any]]:
        for row, item in enumerate(unit.read(), start=unit.first_row):
            record = to_row(row, item, crawl, takedown)
            yield from [record] if cascade is None else face_rows(record, cascade, crawl.crop, takedown)

    def rows() -> Iterator[dict[str, Any]]:
        for record in records():
            if record["error"] is None:
                splits[record["split"]] += 1
            else:
                errors[record["error"]] += 1
            digest.update(f"{record['path']}\0{record['id']}\n".encode())
            yield record

    write_shard(target / f"{number:05d}.parquet", rows(), unit.schema if cascade is None else with_faces(unit.schema))
    return ShardSummary(splits, errors, digest.hexdigest())


def to_row(row: int, item: Item, crawl: CrawlParams, takedown: Takedown = NOTHING) -> dict[str, Any]:
    """Return one row of a shard: the file's id, size, format and split, or why it can't be read.

    Of what is taken down nothing but the row is left.
    """
    record: dict[str, Any] = {
        "row": row,
        "id": None,
        "path": item.path,
        "image": {"bytes": None, "path": item.path},
        "source": item.source,
        "fetched_at": item.fetched_at,
        "licence": item.licence,
        "error": item.error,
        "truth": item.truth,
        "truth_copy_of": item.truth_copy_of,
        "pristine": item.pristine,
        **(item.provenance or {}),
    }
    if item.data is None:
        return record | {"split": split_of(item.path.encode(), crawl.holdout_fraction)}
    record["id"] = hashlib.sha256(item.data).hexdigest()
    record["split"] = split_of(item.data if item.split_by is None else item.split_by, crawl.holdout_fraction)
    if takedown.covers(record["id"], record.get("url"), record.get("final_url")):
        return record | {"error": TAKEN_DOWN, "truth": None, "truth_copy_of": None, "pristine": None}
    if item.sidecar_unread and (crawl.require_tags or crawl.refuse_tags or takedown.urls):  # it may speak against it
        return record | {"error": SIDECAR_UNREAD, "pristine": None}
    if fault := tag_fault(item.provenance, crawl.require_tags, crawl.refuse_tags):
        return record | {"error": fault, "pristine": None}
    try:
        image, record["format"] = decode_with_format(item.data, crawl.max_pixels)
    except DecodeError as fault:
        return record | {"error": str(fault)}
    record["width"], record["height"] = image.size
    record["image"] = {"bytes": item.data, "path": item.path}
    return record


def split_of(content: bytes, holdout_fraction: float) -> str:
    """Return `holdout` for that share of all contents and `train` for the rest, by the first 32 bits of the SHA-256.

    By content, so that no later setting, and no other file, moves an image from one side to the other.
    """
    share = int.from_bytes(hashlib.sha256(content).digest()[:4], "big") / 2**32
    return "holdout" if share < holdout_fraction else "train"

from __future__ import annotations

import hashlib
import os
import shutil

import cv2
import numpy as np
import pyarrow.parquet as pq
import pytest

from pipeline.cleaning import inspect
from pipeline.cleaning.decide import VERDICT_SCHEMA
from pipeline.cleaning.run import filter_shards
from pipeline.codec import decode, encode_png
from pipeline.errors import StageError
from pipeline.records import read_rows
from pipeline.sources.builtin import draw
from pipeline.workers import Workers, open_workers

HERE = Workers()


def run(raw, params, workers=HERE, nc=3, **changes):
    clean = raw.parent / "clean"
    table = filter_shards(raw, clean, raw.parent / "cache", 64, nc, params.filter.model_copy(update=changes), workers)
    rows = [row for path in sorted(clean.glob("*.parquet")) for row in read_rows(path, ["row", "image", "repair"])]
    return table, {row["row"]: row for row in rows}


def heap(face, save):
    """Return pictures of all fates, and the reason or repair of each."""
    noise = np.random.default_rng(0).normal(0, 22, (96, 96, 3))
    small = face(4)
    return [
        (face(1), None),
        (face(2), None),
        (face(1), "exact duplicate"),
        (save(face(2), "JPEG", quality=60), "near duplicate"),
        (None, "unreadable"),
        (np.asarray(cv2.resize(face(3), (20, 20)), np.uint8), "too small"),
        (np.ascontiguousarray(np.tile(face(3)[:40], (1, 6, 1))), "aspect"),
        (np.full((96, 96, 3), (30, 90, 60), np.uint8), "uniform"),
        (np.asarray(cv2.GaussianBlur(face(3), (0, 0), 4), np.uint8), "blurry"),
        (np.clip(small + noise, 0, 255).astype(np.uint8), "gaussian noise"),
        ((face(5) * 0.25 + 90).astype(np.uint8), "faded"),
        (face(6), None),
    ]


def test_every_image_gets_its_verdict(params, face, save, shard):
    images, fates = zip(*heap(face, save), strict=True)
    raw = shard(images)
    verdicts, clean = run(raw, params)
    assert verdicts.schema == VERDICT_SCHEMA
    rows = verdicts.to_pylist()
    assert [row["row"] for row in rows] == list(range(len(images)))
    assert tuple(row["reason"] or row["repair"] for row in rows) == fates
    assert [row["duplicate_of"] for row in rows if row["reason"] and "duplicate" in row["reason"]] == [0, 1]
    assert set(clean) == {row["row"] for row in rows if row["kept"]}
    assert all((row["reason"] is None) == row["kept"] for row in rows)

    raw_rows = {row["row"]: row for path in raw.glob("*") for row in read_rows(path, ["row", "image"])}
    for number, row in clean.items():
        assert row["repair"] == rows[number]["repair"]
        assert (row["image"]["bytes"] == raw_rows[number]["image"]["bytes"]) == (row["repair"] is None)
        assert decode(row["image"]["bytes"], 10**6).shape == (96, 96, 3)


def taller(pixels):
    """Return the picture with other things above and below it."""
    return np.concatenate([pixels[50:80], pixels, pixels[10:40]])


def faded(pixels):
    return (pixels * 0.3 + 80).astype(np.uint8)


def dotted(pixels, share=0.08):
    """Return the picture under salt and pepper."""
    rng = np.random.default_rng(0)
    hit = rng.random(pixels.shape[:2]) < share
    spoilt = pixels.copy()
    spoilt[hit] = rng.choice(np.array([0, 255], np.uint8), (int(hit.sum()), 1))
    return spoilt


def grey(pixels):
    return np.repeat(cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)[:, :, None], 3, axis=2)


@pytest.mark.parametrize("first", ["train", "holdout"])
@pytest.mark.parametrize(
    ("changed", "nc", "reason"),
    [
        pytest.param(taller, 3, "holdout twin", id="of which resize cuts the same square"),
        pytest.param(faded, 3, "holdout twin", id="which the repair of its tone makes the same"),
        pytest.param(dotted, 3, "holdout twin", id="which the repair of its dots makes the same"),
        pytest.param(dotted, 1, "holdout twin", id="and in black and white"),
        pytest.param(grey, 1, "holdout twin", id="which is the same without its colours"),
        pytest.param(grey, 3, None, id="in other colours"),
    ],
)
def test_what_training_would_see_of_the_holdout_is_a_twin(params, face, shard, changed, nc, reason, first):
    splits = [first, "holdout" if first == "train" else "train", "train"]
    verdicts, _ = run(shard([face(5), changed(face(5)), face(6)], splits), params, nc=nc)
    assert verdicts["reason"].to_pylist()[splits.index("train")] == reason
    assert verdicts["reason"].to_pylist().count(None) == (3 if reason is None else 2)
    assert all(difference is None or difference < 0.2 for difference in verdicts["difference"].to_pylist())


@pytest.mark.parametrize("share", [0.02, 0.08])
def test_of_flat_art_with_dots_of_its_own_a_dotted_copy_is_told_and_no_stranger(params, shard, share):
    """Which the repair takes out with the others: both are compared without."""
    held, strangers = ([draw(3, first + number, 96) for number in range(20)] for first in (0, 20))
    shard(held, ["holdout"] * 20, "0")
    shard([dotted(one, share) for one in held], name="1", first=20)
    verdicts, _ = run(shard([dotted(one, share) for one in strangers], name="2", first=40), params)
    copies, others = (verdicts["reason"].to_pylist()[start : start + 20] for start in (20, 40))
    assert verdicts["repair"].to_pylist()[40:] == ["impulse noise"] * 20
    assert copies.count("holdout twin") >= 16, "compared as they are 13 and 5"
    assert others == [None] * 20


def test_dots_are_taken_out_at_the_size_at_which_repairs_are_made(params, shard):
    """And what was compared at another size is compared anew."""
    held = [draw(3, number, 192) for number in range(20)]
    copies = [dotted(np.asarray(cv2.resize(one, (96, 96), interpolation=cv2.INTER_AREA), np.uint8)) for one in held]
    raw = shard([*held, *copies], ["holdout"] * 20 + ["train"] * 20)
    before, _ = run(raw, params, work_side=128)
    after, _ = run(raw, params, work_side=256)
    shutil.rmtree(raw.parent / "cache")
    anew, _ = run(raw, params, work_side=256)
    assert after == anew
    assert after["reason"] != before["reason"]


def test_two_damaged_copies_across_the_splits_are_compared_as_they_are_too(params, face, shard):
    """Toned alike, what is clipped in one is not in the other."""
    damaged = (255 * (face(5) / 255) ** 2.6).astype(np.uint8)
    verdicts, _ = run(shard([damaged, np.ascontiguousarray(damaged[2:, 3:-2])], ["holdout", "train"]), params)
    assert verdicts["repair"].to_pylist()[0] == "dark"
    assert verdicts["reason"].to_pylist()[1] == "holdout twin"


@pytest.mark.parametrize("first", ["train", "holdout"])
def test_the_same_bytes_in_both_splits_guard_others_whichever_comes_first(params, face, shard, first):
    """Crops of two files may be alike, and split by their files' bytes."""
    other = "holdout" if first == "train" else "train"
    verdicts, _ = run(shard([face(5), face(5), faded(face(5))], [first, other, "train"]), params)
    reasons = verdicts["reason"].to_pylist()
    assert [reason for reason, split in zip(reasons, [first, other, "train"], strict=True) if split == "train"] == [
        "holdout twin",
        "holdout twin",
    ]


def test_what_was_compared_in_colour_is_compared_again_without(params, face, shard):
    raw = shard([face(5), grey(face(5))], ["holdout", "train"])
    assert [run(raw, params, nc=nc)[0]["reason"].to_pylist()[1] for nc in (3, 1, 3)] == [None, "holdout twin", None]


def test_off_lets_everything_readable_pass_but_never_a_leak(params, face, save, shard):
    images = [image for image, _ in heap(face, save)]
    splits = ["train"] * len(images)
    splits[3] = "holdout"
    verdicts, clean = run(shard(images, splits), params, enabled=False)
    rows = verdicts.to_pylist()
    told = {row["row"]: row["reason"] for row in rows if row["reason"]}
    assert told == {1: "holdout twin", 4: "unreadable"}
    assert rows[1]["duplicate_of"] == 3
    assert all(row["repair"] is None for row in rows)
    assert set(clean) == set(range(len(images))) - {1, 4}


def test_dedup_off_keeps_copies_within_a_split(params, face, shard):
    raw = shard([face(1), face(1), face(2), face(2)], ["train", "train", "train", "holdout"])
    verdicts, _ = run(raw, params, dedup=False)
    assert verdicts["reason"].to_pylist() == [None, None, "holdout twin", None]


def test_a_dropped_holdout_image_still_guards(params, face, shard):
    flat = np.full((96, 96, 3), 90, np.uint8)
    soft = np.asarray(cv2.GaussianBlur(face(1), (0, 0), 4), np.uint8)
    raw = shard([face(1), soft, flat, flat, soft], ["train", "holdout", "holdout", "train", "train"])
    verdicts, _ = run(raw, params)
    assert verdicts["reason"].to_pylist() == [None, "blurry", "uniform", "uniform", "blurry"]
    verdicts, _ = run(raw, params, blur=False)
    assert verdicts["reason"].to_pylist()[4] == "holdout twin"


def digest(folder):
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.glob("*.parquet")}


def test_processes_and_shards_change_nothing(params, face, save, shard):
    images = [image for image, _ in heap(face, save)]
    raw = shard(images)
    here, _ = run(raw, params)
    before = digest(raw.parent / "clean")
    shutil.rmtree(raw.parent / "cache")
    with open_workers(2) as workers:
        there, _ = run(raw, params, workers)
        assert there.equals(here)
        assert digest(raw.parent / "clean") == before

        (raw / "0.parquet").unlink()
        shard(images[:5], name="0")
        shard(images[5:], name="1", first=5)
        halves, kept = run(raw, params, workers)
    assert halves.equals(here)
    assert set(kept) == {row["row"] for row in here.to_pylist() if row["kept"]}


def test_stale_shards_go(params, face, shard):
    raw = shard([face(1)])
    stale = raw.parent / "clean" / "9.parquet"
    stale.parent.mkdir()
    stale.write_bytes(b"old")
    run(raw, params)
    assert sorted(path.name for path in stale.parent.iterdir()) == ["0.parquet"]


def test_nothing_to_filter_is_said(params, tmp_path):
    with pytest.raises(StageError, match="crawl-import"):
        filter_shards(tmp_path, tmp_path / "clean", tmp_path / "cache", 64, 3, params.filter, HERE)


def test_only_unreadable_files(params, shard):
    verdicts, clean = run(shard([None, None]), params)
    assert verdicts["reason"].to_pylist() == ["unreadable"] * 2
    assert clean == {}


def test_png_round_trip_of_a_repair_is_lossless(face):
    assert np.array_equal(decode(encode_png(face(1)), 10**6), face(1))


def counted(monkeypatch, function):
    """Count the calls of a function of pipeline.cleaning.inspect."""
    calls = []
    real = getattr(inspect, function)
    monkeypatch.setattr(inspect, function, lambda *a: calls.append(a) or real(*a))
    return calls


def test_another_threshold_decodes_only_what_it_repairs_for_the_first_time(params, face, save, shard, monkeypatch):
    raw = shard([image for image, _ in heap(face, save)])
    decoded = counted(monkeypatch, "decode_trusted")
    first, _ = run(raw, params)
    repaired = [repair for repair in first["repair"].to_pylist() if repair]
    assert (len(decoded), len(repaired)) == (11 + 2, 2), "each readable image once, those to be repaired again"

    decoded.clear()
    again, _ = run(raw, params)
    assert again.equals(first)
    assert not decoded
    changed, _ = run(raw, params, max_noise=99.0, min_side=10, min_gamma=0.99, max_gamma=1.01)
    assert "too small" not in changed["reason"].to_pylist()
    newly = {row["row"] for row in changed.to_pylist() if row["repair"]} - {10}
    assert 0 < len(newly) <= len(decoded) < changed["kept"].to_pylist().count(True)

    decoded.clear()
    back, _ = run(raw, params)
    assert back.equals(first)
    assert not decoded


@pytest.mark.parametrize(
    "changes", [{"work_side": 80}, {"gamma_nats": 30.0}, {"faded_white": 200.0}], ids=["sizes", "looks", "repairs"]
)
def test_what_a_cached_result_depends_on_makes_it_stale(params, face, save, shard, changes):
    raw = shard([image for image, _ in heap(face, save)])
    run(raw, params)
    cached, cached_clean = run(raw, params, **changes)
    shutil.rmtree(raw.parent / "cache")
    fresh, fresh_clean = run(raw, params, **changes)
    assert fresh.equals(cached)
    assert fresh_clean == cached_clean


def test_a_broken_cache_is_made_again(params, face, save, shard):
    raw = shard([image for image, _ in heap(face, save)])
    first, _ = run(raw, params)
    for path in (raw.parent / "cache").iterdir():
        path.write_bytes(b"broken")
    again, _ = run(raw, params)
    assert again.equals(first)


def test_a_damaged_signature_is_made_again(params, face, save, shard):
    raw = shard([image for image, _ in heap(face, save)])
    first, _ = run(raw, params)
    (path,) = (raw.parent / "cache").glob("measures-*.parquet")
    column = pq.read_metadata(path).row_group(0)
    (at,) = [k for k in range(column.num_columns) if column.column(k).path_in_schema == "signature"]
    data = bytearray(path.read_bytes())
    start = column.column(at).dictionary_page_offset or column.column(at).data_page_offset
    data[start : start + 64] = bytes(64)
    path.write_bytes(data)
    again, _ = run(raw, params)
    assert again.equals(first)


def test_a_worker_with_other_code_is_refused(params, face, shard):
    raw = shard([face(1)])
    with pytest.raises(StageError, match="start the workers anew"):
        inspect.measure_shard(inspect.MeasureJob(raw / "0.parquet", raw / "cached", "older"), 64, 3, 256)
    assert not (raw / "cached").exists()


def test_only_what_no_run_used_for_a_month_is_forgotten(params, face, shard):
    raw = shard([face(1)])
    run(raw, params)
    cache = raw.parent / "cache"
    (used,) = cache.glob("measures-*.parquet")
    unused = cache / "measures-0.parquet"
    unused.write_bytes(b"")
    for path in (used, unused):
        os.utime(path, (0, 0))
    run(raw, params)
    assert used.exists()
    assert not unused.exists()


def test_mirrored_copies_are_dropped_on_request_only(params, face, save, shard):
    mirrored = np.ascontiguousarray(face(1)[:, ::-1])
    raw = shard([face(1), save(mirrored, "JPEG", quality=80), face(2), save(mirrored, "JPEG", quality=60)])
    verdicts, _ = run(raw, params)
    assert verdicts["reason"].to_pylist() == [None, None, None, "near duplicate"]
    verdicts, _ = run(raw, params, mirrored=True)
    assert verdicts["reason"].to_pylist() == [None, "near duplicate", None, "near duplicate"]
    assert verdicts["duplicate_of"].to_pylist() == [None, 0, None, 0]
    assert all(value < params.filter.max_difference for value in verdicts["difference"].to_pylist() if value)


def test_what_is_asked_of_all_is_done_to_every_kept_image(params, face, shard):
    noise = np.random.default_rng(0).normal(0, 1, (96, 96, 3))
    grainy, noisy = (np.clip(face(4 - at) + sigma * noise, 0, 255).astype(np.uint8) for at, sigma in ((1, 4), (0, 22)))
    faded = (face(5) * 0.25 + 90).astype(np.uint8)
    raw = shard([grainy, noisy, faded, np.full((96, 96, 3), 90, np.uint8), face(1)])
    plain, before = run(raw, params)
    assert plain["repair"].to_pylist() == [None, "gaussian noise", "faded", None, None]

    verdicts, clean = run(raw, params, denoise_all="total_variation", tone_all="gamma")
    told = verdicts["repair"].to_pylist()
    assert told == ["denoised and toned", "gaussian noise", "faded", None, "toned"]
    assert {number: row["repair"] for number, row in clean.items()} == {0: told[0], 1: told[1], 2: told[2], 4: told[4]}
    # The faded one has no noise to take out, and its tone is repaired.
    changed = [number for number in clean if clean[number]["image"]["bytes"] != before[number]["image"]["bytes"]]
    assert changed == [0, 1, 4]

    _, clean = run(raw, params, tone_all="stretch")
    assert clean[2]["image"]["bytes"] == before[2]["image"]["bytes"]


def test_bytes_that_come_out_the_same_stay(params, face, save, shard):
    data = save(face(2), "PNG", compress_level=9)
    verdicts, clean = run(shard([data]), params, denoise_all="median")
    assert verdicts["repair"].to_pylist() == [None]
    assert clean[0]["image"]["bytes"] == data


def test_off_also_means_what_is_asked_of_all(params, face, shard):
    verdicts, _ = run(shard([face(2)]), params, enabled=False, denoise_all="dct", tone_all="equalize")
    assert verdicts["repair"].to_pylist() == [None]


def test_repairs_may_be_off_and_all_be_toned(params, face, shard):
    faded = (face(5) * 0.25 + 90).astype(np.uint8)
    verdicts, _ = run(shard([face(2), faded]), params, repair=False, tone_all="equalize")
    assert verdicts["repair"].to_pylist() == ["toned", "toned"]

from __future__ import annotations

import numpy as np
import pytest

from pipeline.cleaning import comparison
from pipeline.cleaning.cache import CODE, Cached
from pipeline.cleaning.copies import connecting, find_copies
from pipeline.cleaning.decide import decide
from pipeline.cleaning.duplicates import groups
from pipeline.cleaning.hashing import close_pairs
from pipeline.cleaning.inspect import MeasureJob, measure_shard
from pipeline.cleaning.likeness import difference, layout, layout_likeness, signature
from pipeline.codec import decode
from pipeline.workers import Workers, open_workers

HERE = Workers()


class Judge:
    """Says which pairs are the same, and counts what it was asked."""

    def __init__(self, same):
        self.same, self.asked, self.rounds = same, [], 0

    def __call__(self, pairs):
        self.rounds += 1
        self.asked += [tuple(pair) for pair in pairs.tolist()]
        return np.array([self.same(one, other) for one, other in pairs.tolist()], bool)


def all_pairs(count):
    return np.stack(np.triu_indices(count, 1), axis=1).astype(np.int64)


def numbered(group):
    """Return the groups by their first member, whatever their numbers."""
    return [group.tolist().index(number) for number in group.tolist()]


@pytest.mark.parametrize("share", [0.0, 0.02, 0.1, 0.5, 0.9, 1.0])
@pytest.mark.parametrize("seed", range(5))
def test_the_groups_are_those_of_testing_every_pair(seed, share):
    rng = np.random.default_rng(seed)
    pairs = all_pairs(60)[rng.random(60 * 59 // 2) < rng.choice([0.05, 0.3, 1.0])]
    same = rng.random((60, 60)) < share
    judge = Judge(lambda first, second: same[first, second])
    found = connecting(60, pairs, judge)
    assert numbered(groups(60, found)) == numbered(groups(60, pairs[same[pairs[:, 0], pairs[:, 1]]]))
    assert len(set(judge.asked)) == len(judge.asked)
    assert all(same[first, second] for first, second in found.tolist())


def test_copies_of_one_picture_cost_one_comparison_each():
    judge = Judge(lambda *pair: bool(pair))
    assert len(connecting(2000, all_pairs(2000), judge)) == 1999
    assert len(judge.asked) == 1999
    assert judge.rounds == 1


def test_copies_that_do_not_all_match_cost_a_few_each():
    rng = np.random.default_rng(0)
    same = rng.random((2000, 2000)) < 0.7
    judge = Judge(lambda first, second: same[first, second])
    assert len(set(groups(2000, connecting(2000, all_pairs(2000), judge)).tolist())) == 1
    assert len(judge.asked) < 4 * 2000
    assert judge.rounds < 6


def test_two_pictures_with_one_hash_cost_few_rounds():
    judge = Judge(lambda first, second: first % 2 == second % 2)
    found = connecting(400, all_pairs(400), judge)
    assert numbered(groups(400, found)) == [0, 1] * 200
    assert len(judge.asked) <= 200**2 + 3 * 400
    assert judge.rounds < 11


def test_no_pairs_ask_nothing():
    judge = Judge(lambda *pair: bool(pair))
    assert connecting(3, np.empty((0, 2), np.int64), judge).shape == (0, 2)
    assert judge.rounds == 0


def twins(face, save):
    """Return pictures: three drawn faces many times over as JPEG, one of them with other eyes too."""
    kinds = [face(1), face(2, eyes=(200, 40, 40)), face(2, eyes=(40, 40, 200)), face(3)]
    return [save(kinds[at % 4], "JPEG", quality=50 + at) for at in range(32)]


def test_found_copies_are_those_of_comparing_every_pair(params, face, save, shard, monkeypatch):
    images = twins(face, save)
    raw = shard(images)
    measured = measure_shard(MeasureJob(raw / "0.parquet", raw / "cached", CODE), 64, 3, params.filter)
    calls = []
    monkeypatch.setattr(comparison, "difference", lambda *a: calls.append(len(a[0])) or difference(*a))
    cached = Cached({"0.parquet": raw / "cached"}, raw / "compared")
    found, _ = find_copies(measured, np.arange(len(images)), {}, cached, params.filter, HERE)

    limits = params.filter
    pixels = [decode(image, 10**6) for image in images]
    pairs = close_pairs(measured["phash"].to_numpy(), limits.hash_distance)
    layouts, signatures = (np.stack([function(one) for one in pixels])[pairs] for function in (layout, signature))
    likeness, tint = layout_likeness(layouts[:, 0], layouts[:, 1])
    worst, shade = difference(signatures[:, 0], signatures[:, 1], limits.max_difference)
    alike = (likeness >= limits.min_layout) & (tint <= limits.max_tint)
    every = pairs[alike & (worst <= limits.max_difference) & (shade <= limits.max_tint)]
    assert numbered(groups(32, found)) == numbered(groups(32, every))
    assert len(found) < sum(calls) < len(every)


def test_every_lost_copy_has_its_difference(params, face, save, shard):
    raw = shard([*twins(face, save), save(face(1), "JPEG", quality=50)])
    measured = measure_shard(MeasureJob(raw / "0.parquet", raw / "cached", CODE), 64, 3, params.filter)
    with open_workers(2) as workers:
        verdicts = decide(
            measured, Cached({"0.parquet": raw / "cached"}, raw / "compared"), params.filter, workers
        ).to_pylist()
    assert (
        decide(measured, Cached({"0.parquet": raw / "cached"}, raw / "compared"), params.filter, HERE).to_pylist()
        == verdicts
    )
    lost = [row for row in verdicts if row["duplicate_of"] is not None]
    assert len(lost) > 24
    assert all((row["difference"] is not None) == (row in lost) for row in verdicts)
    for row in lost:
        same_bytes = row["id"] == verdicts[row["duplicate_of"]]["id"]
        assert row["difference"] == 0 if same_bytes else 0 < row["difference"] < 0.3


def test_no_pair_is_compared_twice(params, face, save, shard, monkeypatch):
    raw = shard(twins(face, save))
    measured = measure_shard(MeasureJob(raw / "0.parquet", raw / "cached", CODE), 64, 3, params.filter)
    calls = []
    monkeypatch.setattr(comparison, "difference", lambda *a: calls.append(len(a[0])) or difference(*a))
    cached = Cached({"0.parquet": raw / "cached"}, raw / "compared")
    first = decide(measured, cached, params.filter, HERE)
    assert sum(calls) > 24
    calls.clear()
    assert decide(measured, cached, params.filter, HERE).equals(first)
    assert not calls
    fewer = decide(measured.slice(4), cached, params.filter, HERE)
    assert set(fewer["row"].to_pylist()) == set(range(4, 32))
    assert (
        fewer.to_pylist()
        == decide(measured.slice(4), cached._replace(compared=raw / "fresh"), params.filter, HERE).to_pylist()
    )

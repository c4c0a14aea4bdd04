"""What a study asks for and how it takes what comes; dvc is acted here, and real in tests/e2e/test_study.py."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline import study
from pipeline.errors import ParamsError, StageError
from pipeline.params import read_yaml
from pipeline.sources.builtin import COPIES, BuiltinRecipe, plan
from pipeline.study import ARMS, FULL, LONG, PRISTINE, QUICK, dirt_settings, epochs_for, run_study

FACES = {"raw": 640, "cleaned": 500, "pristine": 560}


@pytest.fixture(autouse=True)
def _at_the_root(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(root)


@pytest.fixture
def recipe() -> BuiltinRecipe:
    return BuiltinRecipe.model_validate(read_yaml(study.RECIPE))


class Acted:
    """Stands in for dvc: keeps what was run, fails what it is told to, and knows figures by the name's arm and seed."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.runs: list[tuple[str, int, str | None]] = []
        self.settings: dict[str, Mapping[str, str]] = {}
        self.fails: str | None = None
        self.closed = 0
        self.rulers = dict.fromkeys([*ARMS, "no"], "p")
        monkeypatch.setattr(study, "Experimenter", lambda _study: self)
        monkeypatch.setattr(study, "experiment_name", lambda title, _settings: title)
        monkeypatch.setattr(study, "find_experiment", lambda name: name if name in self.settings else None)
        monkeypatch.setattr(study, "figures_of", self.figures_of)
        monkeypatch.setattr(study, "digests_of", self.digests_of)

    def run(self, name: str, settings: Mapping[str, str], threads: int, target: str | None = None) -> str:
        self.runs.append((name, threads, target))
        if self.fails and self.fails in name:
            raise StageError(f"{name} failed")
        self.settings[name] = settings
        return name

    def close(self) -> None:
        self.closed += 1

    def figures_of(self, name: str, stage: str) -> dict[str, float]:
        arm = name.split("-")[2]
        return {
            "resize": {"train": FACES.get(arm, 500)},
            "train": {"kimg": 99.5},
            "evaluate": {
                "kid_lite0_pristine": 400.0 + int(name[-1] if name[-1].isdigit() else 0),
                "kid_lite0_raw": 1.0,
            },
        }[stage]

    def digests_of(self, name: str, _folder: Path) -> dict[str, str]:
        arm = name.split("-")[2]
        return {"holdout_pristine.npy": self.rulers[arm], "holdout_raw.npy": "clean" if arm == PRISTINE else "dirty"}


@pytest.fixture
def acted(monkeypatch: pytest.MonkeyPatch) -> Acted:
    return Acted(monkeypatch)


SMALL = replace(FULL, seeds=2, kimg=10.0)


def test_the_forms_are_as_large_as_they_say() -> None:
    assert (FULL.arms, len(FULL.dirt)) == (("raw", "cleaned", "pristine"), 1)
    assert FULL.seeds >= 6
    assert set(LONG.arms) == set(ARMS)
    assert len(LONG.dirt) == 2
    assert LONG.seeds == FULL.seeds
    assert LONG.kimg == FULL.kimg
    assert QUICK.arms == FULL.arms
    assert QUICK.seeds >= 2


@pytest.mark.parametrize("level", [0.5, 1.0, 2.0, 4.0])
def test_the_pristine_arm_has_the_same_faces_in_the_same_rows(recipe: BuiltinRecipe, level: float) -> None:
    def planned(arm: str) -> dict[int, int]:
        """Return row → face for the images that copy no other."""
        shares = {key.split("dirt.")[1]: float(share) for key, share in dirt_settings(recipe, level, arm).items()}
        rows = plan(recipe.model_copy(update={"dirt": shares, "count": 1000}))
        return {each.row: each.face for each in rows if each.kind not in COPIES}

    assert planned(PRISTINE) == planned("raw")
    assert planned("raw") == planned("cleaned")


def test_the_pristine_arm_has_no_damage_and_the_others_a_multiple(recipe: BuiltinRecipe) -> None:
    damaged = dirt_settings(recipe, 2.0, "raw")
    assert damaged[f"{study.RECIPE}:dirt.blur"] == str(2 * recipe.dirt["blur"])
    pristine = dirt_settings(recipe, 2.0, PRISTINE)
    assert {key.split("dirt.")[1] for key, share in pristine.items() if float(share)} == set(COPIES)


def test_too_much_dirt_is_refused(recipe: BuiltinRecipe) -> None:
    with pytest.raises(ParamsError, match="the shares add up"):
        dirt_settings(recipe, 5.0, PRISTINE)


@pytest.mark.parametrize(
    ("kimg", "faces", "epochs"),
    [
        pytest.param(100.0, 1000, 104, id="15 batches of 64 are 960 images"),
        pytest.param(0.1, 1000, 1, id="at least one"),
        pytest.param(1.5, 1024, 1, id="down"),
        pytest.param(1.6, 1024, 2, id="up"),
        pytest.param(1.0, 10, 16, id="too few faces for a batch are train's to refuse"),
    ],
)
def test_epochs_come_nearest_to_the_images_shown(kimg: float, faces: int, epochs: int) -> None:
    assert epochs_for(kimg, faces, 64) == epochs


def test_data_is_made_once_an_arm_and_seeds_run_in_whole_pairs(acted: Acted) -> None:
    levels, failures = run_study(SMALL, jobs=1, say=lambda _: None)
    assert [name for name, _, target in acted.runs if target == "resize"] == [
        f"cleaning-2x-{arm}-data" for arm in SMALL.arms
    ]
    assert [name for name, _, target in acted.runs if target is None] == [
        f"cleaning-2x-{arm}-seed{seed}" for seed in range(2) for arm in SMALL.arms
    ]
    assert acted.settings["cleaning-2x-raw-seed1"]["filter.enabled"] == "false"
    assert acted.settings["cleaning-2x-raw-seed1"]["num_epochs"] == "16"  # 10,000 over 640
    assert acted.settings["cleaning-2x-cleaned-seed1"]["num_epochs"] == "22"  # 10,000 over 448, whole batches
    assert acted.settings["cleaning-2x-cleaned-seed1"]["seed"] == "1"
    assert (failures, acted.closed) == ([], 1)
    (level,) = levels
    assert level.dirt == pytest.approx(2 * sum(read_yaml(study.RECIPE)["dirt"].values()))
    assert [(arm.name, arm.faces) for arm in level.arms] == list(FACES.items())
    assert level.arms[0].outcomes[1] == {"kimg": 99.5, "pristine": 401.0, "raw": 1.0}
    # Its own raw holdout is undamaged, so it has no figure by that of the others.
    assert level.arms[2].outcomes[1] == {"kimg": 99.5, "pristine": 401.0}


def test_side_by_side_they_share_the_cores(acted: Acted, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(8)))
    run_study(SMALL, jobs=3, say=lambda _: None)
    assert {threads for _, threads, target in acted.runs if target} == {8}
    assert {threads for _, threads, target in acted.runs if not target} == {2}


def test_what_is_there_is_not_run_again(acted: Acted) -> None:
    first = run_study(SMALL, jobs=2, say=lambda _: None)
    runs = len(acted.runs)
    assert run_study(SMALL, jobs=2, say=lambda _: None) == first
    assert len(acted.runs) == runs
    run_study(replace(SMALL, seeds=3), jobs=2, say=lambda _: None)
    assert len(acted.runs) == runs + 3


def test_a_failed_training_loses_no_other(acted: Acted) -> None:
    acted.fails = "cleaned-seed0"
    said: list[str] = []
    (level,), failures = run_study(SMALL, jobs=2, say=said.append)
    assert failures == ["cleaning-2x-cleaned-seed0 failed"]
    assert [sorted(arm.outcomes) for arm in level.arms] == [[0, 1], [1], [0, 1]]
    assert any("cleaned-seed0 failed" in line for line in said)
    acted.fails, before = None, len(acted.runs)
    (level,), failures = run_study(SMALL, jobs=2, say=said.append)
    assert (failures, len(acted.runs) - before) == ([], 1)
    assert [sorted(arm.outcomes) for arm in level.arms] == [[0, 1]] * 3


def test_data_that_can_not_be_made_costs_its_arm(acted: Acted) -> None:
    acted.fails = "pristine-data"
    (level,), failures = run_study(SMALL, jobs=2, say=lambda _: None)
    assert failures == ["cleaning-2x-pristine-data failed"]
    assert [arm.name for arm in level.arms] == ["raw", "cleaned"]


def test_different_rulers_compare_nothing(acted: Acted) -> None:
    acted.rulers[PRISTINE] = "another"
    with pytest.raises(StageError, match="different pristine holdouts"):
        run_study(SMALL, jobs=2, say=lambda _: None)
    assert all(target for _, _, target in acted.runs)
    assert acted.closed == 1


def test_an_unknown_arm_is_refused_before_any_work(acted: Acted) -> None:
    with pytest.raises(ParamsError, match="no arm is named 'tidy'"):
        run_study(replace(SMALL, arms=("raw", "tidy")), jobs=2, say=lambda _: None)
    assert acted.runs == []


@pytest.mark.parametrize(
    "setting",
    [
        pytest.param(("filter.enabled", "false"), id="what an arm is"),
        pytest.param(("data/builtin.yaml:dirt.blur", "0.5"), id="the dirt"),
        pytest.param(("seed", "7"), id="the seed"),
        pytest.param(("filter.enabled", "true"), id="what another arm is"),
        pytest.param(("data/builtin.yaml:dirt.blur", "0.03"), id="the dirt as the recipe has it"),
        pytest.param(("dataroot", "/my/faces"), id="faces without a truth"),
    ],
)
def test_what_the_study_itself_sets_is_refused(acted: Acted, setting: tuple[str, str]) -> None:
    with pytest.raises(ParamsError, match=r"^(filter.enabled|dirt|seed|dataroot) is for the study to set"):
        run_study(replace(SMALL, settings={**SMALL.settings, setting[0]: setting[1]}), jobs=2, say=lambda _: None)
    assert acted.runs == []


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("ngff", "32", "-S .*ngff=32.*: Could not override 'ngff'"),
        ("lr.more", "1", "-S .*lr.more=1"),
        ("lr", "fast", "params.yaml: lr: input should be a valid number"),
        ("lr", "2020-13-45", "params.yaml: lr: input should be a valid number"),
        ("batch_size", "0x40", "params.yaml: batch_size: input should be a valid integer"),
        ("lr", "[1", r"-S .*lr=\[1"),
        ("ngf", "range(1,3)", r"-S .*ngf=range\(1,3\)"),
        ("data/builtin.yaml:size", "7", "data/builtin.yaml: size"),
        ("other.yaml:size", "7", "-S other.yaml:…: settings are in params.yaml, and in data/builtin.yaml"),
        # Spellings of dvc's that would set what an arm is behind its back.
        ("params.yaml:filter.enabled", "false", "filter.enabled is for the study to set"),
        ("./data/builtin.yaml:dirt.blur", "0.2", "dirt is for the study to set"),
        ("++filter.enabled", "false", "filter.enabled is for the study to set"),
        ("filter", "{enabled: false}", "filter.enabled is for the study to set"),
    ],
)
def test_settings_are_checked_before_any_work(acted: Acted, key: str, value: str, message: str) -> None:
    with pytest.raises(ParamsError, match=message):
        run_study(replace(SMALL, settings={**SMALL.settings, key: value}), jobs=2, say=lambda _: None)
    assert acted.runs == []


def test_a_study_goes_by_its_own_faces_and_filter_whatever_the_settings_are(
    acted: Acted, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever trains on faces of their own can ask it too."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(root / "data", "data", ignore=lambda *_: ["raw", "clean", "faces"])
    lines = (root / "params.yaml").read_text(encoding="utf-8")
    mine = lines.replace("dataroot: data/builtin.yaml", "dataroot: /my/faces").replace("dedup: true", "dedup: false")
    assert mine.count("/my/faces") == mine.count("dedup: false") == 1
    Path("params.yaml").write_text(mine, encoding="utf-8")
    run_study(replace(SMALL, arms=("raw", "cleaned", "no-blur")), jobs=2, say=lambda _: None)
    filters = {name.split("-")[2]: settings for name, settings in acted.settings.items() if name.endswith("seed0")}
    assert filters["cleaned"].items() - filters["no"].items() == {("filter.blur", "true")}
    assert filters["cleaned"]["filter.dedup"] == "true"


def test_epochs_go_by_the_batch_size_however_it_is_spelt(acted: Acted) -> None:
    form = replace(SMALL, settings={**SMALL.settings, "params.yaml:batch_size": "128"})
    run_study(form, jobs=2, say=lambda _: None)
    trained = acted.settings["cleaning-2x-cleaned-seed0"]
    assert trained["num_epochs"] == str(epochs_for(10.0, FACES["cleaned"], 128))
    assert trained["num_epochs"] != str(epochs_for(10.0, FACES["cleaned"], 64))


def test_all_are_named_before_the_first_is_trained(acted: Acted, monkeypatch: pytest.MonkeyPatch) -> None:
    """Dvc writes the settings of one that starts into the files that the names of the others would digest."""
    trained: list[int] = []

    def name(title: str, _settings: Mapping[str, str]) -> str:
        trained.append(sum(target is None for _, _, target in acted.runs))
        return title

    monkeypatch.setattr(study, "experiment_name", name)
    run_study(SMALL, jobs=2, say=lambda _: None)
    assert trained == [0] * (3 + 2 * 3)


@pytest.mark.parametrize(
    ("key", "value"),
    [("train.augment", "{cutout: false}"), ("scheduler", "tcp://host:8786"), ("filter.tone_all", ""), ("lr", "1e-4")],
)
def test_what_dvc_takes_is_taken(acted: Acted, key: str, value: str) -> None:
    run_study(replace(SMALL, settings={**SMALL.settings, key: value}), jobs=2, say=lambda _: None)
    assert all(settings[key] == value for settings in acted.settings.values())

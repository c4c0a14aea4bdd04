"""Does cleaning help? Trainings on the same faces raw, cleaned and undamaged, as DVC experiments, seed by seed.

Only the built-in recipe can answer, because it knows the undamaged originals. The arms of a level share the rows and
the split, so the pristine holdout is the same file for all of them, which is checked. In the pristine arm nothing is
damaged, and what would be a copy is one of another face, so it goes through the filter like the cleaned arm.

Resumable: an experiment's name holds a digest of all that decides its result, and one that is there is not run again.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from contextlib import closing
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

from pipeline import paths
from pipeline.errors import ParamsError, StageError
from pipeline.experiments import Experimenter, digests_of, experiment_name, figures_of, find_experiment
from pipeline.params import Params, flatten, read_yaml, validate
from pipeline.reports.study import CLEANED, PRISTINE, RAW, Arm, Level
from pipeline.sources.builtin import COPIES, BuiltinRecipe

STUDY = "cleaning"
RECIPE = Path("data/builtin.yaml")

PRISTINE_RULER, RAW_RULER = "holdout_pristine.npy", "holdout_raw.npy"

# All of it, whatever params.yaml has: an arm without a part differs from it in that part alone.
FILTERED = dict.fromkeys(("filter.enabled", "filter.repair", "filter.dedup", "filter.blur"), "true")
ARMS: dict[str, dict[str, str]] = {
    RAW: {"filter.enabled": "false"},
    CLEANED: FILTERED,
    PRISTINE: FILTERED,
    "no-repair": {**FILTERED, "filter.repair": "false"},
    "no-dedup": {**FILTERED, "filter.dedup": "false"},
    "no-blur": {**FILTERED, "filter.blur": "false"},
}

# Small nets and a larger holdout than usual: many trainings in the time of one. Quick KID is not looked at. So small
# nets, shown so few images, draw better faces with a faster netG and all of DiffAugment: KID×1000 360 against 418, the
# mean of four trainings.
SETTINGS = {
    "dataroot": str(RECIPE),
    f"{RECIPE}:count": "6000",
    "crawl.holdout_fraction": "0.2",
    "batch_size": "64",
    "ngf": "16",
    "ndf": "16",
    "train.lr_ratio": "4.0",
    "train.augment.color": "true",
    "train.augment.cutout": "true",
    "train.quick_kid_images": "0",
    "evaluate.n_generated": "1000",
    "evaluate.n_real": "1500",
}


@dataclass(frozen=True)
class Form:
    """How large a study is."""

    arms: Sequence[str]
    dirt: Sequence[float]  # each level multiplies the recipe's shares
    seeds: int
    kimg: float  # thousand images shown in a training, as nearly as whole epochs come
    settings: Mapping[str, str]
    folder: Path  # for the results


# The kimg are those to which whole epochs of all three arms come nearest: within 1 % of each other.
FULL = Form((RAW, CLEANED, PRISTINE), (2.0,), 8, 136.0, SETTINGS, Path("docs"))
QUICK = replace(FULL, seeds=3, kimg=37.4, settings={**SETTINGS, f"{RECIPE}:count": "3000"}, folder=Path("out"))
LONG = replace(FULL, arms=tuple(ARMS), dirt=(2.0, 1.0))


Place = tuple[float, str]  # a level's factor, and an arm


class Trial(NamedTuple):
    """One training."""

    dirt: float
    arm: str
    seed: int


@dataclass(frozen=True)
class _Data:
    """The packed faces of an arm at a level of dirt."""

    settings: Mapping[str, str]
    faces: int  # to train on
    digests: Mapping[str, str]  # of the packed arrays, by file name


def _applied(settings: Mapping[str, str]) -> tuple[Params, BuiltinRecipe]:
    """Return params.yaml and the recipe as dvc would set them; ParamsError where they may not be so.

    By dvc itself, on copies: it knows many spellings of one key.
    """
    from dvc.exceptions import DvcException
    from dvc.utils.cli_parse import to_path_overrides
    from dvc.utils.hydra import apply_overrides
    from ruamel.yaml.error import YAMLError

    overrides: dict[Path, list[str]] = {paths.PARAMS: [], RECIPE: []}
    for file, some in to_path_overrides([f"{key}={value}" for key, value in settings.items()]).items():
        if Path(file) not in overrides:
            raise ParamsError(f"-S {file}:…: settings are in {paths.PARAMS}, and in {RECIPE}")
        overrides[Path(file)] += some
    with TemporaryDirectory() as folder:

        def read(file: Path) -> dict[str, Any]:
            read_yaml(file)  # where it is missing, that says so
            copy = Path(shutil.copy(file, folder))
            try:
                apply_overrides(copy, overrides[file])
            except (DvcException, YAMLError) as fault:
                raise ParamsError(f"-S {' -S '.join(overrides[file])}: {fault.__cause__ or fault}") from None
            return read_yaml(copy)

        return validate(Params, read(paths.PARAMS), paths.PARAMS), validate(BuiltinRecipe, read(RECIPE), RECIPE)


def _require_arms(wanted: Mapping[Place, Mapping[str, str]], recipe: BuiltinRecipe) -> Params:
    """Raise ParamsError where a setting of the user's undoes what an arm is; return the params that arms share.

    Before any work, and by what comes out: a setting may be that of params.yaml, and still be another arm's.
    """
    untouched, _ = _applied(SETTINGS)
    for (dirt, arm), settings in wanted.items():
        params, damaged = _applied(settings)
        found = flatten(params.model_dump())
        arms_own = {"dataroot": str(RECIPE), **ARMS[arm]}
        taken = [key for key, value in arms_own.items() if str(found[key]).lower() != value]
        taken += [key for key in ("seed", "num_epochs") if found[key] != getattr(untouched, key)]
        meant = {key.rpartition(".")[2]: float(share) for key, share in dirt_settings(recipe, dirt, arm).items()}
        if taken or meant != damaged.dirt:
            raise ParamsError(
                f"{min(taken, default='dirt')} is for the study to set: it is what its arms are, or what they have in "
                "common"
            )
    return params


def dirt_settings(recipe: BuiltinRecipe, level: float, arm: str) -> dict[str, str]:
    """Return the settings that multiply a recipe's dirt; ParamsError for more than it may have.

    In the pristine arm the damage is off and the copies stay: the other rows then show the same faces in all arms.
    """
    shares = {kind: round(level * share, 6) for kind, share in recipe.dirt.items()}
    validate(BuiltinRecipe, {**recipe.model_dump(), "dirt": shares}, RECIPE)
    wanted = {kind: share if arm != PRISTINE or kind in COPIES else 0.0 for kind, share in shares.items()}
    return {f"{RECIPE}:dirt.{kind}": str(share) for kind, share in wanted.items()}


def epochs_for(kimg: float, faces: int, batch_size: int) -> int:
    """Return how many epochs of whole batches come nearest to so many thousand images shown; 1 at least."""
    return max(1, round(1000 * kimg / max(batch_size, faces // batch_size * batch_size)))


def run_study(form: Form, jobs: int, say: Callable[[str], None]) -> tuple[list[Level], list[str]]:
    """Run what is missing of a study, so many experiments side by side; return what came out, and what failed.

    A failure costs its own training, or its arm where the data could not be made. Raises ParamsError for a wrong form,
    StageError where the arms turn out to be measured with different rulers.
    """
    if unknown := sorted(set(form.arms) - set(ARMS)):
        raise ParamsError(f"no arm is named {unknown[0]!r}; there are {', '.join(ARMS)}")
    recipe = validate(BuiltinRecipe, read_yaml(RECIPE), RECIPE)
    wanted = {
        (dirt, arm): {**dirt_settings(recipe, dirt, arm), **ARMS[arm], **form.settings}
        for dirt, arm in product(form.dirt, form.arms)
    }
    batch_size = _require_arms(wanted, recipe).batch_size
    # The inner one is closed first, so that the pool does not wait for what is to be given up.
    with ThreadPoolExecutor(jobs) as pool, closing(Experimenter(STUDY)) as experimenter:
        data, lost = _make_data(wanted, pool, experimenter, say)
        for dirt in form.dirt:
            _require_one_ruler([found for (level, _), found in data.items() if level == dirt])
        threads = max(1, len(os.sched_getaffinity(0)) // jobs)
        # Seed by seed, so that a study that is cut short has whole pairs.
        trials = [
            Trial(dirt, arm, seed)
            for dirt, seed, arm in product(form.dirt, range(form.seeds), form.arms)
            if (dirt, arm) in data
        ]
        # All are named before the first is started: dvc then writes its settings into the files that names digest.
        named = []
        for trial in trials:
            settings = _training_settings(data[trial.dirt, trial.arm], form.kimg, batch_size, trial.seed)
            named.append((experiment_name(_title(trial.dirt, trial.arm, f"seed{trial.seed}"), settings), settings))
        trainings = {
            pool.submit(_ensure, experimenter, name, settings, threads): trial
            for trial, (name, settings) in zip(trials, named, strict=True)
        }
        outcomes, failed = _collect(trainings, data, say)
    levels = [
        Level(
            dirt * sum(recipe.dirt.values()),
            [Arm(arm, data[dirt, arm].faces, outcomes[dirt, arm]) for arm in form.arms if (dirt, arm) in data],
        )
        for dirt in form.dirt
    ]
    return levels, lost + failed


def _make_data(
    wanted: Mapping[Place, Mapping[str, str]],
    pool: ThreadPoolExecutor,
    experimenter: Experimenter,
    say: Callable[[str], None],
) -> tuple[dict[Place, _Data], list[str]]:
    """Return the packed faces of each level's arms, given by their settings, and what failed.

    One after another, on all cores: what arms have in common is made once, and the next one finds it in DVC's cache.
    """
    cores = len(os.sched_getaffinity(0))
    data: dict[Place, _Data] = {}
    failures = []
    for (dirt, arm), settings in wanted.items():
        title = _title(dirt, arm, "data")
        try:
            # In a thread, which goes on reading what dvc says while it is interrupted.
            name = experiment_name(title, settings)
            revision = pool.submit(_ensure, experimenter, name, settings, cores, "resize").result()
            faces, digests = int(figures_of(revision, "resize")["train"]), digests_of(revision, paths.FACES)
        except StageError as fault:
            failures.append(str(fault))
            say(str(fault))
            continue
        data[dirt, arm] = _Data(settings, faces, digests)
        say(f"{title}: {faces} faces to train on")
    return data, failures


def _collect(
    trainings: Mapping[Future[str], Trial], data: Mapping[Place, _Data], say: Callable[[str], None]
) -> tuple[dict[Place, dict[int, dict[str, float]]], list[str]]:
    """Wait for all trainings; return what came out, by place and seed, and what failed."""
    outcomes: dict[Place, dict[int, dict[str, float]]] = {place: {} for place in data}
    failures = []
    for done, training in enumerate(as_completed(trainings), start=1):
        dirt, arm, seed = trainings[training]
        try:
            outcome = _outcome(training.result(), data[dirt, arm], data.get((dirt, RAW)))
        except StageError as fault:
            failures.append(str(fault))
            said = str(fault)
        else:
            outcomes[dirt, arm][seed] = outcome
            said = f"{_title(dirt, arm, f'seed{seed}')}: {outcome['pristine']:.1f} at {outcome['kimg']:.1f} kimg"
        say(f"{done} of {len(trainings)}, {said}")
    return outcomes, failures


def _require_one_ruler(arms: Sequence[_Data]) -> None:
    if len({arm.digests.get(PRISTINE_RULER) for arm in arms}) > 1:
        raise StageError(
            f"the arms have different pristine holdouts; list {' and '.join(COPIES)} first under dirt in {RECIPE}"
        )


def _training_settings(data: _Data, kimg: float, batch_size: int, seed: int) -> dict[str, str]:
    epochs = epochs_for(kimg, data.faces, batch_size)
    own = {"num_epochs": str(epochs), "seed": str(seed)}
    # Last, so that no other spelling of the keys wins.
    return {key: value for key, value in data.settings.items() if key not in own} | own


def _ensure(
    experimenter: Experimenter, name: str, settings: Mapping[str, str], threads: int, target: str | None = None
) -> str:
    """Return the commit of an experiment, which is run unless it is there."""
    return find_experiment(name) or experimenter.run(name, settings, threads, target)


def _outcome(revision: str, data: _Data, raw: _Data | None) -> dict[str, float]:
    """Return what a training came to; KID by the raw ruler only where that is the raw arm's."""
    figures = figures_of(revision, "evaluate")
    outcome = {"kimg": figures_of(revision, "train")["kimg"], "pristine": figures["kid_lite0_pristine"]}
    if raw and raw.digests[RAW_RULER] == data.digests[RAW_RULER]:
        outcome["raw"] = figures["kid_lite0_raw"]
    return outcome


def _title(dirt: float, arm: str, what: str) -> str:
    return f"{STUDY}-{dirt:g}x-{arm}-{what}"

"""dvc.yaml against the code: which params and which modules each stage depends on."""

import ast
from pathlib import Path

import pytest

from pipeline.params import flatten, read_yaml

STAGES = ("crawl-import", "filter", "resize", "train", "evaluate")

# What starts work, finds files and reports on it, but can't change what comes out.
PLUMBING = {
    "atomic",
    "digest",
    "dvc_cache",
    "errors",
    "faults",
    "headline",
    "invocation",
    "lineage",
    "mlflow_store",
    "params",
    "paths",
    "tracking",
    "workers",
}

# Settings that change no result, only how it is come by.
IN_NO_STAGE = {
    "workers",
    "scheduler",
    "ngpu",
    "crawl.backoff",
    "crawl.delay",
    "crawl.per_host",
    "crawl.concurrency",
    "filter.cache_days",
    "train.min_steps",
    "train.collapse_ticks",
    "train.collapse_D_G_z",
    "train.collapse_lossG",
    "train.collapse_diversity",
    "train.stop_on_collapse",
    "train.checkpoint_minutes",
    "train.keep_checkpoints",
    "evaluate.cache_mb",
}

IN_SEVERAL_STAGES = {
    "train.ema": {"train", "evaluate"},
    "seed": {"train", "evaluate"},
    "image_size": {"filter", "resize", "train"},
    "nc": {"filter", "resize", "train"},
}

SECTION_OF = {"crawl": "crawl-import", "filter": "filter", "train": "train", "evaluate": "evaluate"}


@pytest.fixture(scope="module")
def stages(root: Path) -> dict:
    return read_yaml(root / "dvc.yaml")["stages"]


def test_the_five_stages_run_as_modules(stages: dict) -> None:
    """`python stages/NAME.py` would import the main checkout's code from a temporary one."""
    assert {name: stage["cmd"] for name, stage in stages.items()} == {
        name: f"python -m stages.{name.replace('-', '_')}" for name in STAGES
    }


def test_every_setting_belongs_to_the_stages_that_it_can_change(root: Path, stages: dict) -> None:
    for key in flatten(read_yaml(root / "params.yaml")):
        listed = {name for name, stage in stages.items() if key in stage["params"]}
        if key in IN_NO_STAGE:
            assert listed == set(), key
        elif key in IN_SEVERAL_STAGES:
            assert listed == IN_SEVERAL_STAGES[key], key
        elif "." in key:
            assert listed == {SECTION_OF[key.split(".")[0]]}, key
        else:
            assert listed == {"crawl-import" if key == "dataroot" else "train"}, key


def test_params_are_listed_key_by_key(root: Path, stages: dict) -> None:
    known = set(flatten(read_yaml(root / "params.yaml")))
    for name, stage in stages.items():
        assert set(stage["params"]) <= known, name


def imported(path: Path, root: Path) -> set[Path]:
    """Return the files of pipeline/ that a file imports, directly."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if not isinstance(node, ast.ImportFrom) or not (node.module or "").startswith("pipeline"):
            continue
        module = root / node.module.replace(".", "/")
        for candidate in [module.with_suffix(".py"), *(module / f"{alias.name}.py" for alias in node.names)]:
            if candidate.exists():
                found.add(candidate)
    return found


@pytest.mark.parametrize("name", STAGES)
def test_deps_are_the_modules_that_the_stage_uses(root: Path, stages: dict, name: str) -> None:
    """Followed through every import: a module that is missing would let DVC reuse what older code made."""
    start = root / f"stages/{name.replace('-', '_')}.py"
    seen, pending = set(), [start]
    while pending:
        path = pending.pop()
        if path not in seen and not (path.parent.name == "pipeline" and path.stem in PLUMBING):
            seen.add(path)
            pending += imported(path, root)
    deps = [root / dep for dep in stages[name]["deps"] if not dep.startswith(("$", "data", "models", "plots"))]
    missing = [str(path.relative_to(root)) for path in seen if not any(path.is_relative_to(dep) for dep in deps)]
    assert missing == []
    unused = [str(dep.relative_to(root)) for dep in deps if not any(path.is_relative_to(dep) for path in seen)]
    assert unused == []


def test_figures_and_curves_stay_in_git(stages: dict) -> None:
    for name, stage in stages.items():
        (metrics,) = stage["metrics"]
        assert metrics == {f"metrics/{name.replace('-', '_')}.json": {"cache": False}}
        assert all(options["cache"] is False for plot in stage.get("plots", []) for options in plot.values())


def test_every_stage_has_dvcs_run_cache(stages: dict) -> None:
    """DVC keeps none for a stage with an out that it does not cache; of metrics and plots it does not mind."""
    assert all(isinstance(out, str) for stage in stages.values() for out in stage["outs"])


def test_temporary_experiments_ignore_bytecode(root: Path) -> None:
    assert "__pycache__/" in (root / ".dvcignore").read_text().split()

"""Against a real DVC project and a real MLflow store."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from typer.testing import CliRunner

from pipeline import paths
from pipeline.cli import app
from pipeline.dcgan.networks import Generator
from pipeline.dcgan.sampling import sample_noise
from pipeline.dcgan.weights import save_weights
from pipeline.errors import ParamsError, StageError
from pipeline.params import Params, read_yaml
from pipeline.results import find_results
from pipeline.tracking import PROCESS_TAG, StageRun, stage_run
from tests.e2e.project import Project

# The dependencies of DVC and MLflow warn of each other's changes; that is not this project's to mend.
pytestmark = pytest.mark.filterwarnings(
    "ignore::DeprecationWarning", "ignore::ResourceWarning", "ignore::FutureWarning"
)

DVC_YAML = """stages:
  crawl-import:
    cmd: mkdir data/raw && cp recipe.yaml data/raw/
    deps:
    - ${dataroot}
    params:
    - dataroot
    - recipe.yaml:
      - count
    outs:
    - data/raw
  resize:
    cmd: mkdir data/faces && cp SHA256SUMS data/faces/
    deps:
    - SHA256SUMS
    outs:
    - data/faces
  train:
    cmd: cp weights.safetensors models/generator.safetensors
    deps:
    - weights.safetensors
    - data/faces/SHA256SUMS
    params:
    - nz
    - lr
    - seed
    outs:
    - models/generator.safetensors
  evaluate:
    cmd: cp figures.json metrics/evaluate.json
    deps:
    - figures.json
    - models/generator.safetensors
    params:
    - evaluate.generator
    metrics:
    - metrics/evaluate.json:
        cache: false
"""


HOLDOUT = "0123456789abcdef" * 4


class Made(NamedTuple):
    """A project with the tag `first`, the experiment `brave`, and an MLflow run for each."""

    project: Project
    weights: dict[str, bytes]
    run_ids: dict[str, str]


def log(params: Params, name: str, lr: float, kid: float, patch: pytest.MonkeyPatch) -> StageRun:
    """Leave the MLflow run of an invocation by that name, that evaluated what dvc.lock has."""
    patch.setenv("DVC_EXP_NAME", name)
    with stage_run("evaluate", params.model_copy(update={"lr": lr, "nz": 4})) as run:
        run.log_input(str(paths.HOLDOUT_RAW), HOLDOUT)
        run.log_metrics({"kid_lite0_raw": kid, "kid_lite0_raw_se": 1.0})
        run.log_image(np.full((20, 20, 3), 9, np.uint8), "samples", step=0)
    # Each test process is one invocation; the next run shall be another one's.
    run._client.set_tag(run.parent_id, PROCESS_TAG, f"host/{run.run_id}/1")
    return run


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, params: Params):
    project, weights, run_ids = Project(tmp_path_factory.mktemp("results") / "project"), {}, {}
    folder = project.folder
    for name in ("models", "metrics", "data"):
        (folder / name).mkdir(parents=True)
    (folder / "dvc.yaml").write_text(DVC_YAML)
    (folder / ".gitignore").write_text("/mlflow.db\n/mlartifacts\n/.pipeline\n/models/*\n/data\n")
    (folder / "recipe.yaml").write_text("count: 3\n")
    (folder / "faces.yaml").write_text("kind: builtin\ndirt:\n  blur: 0.1\n")
    (folder / "SHA256SUMS").write_text(f"{'0' * 64}  train.npy\n{HOLDOUT}  holdout_raw.npy\n")
    project.run("git", "init", "--quiet")
    project.run("dvc", "init", "--quiet")
    patch = pytest.MonkeyPatch()
    patch.chdir(folder)
    for name, lr, kid in (("first", 0.1, 100.0), ("brave", 0.2, 90.0)):
        netG = Generator(nz=4, ngf=2, nc=3, image_size=32)
        netG(sample_noise(8, 4, 1))
        metadata = {"nz": "4", "ngf": "2", "nc": "3", "image_size": "32", "data": f"the digest of {name}"}
        save_weights(Path("weights.safetensors"), netG.eval(), metadata)
        weights[name] = Path("weights.safetensors").read_bytes()
        Path("figures.json").write_text(json.dumps({"kid_lite0_raw": kid, "kid_lite0_raw_se": 1.0}))
        Path("params.yaml").write_text(
            f"dataroot: faces.yaml\nnz: 4\nlr: {lr}\nseed: 0\nevaluate:\n  generator: last\n"
        )
        project.run("dvc", "repro", "--quiet")
        run_ids[name] = log(params, name, lr, kid, patch).parent_id
        if name == "first":
            project.run("git", "add", "--all")
            project.run("git", "commit", "--quiet", "--message", name)
            project.run("git", "tag", name)
        else:
            project.run("dvc", "exp", "save", "--quiet", "--name", name)
    log(params, "twice", 0.3, 1.0, patch)
    log(params, "twice", 0.3, 1.0, patch)
    # What is here now was not run.
    Path("faces.yaml").write_text("kind: builtin\ndirt:\n  blur: 0.9\n")
    Path("params.yaml").write_text("dataroot: faces.yaml\nnz: 4\nlr: 0.9\nseed: 0\nevaluate:\n  generator: last\n")
    yield Made(project, weights, run_ids)
    patch.undo()


@pytest.mark.parametrize(
    ("name", "holds", "origin"),
    [
        pytest.param("first", "first", "commit", id="a tag"),
        pytest.param("HEAD", "first", "commit", id="a commit"),
        pytest.param("brave", "brave", "commit", id="an experiment, though a run is called so too"),
        pytest.param("workspace", "brave", "what is here now", id="the workspace"),
    ],
)
def test_a_revision(made: Made, tmp_path: Path, name: str, holds: str, origin: str) -> None:
    found = find_results(name, tmp_path / "0")
    assert found.origin.startswith(origin)
    assert found.params["lr"] == {"first": "0.1", "brave": "0.2"}[holds]
    assert found.figures["kid_lite0_raw"] == {"first": 100.0, "brave": 90.0}[holds]
    assert found.params["recipe.yaml:count"] == "3"
    # Of what is here now the recipe is no longer the one that the faces are of.
    assert found.params.get("dataroot:dirt.blur") == (None if name == "workspace" else "0.1")
    assert found.imported is not None
    assert found.imported.endswith(".dir")
    assert (found.holdout, found.clean) == (HOLDOUT[:36], None)
    assert found.generator is not None
    assert found.generator.read_bytes() == made.weights[holds]


def test_a_run_draws_with_the_weights_that_it_evaluated(made: Made, tmp_path: Path) -> None:
    found = find_results(made.run_ids["first"][:10], tmp_path / "0")
    assert found.origin == f"MLflow run {made.run_ids['first'][:8]}"
    assert (found.params["lr"], found.figures["kid_lite0_raw"]) == ("0.1", 100.0)
    assert found.generator is not None
    assert found.generator.read_bytes() == made.weights["first"]
    assert found.samples is None
    assert found.holdout == HOLDOUT[:36]


def test_two_are_compared(made: Made, tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["compare", "first", made.run_ids["brave"], "-o", str(tmp_path / "c.png")])
    assert result.exit_code == 0, result.output
    assert ["lr", "0.1", "0.2"] in [line.split() for line in result.output.splitlines()]
    assert "100.0 ± 1.0" in result.output
    assert "-10.0 ± 1.4" in result.output
    assert "yes, better" in result.output
    assert (tmp_path / "c.png").stat().st_size > 0


@pytest.mark.parametrize(
    ("name", "says"),
    [
        pytest.param("nobody", "nobody is neither a commit", id="unknown"),
        pytest.param("twice", "twice fits 2 MLflow runs", id="two of a name"),
        pytest.param("HEAD:metrics", "HEAD:metrics is neither", id="a folder"),
        pytest.param("", " is neither", id="no name"),
    ],
)
def test_what_is_not_known_ends_with_2(made: Made, tmp_path: Path, name: str, says: str) -> None:
    with pytest.raises(ParamsError, match=says):
        find_results(name, tmp_path / "0")
    result = CliRunner().invoke(app, ["compare", "first", name, "-o", str(tmp_path / "c.png")])
    assert result.exit_code == 2
    assert not (tmp_path / "c.png").exists()


def test_known_but_without_results(made: Made, tmp_path: Path, params: Params) -> None:
    made.project.run("git", "rm", "--quiet", "--cached", "metrics/evaluate.json")
    made.project.run("git", "commit", "--quiet", "--message", "no figures")
    made.project.run("git", "tag", "bare")
    made.project.run("git", "reset", "--quiet", "first")
    with pytest.raises(StageError, match=r"bare \(commit .*\) has no results"):
        find_results("bare", tmp_path / "0")


@pytest.mark.parametrize("lock", ["schema: '2.0'\n", "stages:\n", "stages: {}\n"])
def test_figures_without_a_stage_that_made_them_are_none(made: Made, tmp_path: Path, lock: str) -> None:
    before = Path("dvc.lock").read_text()
    Path("dvc.lock").write_text(lock)
    try:
        with pytest.raises(StageError, match=r"has no results: dvc\.lock lists none of evaluate"):
            find_results("workspace", tmp_path / "0")
    finally:
        Path("dvc.lock").write_text(before)


@pytest.mark.parametrize(
    ("stale", "change"),
    [
        pytest.param("evaluate", lambda stages: stages["train"]["outs"][0], id="a file"),
        pytest.param("train", lambda stages: stages["train"]["deps"][0], id="a file in a folder"),
    ],
)
def test_a_stage_that_was_run_alone_is_no_result(
    made: Made, tmp_path: Path, stale: str, change: Callable[[dict], dict]
) -> None:
    lock = Path("dvc.lock").read_text()
    changed = read_yaml(Path("dvc.lock"))
    change(changed["stages"])["md5"] = "f" * 32
    Path("dvc.lock").write_text(json.dumps(changed))
    try:
        with pytest.raises(
            StageError, match=rf"workspace \(what is here now\) is half made: {stale} has not run since"
        ):
            find_results("workspace", tmp_path / "0")
    finally:
        Path("dvc.lock").write_text(lock)


def test_figures_are_not_shown_beside_the_faces_of_other_weights(made: Made, tmp_path: Path) -> None:
    here = Path("models/generator.safetensors")
    weights = here.read_bytes()
    here.unlink()  # it may be a link into DVC's cache
    here.write_bytes(b"imported")
    try:
        with pytest.raises(StageError, match="is not the one that the figures are of; 'dvc checkout --force"):
            find_results("workspace", tmp_path / "0")
    finally:
        here.write_bytes(weights)


def test_settings_that_were_edited_since_are_named(made: Made, tmp_path: Path) -> None:
    assert find_results("workspace", tmp_path / "0").edited == ["lr"]
    assert find_results("first", tmp_path / "1").edited == []


def test_figures_that_dvc_has_not_noted_are_not_shown_beside_its_settings(made: Made, tmp_path: Path) -> None:
    here = Path("metrics/evaluate.json")
    figures = here.read_bytes()
    here.unlink()
    here.write_text('{"kid_lite0_raw": 1.0}')
    try:
        with pytest.raises(StageError, match=r"evaluate\.json is not what its dvc.lock lists"):
            find_results("workspace", tmp_path / "0")
    finally:
        here.write_bytes(figures)


def test_weights_that_are_gone_leave_the_logged_picture(made: Made, tmp_path: Path) -> None:
    shutil.rmtree(".dvc/cache")
    found = find_results(made.run_ids["first"], tmp_path / "0")
    assert found.generator is None
    assert found.samples is not None
    assert found.samples.read_bytes().startswith(b"\x89PNG")
    revision = find_results("first", tmp_path / "1")
    assert (revision.generator, revision.figures["kid_lite0_raw"]) == (None, 100.0)

"""All five stages through real dvc and real MLflow, on a few hundred miniature faces."""

from __future__ import annotations

import csv
import hashlib
import json
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image
from scipy.spatial.distance import cdist

from pipeline.dcgan.sampling import generate, load_evaluated, sample_noise
from pipeline.metrics.backbone import open_backbone
from pipeline.metrics.features import extract_features
from pipeline.metrics.scores import figure_name
from pipeline.params import load_params
from tests.e2e.project import Project

STATES = {"Queued", "Running", "Success", "Failed"}  # of a task in DVC's queue
QUEUE_SECONDS = 600
STAGES = ["crawl-import", "filter", "resize", "train", "evaluate"]

pytestmark = pytest.mark.filterwarnings(
    "ignore::DeprecationWarning", "ignore::ResourceWarning", "ignore::FutureWarning"
)


def test_every_pinned_output_is_there(project: Project) -> None:
    for path in (
        *(
            "data/verdicts.parquet",
            "plots/rejects.csv",
            "plots/histograms.csv",
            "plots/losses.csv",
            "plots/samples.png",
            "reports/filter.html",
            "reports/evaluate.html",
        ),
        *(f"data/faces/{name}.npy" for name in ("train", "holdout_clean", "holdout_raw", "holdout_pristine")),
        *(f"models/{name}.safetensors" for name in ("generator", "generator_live", "discriminator")),
    ):
        assert (project.folder / path).stat().st_size > 0, path
    assert not list(project.folder.rglob(".*.[0-9]*.*")), "temporary files are left"


def test_every_image_has_a_verdict_and_the_counts_agree(project: Project) -> None:
    figures = {
        stage: json.loads((project.folder / f"metrics/{stage.replace('-', '_')}.json").read_text()) for stage in STAGES
    }
    verdicts = pq.read_table(project.folder / "data/verdicts.parquet").to_pylist()
    assert [verdict["row"] for verdict in verdicts] == list(range(260))
    assert all(verdict["kept"] == (verdict["reason"] is None) for verdict in verdicts)
    kept = sum(verdict["kept"] for verdict in verdicts)
    assert figures["crawl-import"]["images"] == figures["filter"]["input"] == 260
    assert figures["filter"]["kept"] == kept == figures["resize"]["train"] + figures["resize"]["holdout_clean"]
    assert figures["filter"]["rejected.unreadable"] == figures["crawl-import"]["unreadable"] == 5
    assert figures["filter"]["rejected.too small"] == 5
    assert np.load(project.folder / "data/faces/train.npy").shape == (figures["resize"]["train"], 32, 32, 3)
    assert figures["evaluate"]["n_generated"] == 64
    assert {"kid_lite0_clean", "kid_lite0_clean_se", "kid_lite0_raw", "kid_lite0_pristine", "kid_lite0_floor"} <= set(
        figures["evaluate"]
    )
    assert {"fd_lite0_clean", "precision", "recall", "density", "coverage"} <= set(figures["evaluate"])
    assert {"swd_lite0_raw", "swd_lite0_floor", "diversity", "diversity_floor", "copied_share"} <= set(
        figures["evaluate"]
    )
    assert {"kimg", "seconds", "img_per_s", "lossD", "lossG"} <= set(figures["train"])


def test_the_figures_are_those_of_their_own_generator_and_ruler(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Made again from the project's files, by formulas of this test's own."""
    monkeypatch.chdir(project.folder)
    figures, params = json.loads(Path("metrics/evaluate.json").read_text()), load_params()
    backbone = open_backbone(torch.device("cpu"), 32, 3)
    arrays = {name: np.load(f"data/faces/{name}.npy") for name in ("train", "holdout_raw", "holdout_pristine")}
    real = {name: extract_features(faces, backbone, name).astype(np.float64) for name, faces in arrays.items()}
    nets = load_evaluated(params, torch.device("cpu"))
    z = sample_noise(64, nets[""].nz, params.seed + 1)
    faces = {who: generate(netG, z, 64) for who, netG in nets.items()}
    fake = {who: extract_features(some, backbone, who).astype(np.float64) for who, some in faces.items()}
    for who in ("", "live"):
        for ruler in ("raw", "pristine"):
            name = figure_name("kid_lite0", who, ruler)
            assert figures[name] == pytest.approx(1000 * kid(fake[who], real[f"holdout_{ruler}"]), rel=0.001), name
    assert abs(figures["kid_lite0_raw"] / figures["kid_lite0_live_raw"] - 1) > 0.005, "too alike to tell them apart"

    drawn, held = (cdist(some, real["train"]) for some in (fake[""], real["holdout_raw"]))
    nearer = np.percentile(held.min(axis=1), params.evaluate.copied_percentile, method="weibull")
    assert figures["copied_share"] == pytest.approx((drawn.min(axis=1) < nearer).mean(), abs=0.02)
    with Image.open("plots/suspicious.png") as sheet:  # the likest pair is the first: one over the other
        first = np.asarray(sheet)[2:70].astype(int)
    suspect = int(drawn.min(axis=1).argmin())
    twin = arrays["train"][drawn[suspect].argmin()]
    assert np.abs(first[:32, 2:34] - faces[""][suspect]).max() <= 2
    assert (first[34:66, 2:34] == twin).all()


def kid(fake: np.ndarray, real: np.ndarray) -> float:
    """Binkowski et al. 2018, equations 3 and 4."""

    def kernel(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return (x @ y.T / x.shape[1] + 1) ** 3

    own = sum((kernel(x, x).sum() - np.trace(kernel(x, x))) / (len(x) * (len(x) - 1)) for x in (fake, real))
    return float(own - 2 * kernel(fake, real).mean())


def test_mlflow_has_the_invocation_and_its_stages(project: Project) -> None:
    parent = project.parents()[0]
    assert parent.info.run_name.startswith("repro-")
    assert project.children(parent) == STAGES
    assert {run.info.status for run in project.runs()} == {"FINISHED"}
    assert parent.data.params["lr"] == "0.0002"
    headline = {"kid_lite0_raw", "kid_lite0_raw_se", "precision", "recall", "img_per_s", "kept_share", "kimg"}
    assert headline <= parent.data.metrics.keys()
    counts = json.loads((project.folder / "metrics/filter.json").read_text())
    assert parent.data.metrics["kept_share"] == round(counts["kept"] / counts["input"], 4)
    assert parent.data.tags["git_commit"] == project.run("git", "rev-parse", "HEAD~1").strip()
    pictures = [path.name for path in (project.artifacts(parent) / "images").iterdir()]
    for key in ("train samples", "evaluate samples"):
        assert any(name.startswith(key) for name in pictures), key
    for run in project.runs():
        stage = run.data.tags.get("stage")
        if stage is not None:
            assert run.inputs.dataset_inputs, f"{stage} names no input"


def test_a_second_repro_runs_nothing(project: Project) -> None:
    before = len(project.runs())
    assert "up to date" in project.run("dvc", "repro")
    assert len(project.runs()) == before


@pytest.mark.long
def test_a_new_learning_rate_runs_two_stages(project: Project, slow: str) -> None:
    (parent,) = (run for run in project.parents() if run.info.run_name == slow)
    assert project.children(parent) == ["train", "evaluate"]
    assert parent.data.params["lr"] == "1e-05"
    assert parent.data.tags["dvc_exp"] == "slow"
    assert "slow" in project.run("dvc", "exp", "show", "--csv")
    # What DVC took from its cache is shown all the same, with the runs that made it.
    first = project.parents()[0]
    makers = {run.data.tags["stage"]: run.info.run_id for run in project.children_of(first)}
    for stage in ("crawl-import", "filter", "resize"):
        assert parent.data.tags[f"skipped.{stage}"] == makers[stage]
        assert makers[stage] in parent.data.tags["mlflow.note.content"]
    assert "skipped.train" not in parent.data.tags
    assert not any(tag.startswith("skipped.") for tag in first.data.tags)
    unchanged = {"filter/kept", "filter/rejected.too small", "crawl-import/images", "resize/train", "kept_share"}
    assert {name: parent.data.metrics[name] for name in unchanged} == {
        name: first.data.metrics[name] for name in unchanged
    }
    assert first.data.metrics.keys() == parent.data.metrics.keys()


@pytest.mark.long
def test_a_sweep_of_eight_with_two_workers_and_one_that_fails(project: Project) -> None:
    before = {run.info.run_id for run in project.parents()}
    queue = ("dvc", "exp", "run", "--queue")
    # So many faces that no batch is filled: known to train alone.
    project.run(*queue, "--name", "broken", "--set-param=batch_size=4096")
    project.run(*queue, "--name", "whole", "--set-param=num_epochs=1")
    sweep = ("lr=0.0001,0.0003,0.0004", "beta1=0.5,0.6")
    project.run(*queue, *(f"--set-param={values}" for values in sweep), "train")
    project.environment["OMP_NUM_THREADS"] = "1"
    told = work_off(project)
    del project.environment["OMP_NUM_THREADS"]
    assert {status: len(names) for status, names in told.items()} == {"Success": 7, "Failed": 1}
    assert told["Failed"] == ["broken"]
    assert "faces do not fill one batch of 4096" in project.run("dvc", "queue", "logs", "broken")

    new = {run.info.run_name: run for run in project.parents() if run.info.run_id not in before}
    assert sorted(new) == sorted(told["Success"] + told["Failed"])
    broken = new.pop("broken")
    assert [(run.data.tags["stage"], run.info.status) for run in project.children_of(broken)] == [("train", "FAILED")]
    assert broken.info.status == "FAILED"
    assert {run.info.status for run in new.values()} == {"FINISHED"}
    whole = new.pop("whole")
    assert whole.data.params["num_epochs"] == "1"
    assert project.children(whole) == ["train", "evaluate"]
    assert "kid_lite0_raw" in whole.data.metrics
    grid = {(run.data.params["lr"], run.data.params["beta1"]) for run in new.values()}
    assert grid == {(lr, beta1) for lr in ("0.0001", "0.0003", "0.0004") for beta1 in ("0.5", "0.6")}
    for run in new.values():
        (train,) = project.children_of(run)
        assert train.data.tags["stage"] == "train"
        assert {key: run.data.params[key] for key in ("lr", "beta1")}.items() <= train.data.params.items()

    shown = {row["Experiment"]: row for row in csv.DictReader(project.run("dvc", "exp", "show", "--csv").splitlines())}
    assert {*told["Success"], "broken"} <= shown.keys()
    assert shown["broken"]["State"] == "Failed"

    # Its results come back, the models too: those that its evaluation read.
    project.run("dvc", "exp", "apply", "whole")
    read = {one.dataset.name: one.dataset.digest for one in project.children_of(whole)[1].inputs.dataset_inputs}
    weights = (project.folder / "models/generator.safetensors").read_bytes()
    assert hashlib.md5(weights, usedforsecurity=False).hexdigest() == read["models/generator.safetensors"]
    assert "up to date" in project.run("dvc", "status")
    project.run("git", "checkout", "--quiet", ".")
    project.run("dvc", "checkout", "--quiet")


def work_off(project: Project) -> dict[str, list[str]]:
    """Have two workers do all that is in DVC's queue, and return queued() of then."""
    project.run("dvc", "queue", "start", "-j", "2")
    began = time.monotonic()
    while (told := queued(project)).keys() & {"Queued", "Running"}:
        assert time.monotonic() - began < QUEUE_SECONDS, told
        time.sleep(1)
    return told


def queued(project: Project) -> dict[str, list[str]]:
    """Return the names of the queue's experiments by what became of them."""
    told: dict[str, list[str]] = {}
    for line in project.run("dvc", "queue", "status").splitlines()[1:]:
        words = line.split()
        if words and (status := next((word for word in words if word in STATES), None)):
            told.setdefault(status, []).append(words[1])
    return told


@pytest.mark.long
def test_an_experiment_in_a_temporary_checkout_lands_in_the_main_store(project: Project) -> None:
    before = len(project.parents())
    project.run("dvc", "exp", "run", "--temp", "-S", "evaluate.n_generated=65", "--name", "elsewhere")
    parents = project.parents()
    assert len(parents) == before + 1
    assert parents[-1].info.run_name == "elsewhere"
    assert project.children(parents[-1]) == ["evaluate"]


@pytest.mark.long
def test_a_training_that_is_stopped_is_failed_for_dvc_and_for_mlflow(project: Project) -> None:
    before = {run.info.run_id for run in project.runs()}
    # netD has won as soon as it is right about anything.
    settings = {"collapse_ticks": 2, "collapse_D_G_z": 1.0, "collapse_lossG": 0.0, "stop_on_collapse": "true"}
    # None of them can change what a training leaves behind, so that DVC needs another reason to train.
    wanted = ["--set-param=seed=1", *(f"--set-param=train.{name}={value}" for name, value in settings.items())]
    printed = project.run("dvc", "exp", "run", "--temp", "--name", "lost", *wanted, fails=True)
    assert "train: stopped at step 2: netD wins" in printed
    new = [run for run in project.runs() if run.info.run_id not in before]
    assert {run.data.tags.get("stage", "parent"): run.info.status for run in new} == {
        "parent": "FAILED",
        "train": "FAILED",
    }
    (train,) = (run for run in new if "stage" in run.data.tags)
    assert "stopped at step 2: netD wins" in train.data.tags["error"]
    assert "step 2: netD wins" in train.data.tags["collapse"]
    assert "lost" not in project.run("dvc", "exp", "show", "--csv")


@pytest.mark.long
def test_filter_switched_off_passes_every_readable_image(new_project: Callable[[], Project]) -> None:
    project = new_project()
    project.edit("params.yaml", {"filter": {"enabled": False}})
    project.run("dvc", "repro", "filter")
    verdicts = pq.read_table(project.folder / "data/verdicts.parquet").to_pylist()
    assert {verdict["reason"] for verdict in verdicts} <= {None, "unreadable", "holdout twin"}
    assert {verdict["repair"] for verdict in verdicts} == {None}


@pytest.mark.parametrize("stage", STAGES)
def test_bad_params_end_with_2_before_any_work(new_project: Callable[[], Project], stage: str) -> None:
    project = new_project()
    project.edit("params.yaml", {"lr": "abc", "train": {"speed": "fast"}})
    process = project.popen("python", "-m", f"stages.{stage.replace('-', '_')}")
    printed = process.communicate()[0]
    assert process.returncode == 2
    assert f"{stage}: params.yaml: lr: input should be a valid number" in printed
    assert "params.yaml: train.speed: unknown key" in printed
    assert len(printed.splitlines()) == 2
    assert not (project.folder / "mlflow.db").exists()


def test_a_stage_without_its_input_says_what_to_run(new_project: Callable[[], Project]) -> None:
    project = new_project()
    process = project.popen("python", "-m", "stages.resize")
    printed = process.communicate()[0]
    assert process.returncode == 1
    assert "resize: data/clean holds no shards; run 'dvc repro filter' first" in printed
    (failed, parent) = sorted(project.runs(), key=lambda run: run.data.tags.get("kind", ""))
    assert failed.info.status == parent.info.status == "FAILED"
    assert "data/clean holds no shards" in failed.data.tags["error"]

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from pipeline import paths
from pipeline.cleaning.decide import VERDICT_SCHEMA
from pipeline.cleaning.measures import Measures
from pipeline.cli import app
from pipeline.dcgan.networks import Discriminator, Generator
from pipeline.dcgan.sampling import generate, load_generator, sample_noise
from pipeline.dcgan.weights import read_weights, save_weights
from pipeline.params import Params
from pipeline.reports.study import Arm, Level
from pipeline.study import ARMS, FULL, QUICK
from pipeline.verdicts import write_verdicts


@pytest.fixture
def weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A generator of 32×32 faces in the place where train writes it; the current folder is its project's."""
    monkeypatch.chdir(tmp_path)
    return make_weights(nc=3)


def make_weights(nc: int) -> str:
    netG = Generator(nz=5, ngf=4, nc=nc, image_size=32)
    netG(sample_noise(8, 5, 1))
    metadata = {"nz": "5", "ngf": "4", "nc": str(nc), "image_size": "32"}
    save_weights(Path("models/generator.safetensors"), netG.eval(), metadata)
    return "models/generator.safetensors"


def dcgan(*words: str) -> tuple[int, str]:
    """Return the exit code and all that was printed."""
    result = CliRunner().invoke(app, words)
    return result.exit_code, result.output


def pixels(path: str | Path) -> np.ndarray:
    with Image.open(path) as image:
        assert image.format == "PNG"
        return np.asarray(image.convert("RGB"))


SLOW = {
    *("dask", "dvc", "lightning_fabric", "matplotlib", "mlflow", "onnx", "onnxruntime"),
    *("pandas", "pyarrow", "scipy", "scrapy", "skimage", "timm", "twisted"),
}


def slow_modules(*words: str) -> set[str]:
    """Return which modules of SLOW, torch and torchvision the command has imported at its end, in a new process."""
    code = f"import sys; from pipeline.cli import app; app({list(words)}, standalone_mode=False); print(*sys.modules)"
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    return (SLOW | {"torch", "torchvision"}) & set(printed.splitlines()[-1].split())


def test_help_and_completion_import_nothing_that_takes_long() -> None:
    assert slow_modules("generate", "--help") == set()


@pytest.mark.parametrize(
    "words",
    [("generate", "-n", "1"), ("interpolate", "--rows", "1"), ("walk", "-n", "1", "--steps", "2")],
    ids=lambda words: words[0],
)
def test_drawing_imports_nothing_else_that_takes_long(words: tuple[str, ...], weights: str) -> None:
    assert slow_modules(*words) == {"torch", "torchvision"}


def test_a_grid(weights: str) -> None:
    assert dcgan("generate", "some/grid.png", "--count", "6", "--columns", "3") == (
        0,
        "6 faces: some/grid.png\n",
    )
    assert pixels("some/grid.png").shape == (2 * 32 + 3 * 2, 3 * 32 + 4 * 2, 3)


def test_loose_files(weights: str) -> None:
    assert dcgan("generate", "faces", "-n", "11")[0] == 0
    names = sorted(path.name for path in Path("faces").iterdir())
    assert names == [f"{number:02}.png" for number in range(11)]
    assert {pixels(f"faces/{name}").shape for name in names} == {(32, 32, 3)}
    assert dcgan("generate", "faces", "-n", "10") == (0, "10 faces: faces, beside 11 older files\n")


def test_a_model_without_its_slash_is_told(weights: str) -> None:
    said = (
        "dcgan: models:anime-dcgan@champion is no model; they are written models:/NAME@ALIAS or models:/NAME/VERSION\n"
    )
    assert dcgan("generate", "--weights", "models:anime-dcgan@champion") == (2, said)


def test_a_seed_is_a_set_of_faces(weights: str) -> None:
    for name, seed in (("one", "1"), ("again", "1"), ("other", "2")):
        dcgan("generate", f"{name}.png", "--seed", seed)
    assert Path("one.png").read_bytes() == Path("again.png").read_bytes()
    assert Path("one.png").read_bytes() != Path("other.png").read_bytes()


def test_truncation_multiplies_the_noise(weights: str) -> None:
    dcgan("generate", "faces", "-n", "2", "--truncation", "0")
    assert np.array_equal(pixels("faces/0.png"), pixels("faces/1.png"))
    dcgan("generate", "faces", "-n", "2", "--truncation", "1")
    assert not np.array_equal(pixels("faces/0.png"), pixels("faces/1.png"))


def test_luma_faces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    make_weights(nc=1)
    assert dcgan("generate", "faces", "-n", "1")[0] == 0
    face = pixels("faces/0.png")
    assert (face == face[:, :, :1]).all()
    assert dcgan("generate", "grid.png")[0] == 0


def test_the_way_between_two_faces_begins_and_ends_with_them(weights: str) -> None:
    assert dcgan("interpolate", "way.png", "--rows", "2", "--steps", "4", "--seed", "3")[0] == 0
    way = pixels("way.png")
    assert way.shape == (2 * 32 + 3 * 2, 4 * 32 + 5 * 2, 3)
    dcgan("generate", "ends", "-n", "4", "--seed", "3")
    first, last = way[2:34, 2:34], way[2:34, -34:-2]
    # A batch of another size may round another way.
    assert np.abs(first.astype(int) - pixels("ends/0.png")).max() <= 1
    assert np.abs(last.astype(int) - pixels("ends/2.png")).max() <= 1


def test_a_walk_passes_its_stops_and_comes_back(weights: str) -> None:
    words = ["walk", "walk.gif", "-n", "2", "--columns", "2", "--stops", "3", "--steps", "4", "--seed", "5"]
    assert dcgan(*words) == (0, "12 frames of 2 faces: walk.gif\n")
    dcgan("generate", "stops", "-n", "6", "--seed", "5")
    with Image.open("walk.gif") as film:
        assert (film.n_frames, film.size) == (12, (2 * 32 + 3 * 2, 32 + 2 * 2))
        for stop in range(3):
            film.seek(4 * stop)
            frame = np.asarray(film.convert("RGB")).astype(int)
            for face in range(2):
                left = 2 + 34 * face
                # A GIF has 256 colours.
                shown, drawn = frame[2:34, left : left + 32], pixels(f"stops/{2 * stop + face}.png")
                assert np.abs(shown - drawn).mean() < 8


def test_a_walk_as_mp4_has_the_frames_of_the_gif(weights: str) -> None:
    for name in ("walk.gif", "walk.mp4"):
        words = ["walk", name, "-n", "2", "--columns", "2", "--stops", "2", "--steps", "3"]
        assert dcgan(*words) == (0, f"6 frames of 2 faces: {name}\n")
    film = cv2.VideoCapture("walk.mp4")
    with Image.open("walk.gif") as gif:
        for number in range(6):
            gif.seek(number)
            there, frame = film.read()
            assert there
            # Of colours each keeps something else.
            assert np.abs(frame[:, :, ::-1].astype(int) - np.asarray(gif.convert("RGB"))).mean() < 12
    assert not film.read()[0]
    assert not list(Path().glob(".*")), "temporary files are left"


def test_a_film_has_no_sides_that_its_format_can_not_say(weights: str) -> None:
    code, told = dcgan("walk", "-n", "2000", "--columns", "2000", "--stops", "2", "--steps", "2")
    assert (code, told) == (
        1, "dcgan: a film has at most 65,535 pixels a side; take fewer faces or other columns\n"
    )  # fmt: skip
    assert not Path("walk.gif").exists()


@pytest.mark.parametrize(
    "words",
    [
        pytest.param(("walk", "--stops", "100000000000"), id="a film"),
        pytest.param(("interpolate", "--steps", "100000000000"), id="a picture"),
    ],
)
def test_more_than_a_million_faces_are_refused(words: tuple[str, ...], weights: str) -> None:
    code, told = dcgan(*words)
    assert code == 2
    assert "at most 1,000,000" in told


def test_a_film_that_there_is_no_room_for_leaves_the_one_before(tmp_path: Path) -> None:
    """OpenCV writes half of it and says nothing."""
    (tmp_path / "walk.mp4").write_bytes(b"the one before")
    code = (
        "import numpy, resource; from pathlib import Path; from pipeline.reports.video import write_mp4;"
        "frames = list(numpy.random.default_rng(0).integers(0, 256, (8, 64, 64, 3), numpy.uint8));"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (2_000, 2_000)); write_mp4(frames, Path('walk.mp4'), 80)"
    )
    found = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert found.returncode == 1
    assert "StageError: walk.mp4 can't be written" in found.stderr
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"the one before"]


@pytest.mark.parametrize(
    "words",
    [
        pytest.param(["walk", "walk.png"], id="no film"),
        pytest.param(["walk", "--stops", "1"], id="a walk on the spot"),
        pytest.param(["generate", "--count", "0"], id="no faces"),
        pytest.param(["generate", "--count", "many"], id="no number"),
        pytest.param(["generate", "--count", str(10**12)], id="more faces than memory"),
        pytest.param(["generate", "--seed", "-1"], id="a negative seed"),
        pytest.param(["generate", "--seed", str(2**64)], id="a seed of too many digits"),
        pytest.param(["generate", "--truncation", "-0.5"], id="a negative truncation"),
        pytest.param(["generate", "--truncation", "1e300"], id="a truncation beyond all numbers"),
        pytest.param(["generate", "--truncation", "nan"], id="a truncation that is no number"),
        pytest.param(["walk", "--truncation", "inf"], id="a truncation without an end"),
        pytest.param(["generate", "faces.jpg"], id="no PNG"),
        pytest.param(["generate", "--colour"], id="an unknown option"),
        pytest.param(["interpolate", "--steps", "1"], id="no way between"),
        pytest.param(["interpolate", "folder"], id="no file"),
        pytest.param(["import-weights"], id="no weights to import"),
        pytest.param(["export-weights"], id="no place to export to"),
        pytest.param(["export-weights", "--out", "models/generator.safetensors"], id="what it is exported from"),
        pytest.param(["export-onnx", "--out", "netG.pth"], id="no ONNX file"),
        pytest.param(["explain"], id="no image to explain"),
        pytest.param(["compare", "HEAD"], id="nothing to compare with"),
        pytest.param(["compare", "HEAD", "HEAD", "--out", "grids.gif"], id="no PNG to compare in"),
        pytest.param(["promote"], id="nothing to promote"),
        pytest.param(["promote", "slow", "--most-faces", "0"], id="a model that draws nothing"),
        pytest.param(["soil", "faces"], id="no place for the soiled"),
        pytest.param(["soil", "faces", "out", "--share", "1.1"], id="more than all soiled"),
        pytest.param(["train"], id="an unknown command"),
        pytest.param([], id="nothing"),
    ],
)
def test_bad_usage(words: list[str], weights: str) -> None:
    before = sorted(Path().rglob("*"))
    assert dcgan(*words)[0] == 2
    assert sorted(Path().rglob("*")) == before


@pytest.mark.parametrize(
    "words",
    [["generate"], ["interpolate"], ["export-weights", "--out", "netG.pth"], ["export-onnx", "--out", "netG.onnx"]],
)
def test_no_generator(words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    expected = "dcgan: models/generator.safetensors is missing; run 'dvc repro train' first, from the project's root\n"
    assert dcgan(*words) == (1, expected)
    assert list(Path().iterdir()) == []


def test_the_generator_alone_decides_what_is_drawn(weights: str) -> None:
    dcgan("generate", "faces", "-n", "1", "--seed", "4", "--weights", weights)
    netG = load_generator(Path(weights), torch.device("cpu"))
    assert np.array_equal(pixels("faces/0.png"), generate(netG, sample_noise(1, 5, 4), 1)[0])


def test_weights_travel_out_and_in(weights: str) -> None:
    assert dcgan("export-weights", "--out", "netG.pth") == (0, "Generator: netG.pth\n")
    told = "Generator, image_size 32, nc 3, nz 5, ngf 4, weights imported: back.safetensors\n"
    assert dcgan("import-weights", "netG.pth", "--out", "back.safetensors") == (0, told)
    dcgan("generate", "here.png")
    assert dcgan("generate", "back.png", "--weights", "back.safetensors")[0] == 0
    assert Path("here.png").read_bytes() == Path("back.png").read_bytes()


def test_a_discriminator_travels_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save(Discriminator(ndf=4, nc=1, image_size=32).state_dict(), "netD.pth")
    assert dcgan("import-weights", "netD.pth")[0] == 0
    metadata = {"image_size": "32", "nc": "1", "ndf": "4", "weights": "imported"}
    assert read_weights(paths.DISCRIMINATOR)[1] == metadata
    words = ["export-weights", "--weights", str(paths.DISCRIMINATOR), "--out", "again.pth"]
    assert dcgan(*words) == (0, "Discriminator: again.pth\n")
    code, text = dcgan("generate", "--weights", str(paths.DISCRIMINATOR))
    assert (code, text.count("\n")) == (1, 1)


def test_a_trained_generator_is_replaced_only_by_force(weights: str) -> None:
    trained = Path(weights).read_bytes()
    torch.save(Generator(nz=3, ngf=2, nc=1, image_size=64).state_dict(), "netG.pth")
    refusal = "dcgan: models/generator.safetensors is there already; --force replaces it\n"
    assert dcgan("import-weights", "netG.pth") == (1, refusal)
    assert Path(weights).read_bytes() == trained
    assert dcgan("import-weights", "netG.pth", "--force")[0] == 0
    assert load_generator(Path(weights), torch.device("cpu")).image_size == 64


class Runs:
    """A pickle of it makes the folder `marker` when it is loaded."""

    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, ("marker",)


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(Runs(), id="a program"),
        pytest.param({"main.0.weight": torch.zeros(3)}, id="another network"),
        pytest.param({"epoch": 3}, id="no network"),
        pytest.param(None, id="missing"),
    ],
)
def test_what_does_not_come_in(content: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    if content is not None:
        torch.save(content, "netG.pth")
    before = sorted(Path().rglob("*"))
    code, text = dcgan("import-weights", "netG.pth", "--force")
    assert code == 1
    assert text.startswith("dcgan: ")
    assert text.count("\n") == 1
    assert sorted(Path().rglob("*")) == before


@pytest.fixture
def filtered(root: Path, params: Params, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project whose filter kept a/face.png and b/face.png."""
    monkeypatch.chdir(tmp_path)
    shutil.copy(root / "params.yaml", "params.yaml")
    row = dict.fromkeys(VERDICT_SCHEMA.names) | dict.fromkeys(Measures._fields, 50.0) | {"kept": True, "split": "train"}
    rows = [row | {"row": at, "path": f"{name}/face.png", "id": name * 64} for at, name in enumerate("ab")]
    write_verdicts(pa.Table.from_pylist(rows, schema=VERDICT_SCHEMA), params.filter, paths.VERDICTS)
    return tmp_path


def test_an_image_is_explained(filtered: Path) -> None:
    code, text = dcgan("explain", "bbbbbb")
    assert code == 0
    assert text.startswith("b/face.png\n  row 1, train, id bbbb")
    assert "over max_blur 0.48" in text
    assert "a/face.png" not in text
    assert "The thresholds" not in text


def test_all_images_of_one_name_are_explained(filtered: Path) -> None:
    code, text = dcgan("explain", "face.png")
    assert code == 0
    assert [line for line in text.splitlines() if line.endswith("face.png")] == ["a/face.png", "b/face.png"]


def test_of_many_images_five_are_explained(filtered: Path, params: Params) -> None:
    rows = pq.read_table(paths.VERDICTS).to_pylist() * 4
    write_verdicts(pa.Table.from_pylist(rows, schema=VERDICT_SCHEMA), params.filter, paths.VERDICTS)
    _, text = dcgan("explain", "face.png")
    assert text.count("dropped where") == 5
    assert text.endswith("\nand 3 more; give a path or an id\n")


def test_the_thresholds_are_those_of_the_run(filtered: Path) -> None:
    settings = Path("params.yaml")
    settings.write_text(settings.read_text().replace("max_blur: 0.48", "max_blur: 0.6"))
    code, text = dcgan("explain", "a/face.png")
    assert code == 0
    assert "over max_blur 0.48" in text
    assert text.endswith("params.yaml has changed since:\n  filter.max_blur is 0.6, was 0.48\n")
    pq.write_table(pq.read_table(paths.VERDICTS).replace_schema_metadata(None), paths.VERDICTS)
    _, text = dcgan("explain", "a/face.png")
    assert "over max_blur 0.6" in text
    assert "data/verdicts.parquet does not say which" in text


def test_what_cannot_be_explained(filtered: Path) -> None:
    code, text = dcgan("explain", "nobody.png")
    assert code == 1
    assert text.startswith("dcgan: no image is called nobody.png; give a path or a file name")
    paths.VERDICTS.unlink()
    expected = "dcgan: data/verdicts.parquet is missing; run 'dvc repro filter' first\n"
    assert dcgan("explain", "a/face.png") == (1, expected)
    Path("params.yaml").write_text("lr: fast\n")
    assert dcgan("explain", "a/face.png")[0] == 2


def test_pictures_are_soiled(
    root: Path, tmp_path: Path, picture: np.ndarray, save: Callable[..., bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copy(root / "params.yaml", "params.yaml")
    Path("faces").mkdir()
    for name in ("a", "b", "c", "d"):
        Path(f"faces/{name}.png").write_bytes(save(picture, "PNG"))
    Path("faces/note.txt").write_text("no picture")
    code, text = dcgan("soil", "faces", "my faces", "--share", "0")
    assert code == 0
    assert "4 pictures, 0 damaged or copied, 1 files skipped: my faces; now run " in text
    assert "now run python -m benchmarks.filter_quality 'my faces'\n" in text
    code, text = dcgan("soil", "faces", "my faces")
    assert (code, text) == (1, "dcgan: soil: my faces is there already; name another, or remove it first\n")
    Path("params.yaml").write_text("lr: fast\n")
    assert dcgan("soil", "faces", "other")[0] == 2
    assert not Path("other").exists()


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch, root: Path, tmp_path: Path) -> list:
    """The forms that run_study was asked for; one training fails, and all do where none but raw is wanted."""
    forms: list = []
    (tmp_path / "data").mkdir()
    for file in ("params.yaml", "data/builtin.yaml"):
        shutil.copy(root / file, tmp_path / file)
    monkeypatch.chdir(tmp_path)

    def run_study(form, jobs, say):
        forms.append((form, jobs))
        outcomes = {0: {"kimg": 1.0, "pristine": 400.0}} if len(form.arms) > 1 else {}
        return [Level(0.4, [Arm(arm, 9, outcomes) for arm in form.arms])], ["raw-seed0 failed"]

    monkeypatch.setattr("pipeline.study.run_study", run_study)
    monkeypatch.setattr("pipeline.reports.study.write_study", lambda *_: "the page")
    monkeypatch.setattr("signal.signal", lambda *_: None)
    return forms


def test_a_study_prints_its_page_and_fails_where_a_training_did(asked: list) -> None:
    found = CliRunner().invoke(app, ["study", "cleaning"])
    assert found.exit_code == 1
    assert "the page" in found.stdout
    assert "1 failed" in found.stderr
    assert "raw-seed0 failed" in found.stderr
    assert asked == [(replace(FULL, arms=list(FULL.arms), dirt=list(FULL.dirt)), 2)]


def test_what_is_not_the_whole_study_goes_beside_the_published_one(asked: list) -> None:
    """And where every training failed nothing is written in the place of what is there."""
    found = CliRunner().invoke(app, ["study", "cleaning", "--seeds", "3"])
    assert "out/study.md" in found.stdout
    found = CliRunner().invoke(app, ["study", "cleaning"])
    assert "out/study.md" in found.stdout, "one of its trainings failed"
    found = CliRunner().invoke(app, ["study", "cleaning", "--out", "mine"])
    assert "mine/study.md" in found.stdout
    found = CliRunner().invoke(app, ["study", "cleaning", "--arm", "raw"])
    assert (found.exit_code, found.stdout) == (1, "")
    assert [str(form.folder) for form, _ in asked] == ["out", "docs", "mine", "out"]


def test_what_is_given_replaces_the_forms_own(asked: list) -> None:
    words = (
        "--quick --arm raw --arm cleaned --arm raw --seeds 4 --dirt 1.5 --kimg 3 --out there -j 1 -S ngf=8 -S a.b=c=d"
    )
    CliRunner().invoke(app, ["study", "cleaning", *words.split()])
    ((form, jobs),) = asked
    assert (list(form.arms), form.dirt, form.seeds, form.kimg, form.folder, jobs) == (
        *(["raw", "cleaned"], [1.5], 4, 3.0, Path("there"), 1),
    )
    assert form.settings == {**QUICK.settings, "ngf": "8", "a.b": "c=d"}


def test_the_help_names_the_arms() -> None:
    words = CliRunner().invoke(app, ["study", "cleaning", "--help"], env={"COLUMNS": "200"}).output
    assert f"Only these of {', '.join(ARMS)}." in words


@pytest.mark.parametrize("words", ["--quick --long", "-S ngf", "-S =8", "--seeds 1"])
def test_what_makes_no_study_is_refused(asked: list, words: str) -> None:
    assert CliRunner().invoke(app, ["study", "cleaning", *words.split()]).exit_code == 2
    assert asked == []


@pytest.mark.parametrize("store", ["", "http://127.0.0.1:9"], ids=["a database", "a server"])
def test_runs_are_sought_in_a_project_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, store: str) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store)
    assert dcgan("runs") == (2, "dcgan: params.yaml is missing; run from the project's root\n")
    assert list(tmp_path.iterdir()) == [], "an MLflow store was made, or the lock of one"


def test_a_place_that_can_not_be_written_is_named(tmp_path: Path, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copy(root / "params.yaml", "params.yaml")
    Path("faces").mkdir()
    Path("plain").touch()
    assert dcgan("soil", "faces", "plain/soiled") == (1, "dcgan: plain can't be read or written: File exists\n")


@pytest.mark.parametrize(("signum", "code"), [(15, 143), (1, 129)])
def test_a_command_that_is_ended_leaves_nothing_half_made(
    root: Path, tmp_path: Path, picture: np.ndarray, save: Callable[..., bytes], signum: int, code: int
) -> None:
    shutil.copy(root / "params.yaml", tmp_path)
    (tmp_path / "faces").mkdir()
    for number in range(3000):
        (tmp_path / f"faces/{number}.png").write_bytes(save(picture, "PNG") if number < 1 else b"no picture")
    # Under nohup, as of a long run of tests, SIGHUP is ignored, and should be.
    program = f"import signal; signal.signal({signum}, signal.SIG_DFL); from pipeline.cli import main; main()"
    command = [sys.executable, "-c", program, "soil", "faces", "soiled"]
    with subprocess.Popen(command, cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(root)}, stderr=-1) as process:
        while not list(tmp_path.glob(".soiled.*/set/images/*")):
            assert process.poll() is None
            time.sleep(0.001)
        process.send_signal(signum)
        said = process.stderr.read()
    assert process.returncode == code, said
    assert sorted(path.name for path in tmp_path.iterdir()) == ["faces", "params.yaml"]

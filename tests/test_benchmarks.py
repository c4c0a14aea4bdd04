"""The benchmarks' own arithmetic, on labels whose score is known."""

import ast
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

from benchmarks import gamma_net, growth
from benchmarks.crawl_vs_img2dataset import fetch_ours, lifted, write_list
from benchmarks.filter_quality import psnr, reject_score, rejects, score
from benchmarks.filter_vs_peers import one_each
from benchmarks.folder import LEAST, readable_pictures
from benchmarks.hash_search import drawn
from benchmarks.mutation import annotations
from benchmarks.picture_server import picture_server
from benchmarks.recipe_training import RECIPES, train_recipe
from benchmarks.soiled_study import ARMS, lay_aside, outcome, pack_arm
from pipeline.cleaning import gamma
from pipeline.codec import decode, encode_jpeg, encode_png
from pipeline.dcgan.device import open_fabric
from pipeline.reports.study import CLEANED, PRISTINE, RAW
from pipeline.soil import soil
from pipeline.sources.builtin import draw


def label(file, expect, pair="", kind="kind"):
    return {"file": file, "kind": kind, "expect": expect, "pair": pair}


LABELS = [
    label("clean", "keep"),
    label("original", "keep"),
    label("copy", "reject", pair="original", kind="copy"),
    label("blurred", "reject", kind="blurred"),
    label("noisy", "repair"),
]


@pytest.mark.parametrize(
    ("dropped", "precision", "recall"),
    [
        pytest.param({"copy", "blurred"}, 1, 1, id="all"),
        pytest.param({"original", "blurred"}, 1, 1, id="the other of a pair"),
        pytest.param({"copy", "original", "blurred"}, 2 / 3, 1, id="both of a pair"),
        pytest.param({"blurred", "clean", "noisy"}, 1 / 3, 1 / 2, id="wrong ones"),
        pytest.param(set(), 0, 0, id="none"),
    ],
)
def test_rejects_are_scored(dropped, precision, recall):
    scored = reject_score(*rejects(LABELS, dropped))
    assert scored[:2] == pytest.approx((precision, recall))
    assert scored[2] == pytest.approx(2 * precision * recall / max(precision + recall, 1e-9))


def test_of_each_list_of_duplicates_one_stays():
    assert one_each({"a"}, [["a", "b"], ["c", "d", "e"]]) == {"a", "d", "e"}


def test_psnr_of_a_known_error():
    flat = np.zeros((8, 8, 3), np.uint8)
    assert psnr(flat + np.uint8(10), flat) == pytest.approx(28.13, abs=0.01)
    assert psnr(flat, flat) == pytest.approx(54.15, abs=0.01)


def test_a_repair_is_measured_at_its_own_size_where_the_picture_is_larger(tmp_path):
    for folder in ("images", "pristine"):
        (tmp_path / folder).mkdir()
    pristine = draw(0, 0, 400)
    faded = (pristine * 0.3 + 90).astype(np.uint8)
    for name, pixels in (("images/faded.png", faded), ("pristine/faded.png", pristine)):
        (tmp_path / name).write_bytes(encode_png(pixels))
    (tmp_path / "labels.csv").write_text("file,origin,kind,expect,strength,pair\nfaded.png,x,faded,repair,1,\n")
    figures = score(tmp_path, tmp_path / "work", 1)
    assert figures["gain_db.faded"] > 3


def test_drawn_hashes_are_the_same_again_and_hold_copies():
    hashes = drawn(2_000)
    assert np.array_equal(hashes, drawn(2_000))
    assert len(np.unique(hashes)) < len(hashes)


@pytest.mark.parametrize("side", gamma_net.SIDES)
def test_the_filter_computes_the_network_that_was_fitted(side, tmp_path, monkeypatch):
    net = gamma_net.fit([draw(0, number, 96) for number in range(4)], 2)
    save_file(gamma_net.folded(net), tmp_path / "net.safetensors")
    monkeypatch.setattr(gamma, "NET_WEIGHTS", tmp_path / "net.safetensors")
    pixels = draw(0, 9, side)
    with torch.no_grad():
        expected = net(torch.from_numpy(pixels[None]))[0].numpy()
    assert gamma.second_look(pixels) == pytest.approx(expected, abs=0.01)


@pytest.mark.parametrize("side", gamma_net.SIDES)
def test_a_face_to_fit_on_is_of_the_side_and_the_gamma_that_it_says(side):
    generator = np.random.default_rng(0)
    shown = [gamma_net.sample(draw(0, 3, 96), side, generator) for _ in range(60)]
    assert {(one.pixels.shape, one.pixels.dtype.name) for one in shown} == {((side, side, 3), "uint8")}
    assert {one.kind for one in shown} == set(range(4))
    for one in shown:
        low, high = np.log(gamma_net.GAMMAS[one.kind])
        assert low <= one.goal <= high
    brightness = [np.mean([one.pixels.mean() for one in shown if one.kind == kind]) for kind in range(3)]
    assert brightness[gamma_net.DARK] < brightness[gamma_net.NATURAL] < brightness[gamma_net.PALE]


@pytest.mark.filterwarnings("ignore:Please use the new API settings:UserWarning")
@pytest.mark.parametrize("name", RECIPES)
def test_each_recipe_trains(name, params):
    small = {"image_size": 32, "ngf": 4, "ndf": 4, "nz": 5, "ngpu": 0}
    tiny = params.model_copy(update={**small, "train": params.train.model_copy(update={"precision": "fp32"})})
    faces = np.random.default_rng(0).integers(0, 256, (128, 32, 32, 3), np.uint8)
    netG, shown = train_recipe(replace(RECIPES[name], batch_size=8), faces, tiny, open_fabric(tiny), seconds=0)
    assert shown == 8
    assert all(weight.isfinite().all() for weight in netG.parameters())


def test_our_crawl_gets_every_picture_of_the_server_and_its_time_begins_with_the_first_request(tmp_path, monkeypatch):
    with picture_server(50) as (urls, first):
        crawl = lifted()
        monkeypatch.chdir(tmp_path)
        turn = fetch_ours(write_list(urls, tmp_path / "urls.txt"), crawl, tmp_path / "ours")
        assert turn.pictures == 50
        assert turn.called < first.value < turn.ended
        assert (tmp_path / "ours" / ".pipeline" / "crawl" / "journal.db").exists()


def test_of_a_folder_the_pictures_that_can_be_read_are_taken(tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    for number in range(LEAST + 1):
        (tmp_path / f"{number:02}.jpg").write_bytes(encode_jpeg(draw(0, number, 64), 95) if number else b"broken")
    found = readable_pictures(tmp_path, 64 * 64)
    assert [path.stem for path in found] == [f"{number:02}" for number in range(1, LEAST + 1)]
    assert f"1 of {LEAST + 1} files can't be read" in capsys.readouterr().out
    for folder, most in ((tmp_path / "empty", 64 * 64), (tmp_path, 64 * 63)):
        with pytest.raises(SystemExit, match="holds 0 pictures"):
            readable_pictures(folder, most)


@pytest.mark.long
@pytest.mark.filterwarnings("ignore:Please use the new API settings:UserWarning")
def test_soiled_faces_are_studied_with_the_same_ruler_in_every_arm(tmp_path, params):
    small = {"image_size": 32, "ngf": 4, "ndf": 4, "nz": 5, "ngpu": 0, "workers": 1}
    tiny = params.model_copy(update=small)
    folder = tmp_path / "faces"
    folder.mkdir()
    for number in range(700):
        (folder / f"{number}.jpg").write_bytes(encode_jpeg(draw(0, number, 64), 95))
    lay_aside(folder, tmp_path, tiny)
    assert np.load(tmp_path / "ruler.npy").shape == (140, 1280)
    assert len(list((tmp_path / "clean").iterdir())) == 560
    soil(tmp_path / "clean", tmp_path / "soiled", 0.4, 0, tiny.crawl)
    counts = {arm: pack_arm(arm, tmp_path, tiny) for arm in ARMS}
    assert counts[CLEANED] < counts[RAW]
    assert counts[CLEANED] < counts[PRISTINE] <= 560
    found = outcome(PRISTINE, 0, 0.1, tmp_path, tiny)
    assert found["kimg"] == counts[PRISTINE] // tiny.batch_size * tiny.batch_size / 1000
    assert found["pristine"] > 0


@pytest.mark.parametrize("power", [0.5, 1.0, 2.0])
def test_the_exponent_of_a_power_is_found_beside_a_fixed_cost(power):
    assert growth.exponent({n: 7 + (n - 100) ** power for n in (100, 1000, 5000, 30000)}) == pytest.approx(power)


def test_what_costs_no_more_has_no_exponent():
    assert growth.exponent({100: 5.0, 1000: 4.9, 5000: 6.0}) is None
    assert growth.exponent({100: 5.0, 1000: 6.0}) is None


def test_a_tail_that_rises_is_not_hidden_by_what_came_before():
    taken = {n: growth.Cost(0.0, 5 + (n - 100) ** 0.8, 0.0) for n in (100, 1000, 4000, 16000)}
    taken[64000] = growth.Cost(0.0, 5 + (16000 - 100) ** 0.8 * ((64000 - 100) / (16000 - 100)) ** 1.3, 0.0)
    overall, last = growth.exponents(taken, "cpu")
    assert overall < 1.05
    assert last == pytest.approx(1.3)


def test_growth_is_shown_as_a_table_and_a_plot(tmp_path):
    taken = {n: growth.Cost(5 + n / 1000, 4 + n / 500, 1e9 + 100 * n) for n in (100, 1000, 5000)}
    costs = {"crawl_import": taken, "filter": taken}
    cells = "4.2 / 1.00 | 6.0 / 1.00 | 14.0 / 1.00 | 1.00 | 1.00 | 2.00"
    assert growth.table(costs).splitlines()[2:] == [f"| crawl-import | {cells} |", f"| filter | {cells} |"]
    growth.plot(costs, tmp_path / "growth.png")
    assert (tmp_path / "growth.png").stat().st_size > 5000


def test_the_pictures_of_growth_differ_but_for_one_in_twenty(tmp_path):
    growth.make_pictures(range(200), [draw(0, number, 64) for number in range(10)], tmp_path)
    made = sorted(tmp_path.rglob("*.jpg"))
    shown = [decode(path.read_bytes(), 4096).astype(int) for path in made]
    near = [at for at in range(1, 200) if np.abs(shown[at] - shown[at - 1]).mean() < 8]
    assert near == list(range(19, 200, 20))
    assert len({path.read_bytes() for path in made}) == 200


@pytest.mark.long
def test_growth_measures_the_stages_as_dvc_starts_them(root, tmp_path):
    costs = growth.measure([200], root, tmp_path)
    assert [sorted(taken) for taken in costs.values()] == [[100, 200]] * 5
    assert all(cost.seconds > 0.1 and cost.cpu > 0.1 and cost.peak > 5e7 for cost in costs["filter"].values())


def test_a_mutant_in_an_annotation_is_none():
    (first, second) = annotations(ast.parse("def f(x: int | None) -> str:\n    return x | 1\n"))
    assert {first, second} == {((1, 9), (1, 19)), ((1, 24), (1, 27))}

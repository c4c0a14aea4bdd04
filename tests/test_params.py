import re
import shutil
from contextlib import suppress
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from pipeline.errors import ParamsError
from pipeline.params import CropParams, EvaluateParams, FilterParams, Params, flatten, load_params, read_yaml, validate

REFERENCE = {
    "dataroot": "data/builtin.yaml",
    "workers": 2,
    "batch_size": 128,
    "image_size": 64,
    "nc": 3,
    "nz": 100,
    "ngf": 64,
    "ndf": 64,
    "num_epochs": 5,
    "lr": 0.0002,
    "beta1": 0.5,
    "ngpu": 1,
}


@pytest.fixture
def edited(tmp_path: Path, root: Path):
    """Return a function that writes params.yaml with some lines replaced and returns its path."""
    path = tmp_path / "params.yaml"

    def edit(old: str, new: str) -> Path:
        text = (root / "params.yaml").read_text()
        assert old in text
        path.write_text(text.replace(old, new))
        return path

    return edit


def test_reference_settings_are_as_published(params: Params) -> None:
    assert {name: getattr(params, name) for name in REFERENCE} == REFERENCE


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        pytest.param("batch_size: 128", "batch_size: 0", "batch_size: input should be greater", id="batch of none"),
        pytest.param("image_size: 64", "image_size: 63", "image_size: must be 32, 64 or 128", id="odd size"),
        pytest.param("lr: 0.0002", "lr: abc", "lr: input should be a valid number", id="word for a number"),
        pytest.param("lr: 0.0002", "learning_rate: 0.0002", "learning_rate: unknown key", id="unknown key"),
        pytest.param("lr: 0.0002", "lr: .nan", "lr: ", id="not a number"),
        pytest.param("nz: 100\n", "", "nz: missing", id="missing key"),
        pytest.param("nc: 3", "nc: 2", "nc: must be 1", id="two channels"),
        pytest.param("holdout_fraction: 0.1", "holdout_fraction: 1.0", "crawl.holdout_fraction", id="nested"),
        pytest.param("kind: none", "kind: face", "crawl.crop.kind: input should be 'none' or", id="no finder"),
        pytest.param("kind: none", "kind: anime_face", "crawl.crop.cascade: kind anime_face needs", id="no cascade"),
        pytest.param("min_side: 48", "min_side: 0", "crawl.crop.min_side: input should be greater", id="no side"),
        pytest.param("pad: 0.25", "pad: .inf", "crawl.crop.pad: input should be a finite", id="endless margin"),
        pytest.param("max_noise: 7.0", "max_noise: .inf", "filter.max_noise: input should be a finite", id="no end"),
        pytest.param("min_neighbors: 5", "min_neighbors: 0", "crawl.crop.min_neighbors: input", id="no agreement"),
        pytest.param("faded_white: 250.0", "faded_white: 20.0", "filter.faded_white: must be above", id="a negative"),
        pytest.param(
            "noise_filter: dct", "noise_filter: blur", "filter.noise_filter: input should be 'median'", id="no filter"
        ),
        pytest.param(
            "faded_curve: stretch", "faded_curve: dct", "filter.faded_curve: input should be 'auto", id="no curve"
        ),
        pytest.param("denoise_all:\n", "denoise_all: clahe\n", "filter.denoise_all: input should be", id="not of all"),
        pytest.param(
            "inception_weights:\n", "inception_weights: 3\n", "evaluate.inception_weights: input", id="no path"
        ),
        pytest.param("tone_all:\n", "", "filter.tone_all: missing", id="not even blank"),
        pytest.param(
            "mean_brightness: 153.0", "mean_brightness: 255.0", "filter.mean_brightness: input", id="all white"
        ),
        pytest.param("nz: 100", f"nz: {10**30}", "nz: input should be less", id="a net that torch refuses"),
        pytest.param("num_epochs: 5", f"num_epochs: {10**400}", "num_epochs: input should be less", id="for ever"),
        pytest.param("n_generated: 5000", f"n_generated: {10**30}", "evaluate.n_generated: input should", id="all"),
        pytest.param("timeout: 60.0", "timeout: 1e+300", "crawl.timeout: input should be less", id="no timer holds it"),
        pytest.param("timeout: 60.0", "timeout: 0.0", "crawl.timeout: input should be greater", id="no time at all"),
        pytest.param("refuse_tags: []", "refuse_tags: [' ']", "crawl.refuse_tags.0: string should", id="blank tag"),
        pytest.param("seed: 0", f"seed: {2**63}", "seed: input should be less", id="seed that torch refuses"),
        pytest.param("workers: 2", "workers: two", "workers: input should be a valid integer", id="word for a count"),
        pytest.param("scheduler:\n", "scheduler: 10.0.0.1:8786\n", "scheduler: must be tcp://host", id="no protocol"),
        pytest.param("scheduler:\n", "scheduler: tcp://there\n", "scheduler: must be tcp://host:port", id="no port"),
        pytest.param("scheduler:\n", "scheduler: http://a:80\n", "scheduler: must be tcp://host:port", id="web"),
    ],
)
def test_wrong_value_is_refused_by_name(edited, old: str, new: str, message: str) -> None:
    with pytest.raises(ParamsError, match=r"params\.yaml: ") as refused:
        load_params(edited(old, new))
    assert message in str(refused.value)


@pytest.mark.parametrize("address", ["tcp://10.0.0.1:8786", "tls://dask-1.example.org:8786", "tcp://[::1]:8786"])
def test_address_of_a_scheduler(edited, address: str) -> None:
    assert load_params(edited("scheduler:\n", f"scheduler: {address}\n")).scheduler == address


def test_every_fault_is_named_at_once(edited) -> None:
    with pytest.raises(ParamsError) as refused:
        load_params(edited("nz: 100\nngf: 64", "nz: 0\nngf: -1"))
    assert len(str(refused.value).splitlines()) == 2


def test_blanks_around_a_tag_do_not_let_it_through(edited) -> None:
    assert load_params(edited("refuse_tags: []", "refuse_tags: ['nsfw ']")).crawl.refuse_tags == ["nsfw"]


def test_small_learning_rate_as_dvc_writes_it(edited) -> None:
    assert load_params(edited("lr: 0.0002", "lr: 1e-05")).lr == 0.00001


def test_yaml_tags_build_nothing(tmp_path: Path) -> None:
    path, owned = tmp_path / "params.yaml", tmp_path / "owned"
    path.write_text(f"a: !!python/object/apply:pathlib.Path.touch [{owned}]\n")
    with suppress(ParamsError):
        read_yaml(path)
    assert not owned.exists()


def test_file_survives_a_dvc_override_unchanged(tmp_path: Path, root: Path) -> None:
    """`dvc exp run -S` writes the file anew; if it is in ruamel's own form, an experiment's diff is one line."""
    copy = tmp_path / "params.yaml"
    shutil.copy(root / "params.yaml", copy)
    yaml = YAML()
    content = yaml.load(copy)
    yaml.dump(content, copy)
    assert copy.read_text() == (root / "params.yaml").read_text()


def test_flatten() -> None:
    assert flatten({"a": 1, "b": {"c": 2, "d": {"e": 3}}}) == {"a": 1, "b.c": 2, "b.d.e": 3}


def test_a_choice_left_blank_on_the_command_line_is_none(root: Path) -> None:
    """`dvc exp run -S filter.tone_all=` writes an empty string."""
    section = read_yaml(root / "params.yaml")["filter"]
    for key in ("denoise_all", "tone_all"):
        assert getattr(validate(FilterParams, section | {key: ""}, Path("params.yaml")), key) is None
    with pytest.raises(ParamsError, match="noise_filter"):
        validate(FilterParams, section | {"noise_filter": ""}, Path("params.yaml"))
    section = read_yaml(root / "params.yaml")["evaluate"]
    assert validate(EvaluateParams, section | {"inception_weights": ""}, Path("params.yaml")).inception_weights is None
    section = read_yaml(root / "params.yaml")["crawl"]["crop"]
    assert validate(CropParams, section | {"cascade": ""}, Path("params.yaml")).cascade is None


ALIASES = "a0: &a0 [x]\n" + "".join(f"a{at + 1}: &a{at + 1} [{', '.join([f'*a{at}'] * 9)}]\n" for at in range(12))
MERGES = "a0: &a0 {x: 1}\n" + "".join(
    f"a{at + 1}: &a{at + 1} {{<<: [{', '.join([f'*a{at}'] * 9)}]}}\n" for at in range(12)
)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        pytest.param("a: !!python/object/apply:os.mkdir [harmed]", "could not determine a constructor", id="a call"),
        pytest.param("a: !!python/name:os.system", "could not determine a constructor", id="a name"),
        pytest.param("a: !!python/object/new:os.mkdir [harmed]", "could not determine a constructor", id="an object"),
        pytest.param(MERGES, "could not determine a constructor", id="billions by merging"),
        pytest.param("a: " + "[" * 500, "recursion", id="nested deep"),
        pytest.param("a: " + "9" * 5000, "digits", id="a number of 5,000 digits"),
        pytest.param("a: 2001-99-99", "month", id="no such month"),
        pytest.param("a: !!int x", "invalid literal", id="no number"),
        pytest.param("a: !!int ''", "index out of range", id="a number of no digits"),
        pytest.param("a: !!bool x", "'x'", id="neither true nor false"),
        pytest.param('a: "\\U7fffffff"', "chr", id="no such letter"),
        pytest.param("? {a: b}\n: 1", "unhashable", id="a mapping for a key"),
        pytest.param("a: \0", "unacceptable", id="a zero"),
        pytest.param("%YAML 9.9\n---\na: 1", "incompatible", id="another YAML"),
    ],
)
def test_yaml_that_means_harm_is_named(text: str, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("recipe.yaml").write_text(text)
    with pytest.raises(ParamsError, match=re.compile(f"recipe.yaml is not readable YAML: .*{says}", re.DOTALL)):
        read_yaml(Path("recipe.yaml"))
    assert list(tmp_path.iterdir()) == [tmp_path / "recipe.yaml"]


@pytest.mark.parametrize("key", ["lr", "dataroot", "crawl", "a13"])
def test_billions_by_aliases_are_refused_in_few_words(key: str, root: Path, tmp_path: Path) -> None:
    """Held once each, they take no room; shown, they would take all."""
    (tmp_path / "params.yaml").write_text(f"{ALIASES}{key}: *a12\n")
    content = read_yaml(root / "params.yaml") | read_yaml(tmp_path / "params.yaml")
    with pytest.raises(ParamsError, match=f"params.yaml: {key}: ") as fault:
        validate(Params, content, tmp_path / "params.yaml")
    assert len(str(fault.value)) < 5000


def test_a_list_that_holds_itself_is_refused(params: Params, root: Path, tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_text("lr: &a [*a]\n")
    content = read_yaml(root / "params.yaml") | read_yaml(tmp_path / "params.yaml")
    with pytest.raises(ParamsError, match="lr: input should be a valid number"):
        validate(Params, content, tmp_path / "params.yaml")

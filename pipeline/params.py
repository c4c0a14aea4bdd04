"""Every knob, validated on load: one frozen model per section of params.yaml, unknown keys refused by name."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from reprlib import Repr
from typing import Annotated, Any, Literal, TypeVar

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    ValidationInfo,
    field_validator,
)
from ruamel.yaml import YAML
from ruamel.yaml.constructor import SafeConstructor

from pipeline import paths
from pipeline.errors import ParamsError

Positive = Annotated[int, Field(ge=1)]
Count = Annotated[int, Field(ge=0)]
Share = Annotated[float, Field(ge=0.0, le=1.0)]
Threshold = Annotated[float, Field(ge=0.0)]
Level = Annotated[float, Field(ge=0.0, le=255.0)]
Width = Annotated[int, Field(ge=1, le=4096)]  # of a net
Seconds = Annotated[float, Field(ge=0.0, le=86_400.0)]  # at most a day: what sleeps and timers can hold
Images = Annotated[int, Field(ge=64, le=10_000_000)]  # what a measure needs, and what it can hold
Tag = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]

# The families of pipeline/cleaning/denoise.py and tone.py, by name.
Denoiser = Literal["median", "dct", "non_local_means", "total_variation", "wavelet"]
ToneCurve = Literal["auto_gamma", "stretch", "gamma", "log", "equalize"]

# A Dask scheduler's address: a name, an IPv4 address or an IPv6 one in brackets, and the port.
SCHEDULER = r"(tcp|tls)://([\w.-]+|\[[0-9A-Fa-f:.]+\]):\d{1,5}"
SCHEDULER_RULE = "must be tcp://host:port or tls://host:port"


class Section(BaseModel):
    """A frozen, strict part of params.yaml: "2" is no integer, no number is endless, a misspelt key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class CropParams(Section):
    """Whether whole pictures are cut to the faces on them, and by which cascade."""

    kind: Literal["none", "anime_face"]
    cascade: str | None
    min_side: Positive
    pad: Share
    min_neighbors: Positive

    @field_validator("cascade", mode="before")
    @classmethod
    def _blank_is_none(cls, path: object) -> object:
        """`dvc exp run -S crawl.crop.cascade=` writes an empty string."""
        return None if path == "" else path

    @field_validator("cascade")
    @classmethod
    def _finder_has_a_cascade(cls, path: str | None, others: ValidationInfo) -> str | None:
        if path is None and others.data.get("kind") == "anime_face":
            raise ValueError("kind anime_face needs the path of an OpenCV cascade file")
        return path


class CrawlParams(Section):
    """What crawl-import takes in."""

    holdout_fraction: Annotated[float, Field(gt=0.0, lt=1.0)]
    max_bytes: Positive
    max_pixels: Positive
    require_tags: list[Tag]
    refuse_tags: list[Tag]
    crop: CropParams
    user_agent: Annotated[str, Field(pattern=r"^[\x21-\x7e][\x20-\x7e]*$")]
    obey_robots: bool
    ignore_opt_out: bool
    allow_private: bool
    timeout: Annotated[Seconds, Field(gt=0.0)]
    retries: Annotated[int, Field(ge=0, le=20)]
    min_success: Share
    backoff: Seconds
    max_wait: Seconds
    dead_after: Positive
    delay: Seconds
    per_host: Positive
    concurrency: Positive


class FilterParams(Section):
    """Which images are fit to train on, which are repaired, and which are copies."""

    enabled: bool
    dedup: bool
    blur: bool
    repair: bool
    min_side: Positive
    max_aspect: Annotated[float, Field(ge=1.0)]
    min_contrast: Threshold
    min_information: Threshold
    min_edges: Share
    max_blur: Annotated[float, Field(gt=0.0, le=1.0)]
    min_sharpness: Threshold
    mirrored: bool
    hash_distance: Annotated[int, Field(ge=0, le=16)]
    min_layout: Annotated[float, Field(ge=-1.0, le=1.0)]
    max_difference: Threshold
    max_tint: Threshold
    work_side: Annotated[int, Field(ge=128)]  # the largest image_size: a repair is made at it
    max_impulses: Annotated[float, Field(gt=0.0, le=1.0)]
    max_noise: Annotated[float, Field(gt=0.0)]
    max_blockiness: Annotated[float, Field(gt=0.0)]
    deblock_sigma: Annotated[float, Field(gt=0.0)]
    impulse_filter: Denoiser
    noise_filter: Denoiser
    block_filter: Denoiser
    denoise_all: Denoiser | None
    faded_contrast: Threshold
    faded_max_white: Level
    faded_black: Level
    faded_white: Level
    min_gamma: Annotated[float, Field(gt=0.0, le=1.0)]
    max_gamma: Annotated[float, Field(ge=1.0)]
    gamma_nats: Threshold
    faded_curve: ToneCurve
    gamma_curve: ToneCurve
    tone_all: ToneCurve | None
    cache_days: Annotated[float, Field(gt=0.0)]
    mean_brightness: Annotated[float, Field(gt=0.0, lt=255.0)]

    @field_validator("denoise_all", "tone_all", mode="before")
    @classmethod
    def _blank_is_none(cls, name: object) -> object:
        """`dvc exp run -S filter.tone_all=` writes an empty string."""
        return None if name == "" else name

    @field_validator("faded_white")
    @classmethod
    def _white_over_black(cls, white: float, others: ValidationInfo) -> float:
        if white <= others.data.get("faded_black", 0.0):
            raise ValueError("must be above faded_black")
        return white


class AugmentParams(Section):
    """Which differentiable augmentations netD sees everything through."""

    color: bool
    translation: bool
    cutout: bool


class TrainParams(Section):
    """What the reference recipe leaves open, and what it does not have."""

    precision: Literal["auto", "bf16", "fp32"]
    lr_ratio: Annotated[float, Field(gt=0.0, le=100.0)]
    flip: bool
    augment: AugmentParams
    ema: bool
    ema_kimg: Annotated[float, Field(gt=0.0)]
    ema_rampup: Annotated[float, Field(gt=0.0)]
    log_steps: Positive
    gif_frames: Annotated[int, Field(ge=2)]
    quick_kid_images: Annotated[int, Field(ge=0)]
    quick_kid_kimg: Annotated[float, Field(gt=0.0)]
    collapse_ticks: Positive
    collapse_D_G_z: Share
    collapse_lossG: Threshold
    collapse_diversity: Threshold
    stop_on_collapse: bool
    sync_batchnorm: bool
    cpu_processes: Positive
    min_steps: Count
    checkpoint_minutes: Annotated[float, Field(gt=0.0)]
    keep_checkpoints: Positive


class EvaluateParams(Section):
    """How much is compared, and how."""

    generator: Literal["last", "best"]
    n_generated: Images
    n_real: Images
    kid_subsets: Annotated[int, Field(ge=2, le=100_000)]
    nearest_k: Positive
    copied_percentile: Annotated[float, Field(gt=0.0, lt=100.0)]
    inception_weights: str | None
    cache_mb: Annotated[float, Field(ge=0.0)]

    @field_validator("inception_weights", mode="before")
    @classmethod
    def _blank_is_none(cls, path: object) -> object:
        """`dvc exp run -S evaluate.inception_weights=` writes an empty string."""
        return None if path == "" else path


class Params(Section):
    """All of params.yaml: the twelve settings of the reference recipe, the seed, and a section a stage."""

    dataroot: Annotated[str, Field(min_length=1)]
    workers: Annotated[int, Field(ge=0, le=256)]
    scheduler: str | None
    batch_size: Annotated[int, Field(ge=2)]
    image_size: Positive
    nc: int
    nz: Width
    ngf: Width
    ndf: Width
    num_epochs: Annotated[int, Field(ge=1, le=1_000_000_000)]
    lr: Annotated[float, Field(gt=0.0, le=1.0)]
    beta1: Annotated[float, Field(ge=0.0, lt=1.0)]
    ngpu: Count
    seed: Annotated[int, Field(ge=0, lt=2**63)]
    crawl: CrawlParams
    filter: FilterParams
    train: TrainParams
    evaluate: EvaluateParams

    @field_validator("scheduler")
    @classmethod
    def _scheduler(cls, address: str | None) -> str | None:
        if address and not re.fullmatch(SCHEDULER, address):
            raise ValueError(SCHEDULER_RULE)
        return address

    @field_validator("image_size")
    @classmethod
    def _image_size(cls, size: int) -> int:
        if size not in (32, 64, 128):
            raise ValueError("must be 32, 64 or 128: the nets halve or double the side with each layer")
        return size

    @field_validator("nc")
    @classmethod
    def _channels(cls, channels: int) -> int:
        if channels not in (1, 3):
            raise ValueError("must be 1 (luma) or 3 (RGB)")
        return channels


Model = TypeVar("Model", bound=Section)

# How a wrong value is shown: by aliases, ten lines of YAML can mean billions of items.
_FOUND = Repr()
_FOUND.maxlevel, _FOUND.maxstring, _FOUND.maxother = 2, 200, 200


class _Constructor(SafeConstructor):
    def flatten_mapping(self, node: Any) -> None:
        """Leave `<<` unread: YAML 1.2 has no merge keys, and ten lines of them can ask for billions of entries."""


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a YAML 1.2 mapping; ParamsError where there is none.

    YAML 1.2, because `dvc exp run -S lr=0.00001` writes 1e-05, which a YAML 1.1 reader such as PyYAML takes for a
    string. The pure safe loader builds plain values only: no tag can make it call anything.
    """
    reader = YAML(typ="safe", pure=True)
    reader.Constructor = _Constructor
    try:
        content = reader.load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ParamsError(f"{path} is missing; run from the project's root") from None
    except Exception as error:  # a recipe may be a stranger's, and what is odd makes the reader raise anything
        raise ParamsError(f"{path} is not readable YAML: {error}") from None
    if not isinstance(content, dict):
        raise ParamsError(f"{path} must hold `key: value` lines")
    return content


def validate(model: type[Model], content: Mapping[str, Any], origin: Path) -> Model:
    """Return content as a model; ParamsError that names every wrong key, what it was and what it may be."""
    try:
        return model.model_validate(content)
    except ValidationError as error:
        lines = [f"{origin}: {_describe(fault)}" for fault in error.errors()]
        raise ParamsError("\n".join(lines)) from None


def _describe(fault: Mapping[str, Any]) -> str:
    key = ".".join(str(part) for part in fault["loc"])
    if fault["type"] == "extra_forbidden":
        return f"{key}: unknown key"
    if fault["type"] == "missing":
        return f"{key}: missing"
    message = fault["msg"].removeprefix("Value error, ")
    return f"{key}: {message[0].lower()}{message[1:]} (found {_FOUND.repr(fault['input'])})"


def load_params(path: Path = paths.PARAMS) -> Params:
    """Load and validate params.yaml whole, so that a fault in any section is found before any stage works."""
    return validate(Params, read_yaml(path), path)


def require_project() -> None:
    """Raise ParamsError where the working directory is no project's root: nothing is to be made elsewhere."""
    if not (paths.PARAMS.exists() or paths.DVC_YAML.exists()):
        raise ParamsError(f"{paths.PARAMS} is missing; run from the project's root")


def flatten(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested mappings as one with dotted keys: {"a": {"b": 1}} gives {"a.b": 1}."""
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, Mapping):
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat

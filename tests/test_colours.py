"""Red stays red, from a file of the crawl to the picture that a generator draws: no step swaps the channels."""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from pipeline.cleaning.run import filter_shards
from pipeline.dcgan.batches import to_images
from pipeline.dcgan.sampling import generate
from pipeline.faces import Faces, load_faces
from pipeline.packing import pack_faces
from pipeline.params import Params
from pipeline.records import read_rows, shard_paths
from pipeline.reports.filter_page import write_filter_page
from pipeline.reports.grids import grid, write_gif, write_png
from pipeline.sources.builtin import draw
from pipeline.sources.damage import DAMAGES
from pipeline.sources.importing import import_source
from pipeline.workers import Workers

FORMATS = ("PNG", "JPEG", "WebP", "BMP", "TIFF", "GIF")
HERE = Workers()


def reddened(number: int) -> np.ndarray:
    """A built-in face in reds: RGB uint8 (96, 96, 3), each channel about half as bright as the one before it."""
    return (draw(3, number, 96) * (1.0, 0.5, 0.25)).astype(np.uint8)


def are_red(pictures: np.ndarray) -> bool:
    """Whether in each of the pictures, RGB (N, H, W, 3), red outshines green, and green blue."""
    red, green, blue = pictures.reshape(len(pictures), -1, 3).astype(float).mean(axis=1).T
    return bool((red > 1.1 * green).all() and (green > 1.1 * blue).all())


def pixels_of(data: bytes) -> np.ndarray:
    """Return a picture by another decoder than the pipeline's: RGB uint8 (H, W, 3)."""
    with Image.open(io.BytesIO(data)) as image:
        return np.asarray(image.convert("RGB"))


class Echo(torch.nn.Module):
    """Stands for a generator that draws training faces: the nth for noise that begins with n."""

    def __init__(self, faces: Faces) -> None:
        super().__init__()
        self.images = torch.nn.Parameter(to_images(torch.from_numpy(np.array(faces))), requires_grad=False)

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        return self.images[z[:, 0, 0, 0].long()]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory, params: Params, save: Callable[..., bytes]) -> Path:
    """Red faces in each format, some with a damage that is repaired, imported, filtered and packed."""
    root = tmp_path_factory.mktemp("red")
    (root / "crawl").mkdir()
    rng = np.random.default_rng(0)
    for number in range(24):
        kind = FORMATS[number % len(FORMATS)]
        (root / "crawl" / f"{number:02}.{kind.lower()}").write_bytes(save(reddened(number), kind))
    for number, damage in enumerate(("salt_pepper", "gaussian_noise") * 3, start=24):
        (root / "crawl" / f"{number:02}").write_bytes(DAMAGES[damage](reddened(number), rng))
    crawl = params.crawl.model_copy(update={"holdout_fraction": 0.4})
    import_source(root / "crawl", crawl, root / "raw", HERE)
    verdicts = filter_shards(root / "raw", root / "clean", root / "cache", 64, 3, params.filter, HERE)
    write_filter_page(verdicts, root / "raw", root / "clean", params.filter, root / "filter.html")
    pack_faces(root / "raw", root / "clean", root / "faces", 64, 3, HERE)
    return root


def test_kept_and_repaired_pictures_are_red(folders: Path) -> None:
    rows = [row for shard in shard_paths(folders / "clean") for row in read_rows(shard, ["image", "repair"])]
    assert len(rows) > 20
    assert {"impulse noise", "gaussian noise"} <= {row["repair"] for row in rows}
    for row in rows:
        assert are_red(pixels_of(row["image"]["bytes"])[None])


def test_packed_faces_are_red(folders: Path) -> None:
    for name in ("train", "holdout_clean", "holdout_raw"):
        assert are_red(load_faces(name, folders / "faces"))


def test_tiles_of_the_page_are_red(folders: Path) -> None:
    page = (folders / "filter.html").read_text(encoding="utf-8")
    sheets = [base64.b64decode(found) for found in re.findall(r"data:image/jpeg;base64,([A-Za-z0-9+/=]+)", page)]
    assert sheets
    assert are_red(np.concatenate([pixels_of(sheet).reshape(1, -1, 3) for sheet in sheets], 1))


def test_drawn_pictures_are_the_training_faces_again_to_the_last_bit(folders: Path, tmp_path: Path) -> None:
    faces = load_faces("train", folders / "faces")
    z = torch.arange(len(faces), dtype=torch.float32).view(-1, 1, 1, 1)
    drawn = generate(Echo(faces), z, 4)
    assert np.array_equal(drawn, faces)
    write_png(grid(drawn, 1), tmp_path / "samples.png")
    write_gif([grid(drawn, 1)] * 2, tmp_path / "film.gif", 100)
    for name in ("samples.png", "film.gif"):
        shown = pixels_of((tmp_path / name).read_bytes())
        assert are_red(shown[None, 2:-2, 2:-2])
    shown = pixels_of((tmp_path / "samples.png").read_bytes())
    assert np.array_equal(shown[2:66, 2:66], faces[0])

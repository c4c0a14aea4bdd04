from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipeline.reports.curves import training_plot

HEADER = "step,epoch,kimg,lossD_real,lossD_fake,lossG,D_x,D_G_z1,D_G_z2\n"
QUALITY = "step,kimg,quick_kid\n"


def pixels(path: Path) -> np.ndarray:
    with Image.open(path) as picture:
        return np.asarray(picture)


@pytest.mark.parametrize("rows", [pytest.param(1, id="one tick"), pytest.param(20, id="twenty ticks")])
@pytest.mark.parametrize("quality", [QUALITY, QUALITY + "1,1,500\n"], ids=["unmeasured", "measured"])
def test_training_plot_is_a_picture_whose_bytes_repeat(tmp_path: Path, rows: int, quality: str) -> None:
    table = tmp_path / "losses.csv"
    table.write_text(HEADER + "".join(f"{step},1,{step / 10},0.5,0.4,{step},0.7,0.3,0.2\n" for step in range(rows)))
    (tmp_path / "kid.csv").write_text(quality)
    for name in ("a.png", "b.png"):
        training_plot(table, tmp_path / "kid.csv", tmp_path / name)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    assert pixels(tmp_path / "a.png").shape[:2] == (900, 900)


def test_a_last_tick_of_fewer_steps_is_not_drawn(tmp_path: Path) -> None:
    """Its mean is of a few steps, and would look like a leap."""
    pictures = []
    for last in ("", "43,1,43,2.0,2.0,9,0.1,0.1,0.1\n"):
        table = tmp_path / "losses.csv"
        table.write_text(HEADER + "20,1,20,0.5,0.4,1,0.7,0.3,0.2\n40,1,40,0.5,0.4,1,0.7,0.3,0.2\n" + last)
        (tmp_path / "kid.csv").write_text(QUALITY)
        training_plot(table, tmp_path / "kid.csv", tmp_path / "a.png")
        pictures.append(pixels(tmp_path / "a.png"))
    assert np.array_equal(*pictures)


def test_training_plot_follows_the_losses(tmp_path: Path) -> None:
    pictures = []
    for loss in (1, 5):
        table = tmp_path / "losses.csv"
        table.write_text(HEADER + f"0,1,0,0.5,0.4,0,0.7,0.3,0.2\n1,1,1,0.5,0.4,{loss},0.7,0.3,0.2\n")
        (tmp_path / "kid.csv").write_text(QUALITY)
        training_plot(table, tmp_path / "kid.csv", tmp_path / "a.png")
        pictures.append(pixels(tmp_path / "a.png"))
    assert not np.array_equal(*pictures)

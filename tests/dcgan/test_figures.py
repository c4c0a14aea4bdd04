from __future__ import annotations

import csv
from pathlib import Path

import torch

from pipeline.dcgan.figures import COLUMNS, row, tick_line, write_table


def test_row_is_means_and_the_place_in_the_run() -> None:
    found = row(torch.tensor([2.0, 4, 6, 1, 0.5, 0.25]), 2, step=20, epoch_steps=10, batch_size=64)
    assert found == {
        "step": 20,
        "epoch": 2,  # its last step
        "kimg": 1.28,
        "lossD_real": 1.0,
        "lossD_fake": 2.0,
        "lossG": 3.0,
        "D_x": 0.5,
        "D_G_z1": 0.25,
        "D_G_z2": 0.125,
        "lossD": 3.0,
    }


def test_losses_csv(tmp_path: Path) -> None:
    rows = [row(torch.full((6,), 1 / 4), 1, step=step, epoch_steps=2, batch_size=500) for step in (1, 2, 3)]
    write_table(tmp_path / "losses.csv", rows, COLUMNS)
    lines = list(csv.reader((tmp_path / "losses.csv").read_text().splitlines()))
    assert lines[0] == ["step", "epoch", "kimg", "lossD_real", "lossD_fake", "lossG", "D_x", "D_G_z1", "D_G_z2"]
    assert [line[:3] for line in lines[1:]] == [["1", "1", "0.5"], ["2", "1", "1"], ["3", "2", "1.5"]]
    assert lines[1][3:] == ["0.25"] * 6


def test_a_ticks_line_tells_how_it_goes() -> None:
    figures = row(torch.tensor([1.0, 2, 3, 0.5, 0.25, 0.125]), 1, step=4, epoch_steps=4, batch_size=250)
    line = tick_line(figures | {"img_per_s": 125.0}, {"kimg": 1.0, "quick_kid": 321.4}, 3 * 2**29, 754)
    assert line == (
        "1.0 kimg, 125 img/s, 8.00 s/kimg, lossD 3.000, lossG 3.000, D(x) 0.500, D(G(z)) 0.250 → 0.125, "
        "quick KID 321 at 1 kimg, 1.5 GiB, 12:34 left"
    )
    assert "quick KID" not in tick_line(figures | {"img_per_s": 125.0}, None, 0, 0)

from __future__ import annotations

from itertools import islice

import numpy as np
import pytest
import torch

from pipeline.dcgan.batches import epoch_batches, on_device, to_images

CPU = torch.device("cpu")


def indices(first_step: int, steps: int, seed: int = 0) -> list[list[int]]:
    return [batch.tolist() for batch in islice(epoch_batches(11, 3, seed, CPU, first_step), steps)]


def test_an_epoch_shows_each_image_once_and_drops_the_last_partial_batch() -> None:
    epochs = indices(0, 6)
    for epoch in (epochs[:3], epochs[3:]):
        shown = [index for batch in epoch for index in batch]
        assert len(set(shown)) == 9
        assert set(shown) < set(range(11))
    assert epochs[:3] != epochs[3:]


@pytest.mark.parametrize("first_step", [0, 1, 2, 3, 5, 7])
def test_a_resumed_run_sees_what_the_whole_one_does(first_step: int) -> None:
    assert indices(first_step, 9 - first_step) == indices(0, 9)[first_step:]


def test_another_seed_is_another_order() -> None:
    assert indices(0, 3, seed=1) != indices(0, 3, seed=0)


def test_bytes_to_what_the_nets_take() -> None:
    pixels = torch.zeros(2, 4, 4, 3, dtype=torch.uint8)
    pixels[1, 2, 3, 0] = 255
    pixels[1, 0, 0, 1] = 51
    images = to_images(pixels)
    assert images.shape == (2, 3, 4, 4)
    assert images.dtype == torch.float32
    assert images.is_contiguous(memory_format=torch.channels_last)
    assert images[1, 0, 2, 3] == 1
    assert images[1, 1, 0, 0] == pytest.approx(-0.6)
    assert images[0].unique().tolist() == [-1]


def test_a_mapped_file_is_not_copied(tmp_path) -> None:
    np.save(tmp_path / "faces.npy", np.arange(2 * 4 * 4 * 3, dtype=np.uint8).reshape(2, 4, 4, 3))
    faces = np.load(tmp_path / "faces.npy", mmap_mode="r")
    data = on_device(faces, CPU)
    assert data.data_ptr() == faces.ctypes.data
    assert np.array_equal(data.numpy(), faces)

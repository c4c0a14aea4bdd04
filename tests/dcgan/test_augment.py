from __future__ import annotations

import pytest
import torch

from pipeline.dcgan.augment import augment, color, cutout, flip, translation
from pipeline.dcgan.state import seeded
from pipeline.params import AugmentParams, Params

SIDE = 16


def rng() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def numbered(count: int) -> torch.Tensor:
    """Images whose every pixel has a value of its own, none of them 0."""
    return torch.arange(1.0, 1 + count * 3 * SIDE * SIDE).view(count, 3, SIDE, SIDE)


def test_translation_moves_whole_images_by_whole_pixels() -> None:
    images = numbered(64)
    moved = translation(images, rng())
    seen = set()
    for before, after in zip(images, moved, strict=True):
        # Where the pixel of the middle went says what the move was.
        row, column = (int(at) for at in (after[0] == before[0, 8, 8]).nonzero()[0])
        down, right = row - 8, column - 8
        seen.add((down, right))
        expected = torch.zeros_like(before)
        inside = expected[:, max(down, 0) : SIDE + min(down, 0), max(right, 0) : SIDE + min(right, 0)]
        inside[:] = before[:, max(-down, 0) : SIDE - max(down, 0), max(-right, 0) : SIDE - max(right, 0)]
        assert torch.equal(after, expected)
    assert {down for down, _ in seen} == {right for _, right in seen} == {-2, -1, 0, 1, 2}  # an eighth of 16


def test_translation_leads_the_gradient_back() -> None:
    images = torch.zeros(8, 3, SIDE, SIDE, requires_grad=True)
    moved = translation(images, rng())
    moved.backward(numbered(8))
    assert images.grad is not None
    # A pixel that stayed inside gets the gradient of where it went; one that left gets none.
    again = translation(torch.ones(8, 3, SIDE, SIDE), rng())
    assert torch.equal(images.grad != 0, again.flip(2, 3) != 0)


def test_cutout_empties_one_square_of_half_the_side() -> None:
    images = torch.ones(256, 3, SIDE, SIDE)
    cut = cutout(images, rng())
    areas = []
    for image in cut:
        hole = image[0] == 0
        assert all(torch.equal(channel == 0, hole) for channel in image)
        height, width = int(hole.any(dim=1).sum()), int(hole.any(dim=0).sum())
        assert int(hole.sum()) == height * width  # a rectangle
        areas.append(height * width)
    assert max(areas) == (SIDE // 2) ** 2
    assert min(areas) < max(areas)  # some lie partly outside


def test_color_shifts_scales_and_keeps_the_shape_of_an_image() -> None:
    images = torch.rand(32, 3, SIDE, SIDE, generator=rng()) - 0.5
    changed = color(images, rng())
    brightness, saturation, contrast = torch.rand(3, 32, 1, 1, 1, generator=rng())
    # The mean moves by the brightness alone; a pixel's grey around it by the contrast; its colour by both.
    assert torch.allclose(
        changed.mean(dim=(1, 2, 3)), images.mean(dim=(1, 2, 3)) + brightness.flatten() - 0.5, atol=1e-5
    )
    grey_before, grey_after = images.mean(dim=1, keepdim=True), changed.mean(dim=1, keepdim=True)
    spread_before = grey_before - grey_before.mean(dim=(2, 3), keepdim=True)
    spread_after = grey_after - grey_after.mean(dim=(2, 3), keepdim=True)
    assert torch.allclose(spread_after, spread_before * (contrast + 0.5), atol=1e-5)
    colour = (images - grey_before) * saturation * 2 * (contrast + 0.5)
    assert torch.allclose(changed - grey_after, colour, atol=1e-5)


def test_flip_mirrors_about_half_of_the_images() -> None:
    images = numbered(200)
    flipped = flip(images, rng())
    mirrored = [torch.equal(after, before.flip(2)) for before, after in zip(images, flipped, strict=True)]
    kept = [torch.equal(after, before) for before, after in zip(images, flipped, strict=True)]
    assert all(one != other for one, other in zip(mirrored, kept, strict=True))
    assert 70 < sum(mirrored) < 130


@pytest.mark.parametrize("on", ["color", "translation", "cutout"])
def test_each_augmentation_has_its_switch(on: str) -> None:
    switches = {name: name == on for name in ("color", "translation", "cutout")}
    images = torch.rand(16, 3, SIDE, SIDE, generator=rng())
    alone = {"color": color, "translation": translation, "cutout": cutout}[on](images, rng())
    assert torch.equal(augment(images, AugmentParams(**switches), rng()), alone)
    assert not torch.equal(alone, images)


def test_all_off_changes_nothing_and_draws_nothing() -> None:
    images, numbers = numbered(2), rng()
    off = AugmentParams(color=False, translation=False, cutout=False)
    assert augment(images, off, numbers) is images
    assert torch.equal(numbers.get_state(), rng().get_state())


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_gpu_is_not_waited_for(params: Params) -> None:
    images = torch.zeros(4, 3, 32, 32, device="cuda", requires_grad=True)
    chance = seeded(images.device, 0, "augment")
    torch.cuda.set_sync_debug_mode("error")
    try:
        augment(flip(images, chance), params.train.augment, chance).sum().backward()
    finally:
        torch.cuda.set_sync_debug_mode("default")

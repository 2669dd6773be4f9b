"""TrivialAugment and erasing: each operation is torchvision's, and parameters follow from key and view alone."""

from __future__ import annotations

import math

import pytest
import torch
from torchvision.transforms import InterpolationMode, TrivialAugmentWide
from torchvision.transforms.autoaugment import _apply_op

from fnkd_core.data.augment import draws, key_hashes
from fnkd_core.data.distort import KIND, LEVELS, OPERATIONS, SIGN, erase, trivial_augment
from fnkd_core.data.views import View

VIEW = View(3, 5)


def pictures(count: int, channels: int = 3, size: tuple[int, int] = (24, 20)) -> torch.Tensor:
    """Smooth random pictures, each of another contrast; one of a single grey."""
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(count, channels, 5, 5, generator=generator)
    fine = torch.nn.functional.interpolate(coarse, size, mode="bilinear")
    low = torch.rand(count, 1, 1, 1, generator=generator) * 60
    images = (low + fine * (255 - low)).round().to(torch.uint8)
    images[-1] = 97
    return images


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", list(OPERATIONS))
def test_each_operation_is_torchvision_s_at_each_strength(name: str, channels: int) -> None:
    strengths, signed = TrivialAugmentWide()._augmentation_space(LEVELS)[name]
    operation = OPERATIONS[name]
    if operation is None:
        assert name == "Identity"
        return
    assert operation.signed == signed
    if strengths.ndim:
        torch.testing.assert_close(torch.tensor(operation.strengths), strengths.float(), rtol=1e-6, atol=1e-5)
    images = pictures(LEVELS, channels)
    for sign in (1, -1) if signed else (1,):
        values = sign * torch.tensor(operation.strengths, dtype=torch.float64)
        ours = operation.of(images, values)
        theirs = torch.stack(
            [_apply_op(x, name, float(v), InterpolationMode.NEAREST, None) for x, v in zip(images, values, strict=True)]
        )
        # A pixel that lies halfway between two may go either way, and a rounded number by one.
        apart = (ours.int() - theirs.int()).abs()
        assert float((apart > 1).float().mean()) < 0.01, name
        assert ours.dtype == torch.uint8 and ours.shape == images.shape


@pytest.mark.parametrize("how", ["trivial", "erase"])
def test_what_becomes_of_an_image_follows_from_its_key_and_view_alone(how: str) -> None:
    def of(images: torch.Tensor, hashes: torch.Tensor, view: View) -> torch.Tensor:
        return (
            trivial_augment(images, hashes, view) if how == "trivial" else erase(images, hashes, view, 0.5, (0.4,) * 3)
        )

    images, hashes = pictures(60), key_hashes(f"image {i}" for i in range(60))
    before = images.clone()
    whole = of(images, hashes, VIEW)
    assert torch.equal(images, before) and not torch.equal(whole, images)
    order = torch.randperm(60, generator=torch.Generator().manual_seed(1))
    assert torch.equal(of(images[order], hashes[order], VIEW), whole[order])
    assert torch.equal(of(images[7:9], hashes[7:9], VIEW), whole[7:9])
    for other in (View(3, 6), View(4, 5)):
        assert not torch.equal(of(images, hashes, other), whole)


def test_every_operation_and_both_signs_are_drawn_about_as_often() -> None:
    hashes = key_hashes(map(str, range(14_000)))
    counts = torch.bincount(draws(hashes, VIEW, KIND) % len(OPERATIONS))
    assert len(OPERATIONS) == 14 and int(counts.min()) > 880 and int(counts.max()) < 1120
    assert float((draws(hashes, VIEW, SIGN) % 2).double().mean()) == pytest.approx(0.5, abs=0.02)


def test_a_share_of_the_images_has_one_box_filled_with_the_colour() -> None:
    images = torch.full((4000, 3, 32, 32), 255, dtype=torch.uint8)
    out = erase(images, key_hashes(map(str, range(4000))), VIEW, 0.25, (0.2, 0.4, 0.6))
    erased = (out != 255).all(1)
    has = erased.flatten(1).any(1)
    assert float(has.float().mean()) == pytest.approx(0.25, abs=0.03)
    boxes = erased[has]
    tall, wide = boxes.any(2).sum(1), boxes.any(1).sum(1)
    assert torch.equal(boxes.sum((1, 2)), tall * wide)
    areas = (tall * wide).double() / 1024
    assert float(areas.min()) > 0.01 and float(areas.max()) < 0.36
    assert float(areas.mean()) == pytest.approx((0.02 + 0.33) / 2, abs=0.02)
    assert float((tall / wide).min()) > 0.25 and float((tall / wide).max()) < 4
    assert float((tall / wide).log().mean()) == pytest.approx(math.log(0.3 * 3.3) / 2, abs=0.1)
    pixels = out.permute(0, 2, 3, 1)[erased]
    assert pixels.unique(dim=0).tolist() == [[51, 102, 153]]
    assert torch.equal(erase(images, key_hashes(map(str, range(4000))), VIEW, 0.0, (0.0,) * 3), images)

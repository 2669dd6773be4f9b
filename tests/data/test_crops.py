"""Training decodes a JPEG no larger than its crop needs, which is then nearly the crop of the whole image."""

from __future__ import annotations

import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from fnkd_core.data import decoding
from fnkd_core.data.crops import Box, RandomCrop

EXIF_ORIENTATION = 0x0112


def photograph(width: int, height: int, seed: int = 0) -> Image.Image:
    """Smooth shapes of many sizes."""
    generator = np.random.default_rng(seed)
    layers = []
    for count in (3, 6, 12, 24):
        dots = Image.fromarray(generator.integers(0, 255, (count, count, 3), np.uint8))
        layers.append(np.asarray(dots.resize((width, height), Image.Resampling.BICUBIC), np.float64) / count)
    whole = sum(layers)
    return Image.fromarray(np.rint((whole - whole.min()) * 255 / np.ptp(whole)).astype(np.uint8))  # type: ignore[union-attr]


def encoded(image: Image.Image, kind: str = "JPEG", turned: int = 1) -> bytes:
    exif = Image.Exif()
    exif[EXIF_ORIENTATION] = turned
    file = io.BytesIO()
    image.save(file, kind, exif=exif, **({"quality": 95} if kind == "JPEG" else {}))
    return file.getvalue()


def crops(data: bytes, seed: int, size: int = 40, box: Box | None = None) -> tuple[np.ndarray, np.ndarray, RandomCrop]:
    """A random crop of the image decoded as small as may be, the same of the whole, and what was chosen."""
    small, whole = (RandomCrop(size, 0.35, True, (seed,), box) for _ in range(2))
    with decoding.reading(data, 3, small.choose) as image:
        first = np.asarray(small.of(image), np.float64)
    with decoding.reading(data, 3) as image:
        second = np.asarray(whole.of(image), np.float64)
    assert small.part == whole.part
    return first, second, small


@pytest.mark.parametrize("turned", range(1, 9))
@pytest.mark.parametrize("box", [None, (20.4, 31.6, 340.0, 360.2)])
def test_a_crop_of_a_jpeg_decoded_smaller_is_nearly_that_of_the_whole(turned: int, box: Box | None) -> None:
    data = encoded(photograph(501, 375), turned=turned)
    met = set()
    for seed in range(12):
        mine, exact, crop = crops(data, seed, box=box)
        met.add(crop.reduction)
        assert np.abs(mine - exact).mean() < 2.5
        # Another crop is far from it.
        other = crops(data, seed + 100, box=box)[1]
        assert np.abs(other - exact).mean() > 8
    assert met - {1}


@given(
    st.integers(1, 3000), st.integers(1, 3000), st.integers(4, 300), st.floats(0.05, 1), st.integers(0, 10_000)
)  # fmt: skip
def test_no_crop_is_made_of_fewer_pixels_than_are_wanted_unless_the_image_has_no_more(
    width: int, height: int, size: int, least_area: float, seed: int
) -> None:
    crop = RandomCrop(size, least_area, True, (seed,))
    times = crop.choose((width, height))
    least = min(crop.part.width, crop.part.height)
    assert times in (1, 2, 4, 8)
    assert times == 1 or least / times >= size
    assert times == 8 or least / (2 * times) < size


@pytest.mark.parametrize(("size", "times"), [(200, 1), (100, 2), (50, 4), (20, 8), (10, 8)])
def test_a_jpeg_is_decoded_at_the_smallest_scale_that_will_do(size: int, times: int) -> None:
    data, met = encoded(photograph(350, 350)), []
    crop = RandomCrop(size, 0.999, False, (0,))  # next to nothing is cut off: the side is more than 300
    with decoding.reading(data, 3, crop.choose) as image:
        met.append(image.size)
        assert crop.of(image).size == (size, size)
    assert crop.reduction == times and met == [(-(-350 // times), -(-350 // times))]


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "BMP"])
def test_other_formats_are_cropped_to_the_bit_as_before(kind: str) -> None:
    image = photograph(501, 375)
    file = io.BytesIO()
    image.save(file, kind)
    mine, exact, crop = crops(file.getvalue(), 1)
    assert np.array_equal(mine, exact) and crop.reduction == 1


def test_evaluation_decodes_the_whole_image() -> None:
    with decoding.reading(encoded(photograph(501, 375)), 3) as image:
        assert image.size == (501, 375)


def test_a_grey_and_a_cmyk_jpeg_are_decoded_smaller_in_their_own_way() -> None:
    for mode in ("L", "CMYK"):
        file = io.BytesIO()
        photograph(501, 375).convert(mode).save(file, "JPEG", quality=95)
        mine, exact, crop = crops(file.getvalue(), 3)
        assert crop.reduction > 1 and np.abs(mine - exact).mean() < 2.5

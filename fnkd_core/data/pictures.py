"""A picture as people look at it, not as a network reads it: made of the file, small ones as they are. No torch."""

from __future__ import annotations

import io
import os

from PIL import Image

from fnkd_core.data import decoding
from fnkd_core.data.crops import Box, region

THUMBNAIL = 256
"""Longest side of a thumbnail in pixels."""
PASSED_BYTES = 48 * 2**10
"""A file no larger than a thumbnail, in pixels and in this, is one."""
SHOWN, SHOWN_BYTES = 1600, 2 * 2**20
"""Longest side and bytes of a picture that is shown in full; one with more is scaled down."""
PLAIN = ("JPEG", "PNG", "WEBP")
"""Formats that every browser shows."""


def thumbnail(source: str | bytes, image: Image.Image) -> bytes:
    """An image file at most `THUMBNAIL` pixels long. image: the source upright, decoded, in mode L or RGB.

    A source that is as small already is passed on as it is; smaller ones of other formats lose nothing.
    """
    small = max(image.size) <= THUMBNAIL
    if small and (as_it_is := _passed(source, THUMBNAIL, PASSED_BYTES)) is not None:
        return as_it_is
    return _encoded(image, THUMBNAIL, lossless=small)


def in_full(source: str | bytes) -> tuple[bytes, tuple[int, int]]:
    """The file itself where a browser shows it and it is no larger than `SHOWN`, else that made of it; and the whole
    picture's (width, height), upright.

    Any error that Pillow has where it cannot be read; see `decoding.reason`.
    """
    with decoding.reading(source, 3) as image:
        as_it_is = _passed(source, SHOWN, SHOWN_BYTES)
        return as_it_is or _encoded(image, SHOWN, lossless=max(image.size) <= THUMBNAIL), image.size


def part_read(size: tuple[int, int], box: Box | None, crop_pct: float) -> tuple[float, float, float, float]:
    """(left, top, width, height) of what evaluation reads, as shares of a picture of this (width, height).

    It is the middle square of the box, whose side is `crop_pct` of the shorter side; see `decoding.centre`.
    """
    left, top, right, bottom = region(size, box)
    width, height = right - left, bottom - top
    side = crop_pct * min(width, height)
    return (
        (left + (width - side) / 2) / size[0],
        (top + (height - side) / 2) / size[1],
        side / size[0],
        side / size[1],
    )


def _passed(source: str | bytes, side: int, most: int) -> bytes | None:
    """The file's bytes where it can be shown as it is."""
    if (os.path.getsize(source) if isinstance(source, str) else len(source)) > most:
        return None
    with decoding.opened(source) as image:
        turned, corrupt = decoding.orientation(image)
        plain = image.format in PLAIN and image.mode in ("L", "RGB", "P") and not image.has_transparency_data
        if turned is not None or corrupt or not plain or max(image.size) > side or getattr(image, "is_animated", False):
            return None
    if isinstance(source, bytes):
        return source
    with decoding.open_regular(source) as file:
        held = file.read(most + 1)
    return held if len(held) <= most else None


def _encoded(image: Image.Image, side: int, lossless: bool) -> bytes:
    buffer = io.BytesIO()
    if lossless:
        image.save(buffer, "WEBP", lossless=True, method=0)
        return buffer.getvalue()
    share = side / max(image.size)
    if share < 1:
        size = max(1, round(share * image.width)), max(1, round(share * image.height))
        image = image.resize(size, Image.Resampling.BILINEAR, reducing_gap=2.0)
    # Encoded several times as fast as WebP, which makes it half as long again.
    image.save(buffer, "JPEG", quality=85)
    return buffer.getvalue()

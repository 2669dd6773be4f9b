"""One image file to pixels: which formats and modes, which part, at which size. No torch."""

from __future__ import annotations

import contextlib
import io
import os
import struct
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, BinaryIO

import numpy as np
from PIL import Image, ImageOps
from PIL.JpegImagePlugin import JpegImageFile

from fnkd_core.data import budget
from fnkd_core.data.regular import open_regular
from fnkd_core.errors import BrokenImages
from fnkd_core.wording import counted

if TYPE_CHECKING:
    from numpy.typing import NDArray

SUFFIXES = frozenset({
    ".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".bmp", ".ppm", ".pgm", ".tif", ".tiff", ".gif",
})  # fmt: skip
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "PPM", "TIFF", "GIF")
INTERPOLATIONS = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}
SIXTEEN_BIT = {"I;16", "I;16B", "I;16L", "I"}
GREY = {"1", "L", *SIXTEEN_BIT}
LARGE = 96
"""From this side on, training sees random crops of the original images."""

# A picture that would unpack to gigabytes is an error, not a warning.
warnings.filterwarnings("error", category=Image.DecompressionBombWarning)
# Blocks of up to 32 MiB stay with the thread that let go of them, on Linux; larger ones go back to the system.
Image.core.set_block_size(64 * 2**20)
# Said with the file's name, by `CorruptExif`.
warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")

STRIP = 2**22
"""So many pixels of a picture are converted at once."""
UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
SIDEWAYS = {UPRIGHT[turn] for turn in (5, 6, 7, 8)}
ORIENTATION = 0x0112


class CorruptExif(UserWarning):
    """What a camera says of a picture cannot be read, so not how it was held either."""


@contextlib.contextmanager
def opened(source: str | bytes) -> Iterator[Image.Image]:
    """The image with its header read, not yet decoded; of the formats in FORMATS only.

    What Pillow reads of texts and colour profiles in a PNG is bounded; where these are larger they are passed over.
    """
    with contextlib.ExitStack() as held:
        # Not by its name: Pillow would map a file into memory, and die with one that is cut short meanwhile.
        file = held.enter_context(io.BytesIO(source) if isinstance(source, bytes) else open_regular(source))
        try:
            image: Image.Image = Image.open(file, formats=FORMATS)
        except ValueError as error:
            if not _of_text(error):
                raise
            image = Image.open(io.BytesIO(_without_text(file)), formats=FORMATS)
        yield held.enter_context(image)


@contextlib.contextmanager
def reading(
    source: str | bytes, channels: int, reduction: Callable[[tuple[int, int]], int] | None = None
) -> Iterator[Image.Image]:
    """The image upright (EXIF), in mode L for 1 channel and RGB for 3; the first one where there are several.

    Transparent parts are laid on white. 16 bits a pixel are scaled to 8. CMYK, palettes and grey are converted. Warns
    once of a file whose EXIF is corrupt, which is read all the same. For as long as the block runs the image counts
    towards what may be held in memory (see `budget`), so it should only be cropped and scaled there.

    reduction: asked of a JPEG, by the (width, height) that it has upright, by which of 1, 2, 4 and 8 it is decoded
    smaller, which takes less time. Other formats are decoded whole, and it is not asked.
    """
    with contextlib.ExitStack() as held:
        with opened(source) as image:
            if reduction is not None and isinstance(image, JpegImageFile):
                _reduce(image, reduction)
            held.enter_context(budget.share_of(image.size))
            if image.mode == "F":
                raise ValueError("its pixels are floating-point numbers")
            flat = _upright(image, source, "L" if channels == 1 else "RGB")
        yield flat


def _reduce(image: JpegImageFile, reduction: Callable[[tuple[int, int]], int]) -> None:
    width, height = image.size
    times = reduction((height, width) if orientation(image)[0] in SIDEWAYS else (width, height))
    if times > 1:
        image.draft(None, (max(1, width // times), max(1, height // times)))


def decoded(source: str | bytes, channels: int) -> Image.Image:
    """The image as `reading` gives it, to be kept."""
    with reading(source, channels) as image:
        return image


def _upright(image: Image.Image, source: str | bytes, mode: str) -> Image.Image:
    try:
        image.load()
    except ValueError as error:
        if not _of_text(error):
            raise
        # Texts that come after the pixels.
        with io.BytesIO(source) if isinstance(source, bytes) else open_regular(source) as file:
            image = Image.open(io.BytesIO(_without_text(file)), formats=FORMATS)
    turn, corrupt = orientation(image)
    if corrupt:
        name = source if isinstance(source, str) else f"An image of {len(source):,} bytes"
        warn_once(f"{name} has corrupt EXIF; the image is read all the same.")
    flat = _flat(image, mode)
    image.close()
    return flat if turn is None else flat.transpose(turn)


def _flat(image: Image.Image, mode: str) -> Image.Image:
    """The image in this mode, converted in strips: a large one is not held more often than twice."""
    rows = max(1, STRIP // image.width)
    if image.height <= rows:
        return _converted(image, mode)
    whole = Image.new(mode, image.size)
    for top in range(0, image.height, rows):
        strip = image.crop((0, top, image.width, min(top + rows, image.height)))
        whole.paste(_converted(strip, mode), (0, top))
    return whole


def _converted(image: Image.Image, mode: str) -> Image.Image:
    if image.mode in SIXTEEN_BIT:
        # Pillow would clip at 255; it keeps 16-bit PGM in 32-bit integers.
        levels = np.asarray(image).astype(np.float64).clip(0, 65535) / 257
        return Image.fromarray(np.rint(levels).astype(np.uint8)).convert(mode)
    if image.has_transparency_data:
        whole = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", whole.size, "white"), whole).convert(mode)
    return image.convert(mode)


def orientation(image: Image.Image) -> tuple[Image.Transpose | None, bool]:
    """What turns the image upright, if anything is known to, and whether its EXIF is corrupt."""
    try:
        turn = UPRIGHT.get(image.getexif().get(ORIENTATION, 1))
    except Exception:  # of many kinds, for many kinds of corruption
        return None, True
    return turn, not _is_sound(image.info.get("exif"))


def _is_sound(exif: bytes | None) -> bool:
    """Whether the first directory of an EXIF block is whole and its orientation, where it has one, a number."""
    if exif is None:
        return True
    block = exif.removeprefix(b"Exif\0\0")
    try:
        order = {b"II": "<", b"MM": ">"}[block[:2]]
        magic, start = struct.unpack_from(f"{order}HI", block, 2)
        (count,) = struct.unpack_from(f"{order}H", block, start)
        entries = [struct.unpack_from(f"{order}HHII", block, start + 2 + 12 * i) for i in range(count)]
    except (KeyError, struct.error):
        return False
    return magic == 42 and all((kind, number) == (3, 1) for tag, kind, number, _ in entries if tag == ORIENTATION)


_warned: set[str] = set()


def warn_once(text: str) -> None:
    """Warn of a corrupt EXIF, unless this process has."""
    if text not in _warned:
        _warned.add(text)
        warnings.warn(text, CorruptExif, stacklevel=2)


def _of_text(error: ValueError) -> bool:
    return "MAX_TEXT" in str(error)


def _without_text(file: BinaryIO) -> bytes:
    """The PNG without its texts and its colour profile."""
    file.seek(0)
    parts, size = [file.read(8)], 0
    while len(head := file.read(8)) == 8:
        length, kind = struct.unpack(">I4s", head)
        if kind in (b"tEXt", b"zTXt", b"iTXt", b"iCCP"):
            file.seek(length + 4, os.SEEK_CUR)
            continue
        size += length
        if size > budget.UNIT_BYTES * budget.UNITS:
            raise ValueError("it is too large to be read without its texts")
        parts += [head, file.read(length + 4)]
    return b"".join(parts)


def problem(source: str | bytes) -> str | None:
    """Why an image cannot be decoded, in a few words; None where it can."""
    try:
        with reading(source, 3):
            return None
    except Exception as error:
        return reason(error)


def reason(error: Exception) -> str:
    """What Pillow says, in one short line and without the path."""
    text = str(error).splitlines()[0] if str(error) else type(error).__name__
    return "no image of a format read here" if text.startswith("cannot identify") else text[:120]


def centre(image: Image.Image, size: int, crop_pct: float, interpolation: str) -> Image.Image:
    """(size, size) the middle square, whose side is `crop_pct` of the shorter side, scaled in one step."""
    if image.size == (size, size) and crop_pct == 1:
        return image
    return ImageOps.fit(image, (size, size), INTERPOLATIONS[interpolation], bleed=(1 - crop_pct) / 2)


def pixels(image: Image.Image) -> NDArray[np.uint8]:
    """(C, H, W) uint8."""
    array = np.asarray(image)
    return array[None] if array.ndim == 2 else array.transpose(2, 0, 1)


def native_shape(sources: Sequence[str | bytes], largest: int) -> tuple[int, int | None]:
    """Channels, and the side in pixels where all are squares of one size up to `largest`; from 64 images."""
    sizes, modes = set(), set()
    for i in range(0, len(sources), max(1, len(sources) // 64)):
        try:
            with opened(sources[i]) as image:
                sizes.add(image.size)
                modes.add(image.mode)
        except Exception:
            continue  # reading the split says which and why
    square = len(sizes) == 1 and all(w == h <= largest for w, h in sizes)
    return (1 if modes and modes <= GREY else 3), (next(iter(sizes))[0] if square else None)


def evaluation_crop(size: int) -> float:
    """The share of the shorter side that evaluation keeps where nothing else is said: 0.875 from 160 pixels on."""
    return 0.875 if size >= 160 else 1.0


def refusal(what: str, broken: dict[str, str]) -> BrokenImages:
    """The line that counts unreadable images, names the first and says what to do."""
    named = "; ".join(f"{key} ({why})" for key, why in list(broken.items())[:3])
    return BrokenImages(
        f"{counted(len(broken), 'image')} of {what} cannot be read: {named}{' ...' if len(broken) > 3 else ''}; "
        "repair or remove them. An image folder can leave them out: `fnkd data add NAME DIR --unreadable skip`."
    )

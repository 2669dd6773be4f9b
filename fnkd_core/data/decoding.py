"""One image file to pixels: which formats and modes, which part, at which size. No torch."""

from __future__ import annotations

import io
import os
import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageOps

from fnkd_core.errors import UserError, require

if TYPE_CHECKING:
    from numpy.typing import NDArray

SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".ppm", ".pgm"}
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "PPM")
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

Box = tuple[float, float, float, float]

# A picture that would unpack to gigabytes is an error, not a warning.
warnings.filterwarnings("error", category=Image.DecompressionBombWarning)


def opened(source: str | bytes) -> Image.Image:
    """The image with its header read, not yet decoded; of the formats in FORMATS only."""
    return Image.open(io.BytesIO(source) if isinstance(source, bytes) else source, formats=FORMATS)


def decoded(source: str | bytes, channels: int) -> Image.Image:
    """The image upright (EXIF), in mode L for 1 channel and RGB for 3.

    Transparent parts are laid on white. 16 bits a pixel are scaled to 8. CMYK, palettes and grey are converted.
    """
    with opened(source) as image:
        mode = "L" if channels == 1 else "RGB"
        if image.mode == "F":
            raise ValueError("its pixels are floating-point numbers")
        image.load()
        ImageOps.exif_transpose(image, in_place=True)
        if image.mode in SIXTEEN_BIT:
            # Pillow would clip at 255; it keeps 16-bit PGM in 32-bit integers.
            levels = np.asarray(image).astype(np.float64).clip(0, 65535) / 257
            return Image.fromarray(np.rint(levels).astype(np.uint8)).convert(mode)
        if image.has_transparency_data:
            whole = image.convert("RGBA")
            return Image.alpha_composite(Image.new("RGBA", whole.size, "white"), whole).convert(mode)
        return image.convert(mode)


def problem(source: str | bytes) -> str | None:
    """Why an image cannot be decoded, in a few words; None where it can."""
    try:
        decoded(source, 3)
    except Exception as error:
        return reason(error)
    return None


def reason(error: Exception) -> str:
    """What Pillow says, in one short line and without the path."""
    text = str(error).splitlines()[0] if str(error) else type(error).__name__
    return "no image of a format read here" if text.startswith("cannot identify") else text[:120]


def centre(image: Image.Image, size: int, crop_pct: float, interpolation: str) -> Image.Image:
    """(size, size) the middle square, whose side is `crop_pct` of the shorter side, scaled in one step."""
    if image.size == (size, size) and crop_pct == 1:
        return image
    return ImageOps.fit(image, (size, size), INTERPOLATIONS[interpolation], bleed=(1 - crop_pct) / 2)


def random_crop(image: Image.Image, size: int, least_area: float, flip: bool, seed: Sequence[int]) -> Image.Image:
    """(size, size) a random part, scaled: its area uniform from `least_area` to 1, its shape from 3:4 to 4:3.

    Mirrored half the time if `flip`. Everything follows from the seed. After ten parts that do not fit it is the
    largest middle part of an allowed shape (Szegedy et al., "Going Deeper with Convolutions", 2015).
    """
    generator = np.random.default_rng(list(seed))
    mirrored = flip and generator.random() < 0.5
    width, height = image.size
    for _ in range(10):
        area = width * height * generator.uniform(least_area, 1)
        shape = np.exp(generator.uniform(np.log(3 / 4), np.log(4 / 3)))
        w, h = np.sqrt(area * shape), np.sqrt(area / shape)
        if w <= width and h <= height:
            left, top = generator.uniform(0, width - w), generator.uniform(0, height - h)
            break
    else:
        w, h = min(width, height * 4 / 3), min(height, width * 4 / 3)
        left, top = (width - w) / 2, (height - h) / 2
    image = image.resize((size, size), Image.Resampling.BILINEAR, box=(left, top, left + w, top + h))
    return ImageOps.mirror(image) if mirrored else image


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


def keep_inside(paths: Iterable[str | Path], root: Path) -> None:
    """`UserError` where one of the paths leads out of the root, by .. or by a link."""
    inside = os.path.realpath(root)
    folders: dict[str, str] = {}
    for path in paths:
        folder, name = os.path.split(path)
        if folder not in folders:
            folders[folder] = os.path.realpath(folder)
        whole = os.path.join(folders[folder], name)
        real = os.path.realpath(whole) if name in ("", ".", "..") or os.path.islink(whole) else whole
        require(
            real == inside or real.startswith(inside + os.sep),
            f"{path} leads out of {root}; replace it by the files themselves.",
        )


def refusal(what: str, broken: dict[str, str]) -> UserError:
    """The line that counts unreadable images, names the first and says what to do."""
    named = "; ".join(f"{key} ({why})" for key, why in list(broken.items())[:3])
    return UserError(
        f"{len(broken):,} image(s) of {what} cannot be read: {named}{' ...' if len(broken) > 3 else ''}; repair or "
        "remove them. An image folder can leave them out: `fnkd data add NAME DIR --unreadable skip`."
    )

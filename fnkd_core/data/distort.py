"""TrivialAugment and random erasing of a batch, with parameters drawn for each sample by its key."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from fnkd_core.data.augment import draws, to_device
from fnkd_core.data.views import View

LEVELS = 31
KIND, LEVEL, SIGN, ERASED, AREA, SHAPE, TOP, LEFT = range(10, 18)
"""Streams of random numbers; `augment` has those below."""
AREAS, SHAPES = (0.02, 0.33), (0.3, 3.3)
"""Of an erased box: its share of the image's area, and its height over its width."""


def uniform(hashes: Tensor, view: View, stream: int) -> np.ndarray:
    """(N,) float64 in (0, 1): a random number for each sample. hashes: (N,) on the CPU."""
    return (draws(hashes, view, stream).numpy() + 0.5) / 2**31


def trivial_augment(images: Tensor, hashes: Tensor, view: View) -> Tensor:
    """(N, C, H, W) uint8: each image changed by one of `OPERATIONS`, at one of its 31 strengths.

    TrivialAugment's wide space (Müller and Hutter, ICCV 2021), as torchvision has it. hashes: (N,) of the samples'
    keys, on the CPU.
    """
    kinds = draws(hashes, view, KIND) % len(OPERATIONS)
    levels, signs = draws(hashes, view, LEVEL) % LEVELS, 1 - 2 * (draws(hashes, view, SIGN) % 2)
    out = images.clone()
    for k, operation in enumerate(OPERATIONS.values()):
        chosen = (kinds == k).nonzero()[:, 0]
        if operation is None or not len(chosen):
            continue
        values = torch.tensor(operation.strengths, dtype=torch.float64)[levels[chosen]]
        if operation.signed:
            values = values * signs[chosen]
        rows = to_device(chosen, images.device)
        out[rows] = operation.of(images.index_select(0, rows), values)
    return out


def erase(images: Tensor, hashes: Tensor, view: View, probability: float, fill: Sequence[float]) -> Tensor:
    """(N, C, H, W) uint8: of this share of the images a box is filled with one colour.

    Random erasing (Zhong et al., AAAI 2020); a box that would be larger than the image ends at its edge. fill: (C,) the
    colour, white is 1. hashes: (N,) of the samples' keys, on the CPU.
    """
    height, width = images.shape[2:]
    area = height * width * (AREAS[0] + (AREAS[1] - AREAS[0]) * uniform(hashes, view, AREA))
    low, high = math.log(SHAPES[0]), math.log(SHAPES[1])
    shape = np.exp(low + (high - low) * uniform(hashes, view, SHAPE))
    tall = np.clip(np.round(np.sqrt(area * shape)), 1, height)
    wide = np.clip(np.round(np.sqrt(area / shape)), 1, width)
    top = np.floor(uniform(hashes, view, TOP) * (height - tall + 1))
    left = np.floor(uniform(hashes, view, LEFT) * (width - wide + 1))
    wide = wide * (uniform(hashes, view, ERASED) < probability)
    inside = in_boxes(np.stack([top, top + tall, left, left + wide]), images)
    colour = torch.tensor([round(255 * value) for value in fill], dtype=torch.uint8)
    return torch.where(inside, to_device(colour, images.device)[:, None, None], images)


def in_boxes(boxes: np.ndarray, images: Tensor) -> Tensor:
    """(N, 1, H, W) which pixels lie in a box for each image. boxes: (4, N) top, bottom, left, right."""
    height, width = images.shape[2:]
    top, bottom, left, right = to_device(torch.from_numpy(boxes.astype(np.int64)), images.device)[..., None]
    rows, columns = (torch.arange(size, device=images.device) for size in (height, width))
    tall, wide = (rows >= top) & (rows < bottom), (columns >= left) & (columns < right)
    return (tall[:, :, None] & wide[:, None, :])[:, None]


@dataclass(frozen=True)
class Operation:
    """One way to change images. of: takes (n, C, H, W) uint8 and (n,) float64 strengths, on the CPU."""

    of: Callable[[Tensor, Tensor], Tensor]
    strengths: Sequence[float]
    signed: bool = False


def _warped(images: Tensor, x: Sequence[Tensor], y: Sequence[Tensor]) -> Tensor:
    """Each image as an affine map moves it, by the nearest pixel; black comes in.

    x, y: three (n,) numbers each: where a pixel of the result comes from is x[0] * column + x[1] * row + x[2], and the
    same for the row, counted from the image's middle. In whole numbers, so that every device rounds alike.
    """
    n, _, height, width = images.shape
    device = images.device
    matrix = torch.stack([*x, *y]).mul(2**16).round().long()
    a, b, c, d, e, f = to_device(matrix, device)[:, :, None, None]
    # Twice each coordinate is a whole number.
    row = (2 * torch.arange(height, device=device) + 1 - height)[None, :, None]
    column = (2 * torch.arange(width, device=device) + 1 - width)[None, None, :]
    columns = (a * column + b * row + 2 * c + (width << 16)) >> 17
    rows = (d * column + e * row + 2 * f + (height << 16)) >> 17
    inside = (columns >= 0) & (columns < width) & (rows >= 0) & (rows < height)
    sample = torch.arange(n, device=device)[:, None, None]
    moved = images.permute(0, 2, 3, 1)[sample, rows.clamp(0, height - 1), columns.clamp(0, width - 1)]
    return (moved * inside[..., None]).permute(0, 3, 1, 2)


def _shear_x(images: Tensor, m: Tensor) -> Tensor:
    one, none = torch.ones_like(m), torch.zeros_like(m)
    return _warped(images, (one, m, m * images.shape[2] / 2), (none, one, none))


def _shear_y(images: Tensor, m: Tensor) -> Tensor:
    one, none = torch.ones_like(m), torch.zeros_like(m)
    return _warped(images, (one, none, none), (m, one, m * images.shape[3] / 2))


def _translate_x(images: Tensor, pixels: Tensor) -> Tensor:
    one, none = torch.ones_like(pixels), torch.zeros_like(pixels)
    return _warped(images, (one, none, -pixels.trunc()), (none, one, none))


def _translate_y(images: Tensor, pixels: Tensor) -> Tensor:
    one, none = torch.ones_like(pixels), torch.zeros_like(pixels)
    return _warped(images, (one, none, none), (none, one, -pixels.trunc()))


def _rotate(images: Tensor, degrees: Tensor) -> Tensor:
    angle, none = -degrees.deg2rad(), torch.zeros_like(degrees)
    return _warped(images, (angle.cos(), angle.sin(), none), (-angle.sin(), angle.cos(), none))


def _blended(images: Tensor, other: Tensor | float, m: Tensor) -> Tensor:
    """1 + m of the image, and the rest of the other."""
    share = to_device((1 + m).float(), images.device)[:, None, None, None]
    return (share * images + (1 - share) * other).clamp(0, 255).to(torch.uint8)


def _grey(images: Tensor) -> Tensor:
    """(n, 1, H, W) uint8 luma of the images."""
    if images.shape[1] != 3:
        return images
    red, green, blue = images.unbind(1)
    return (0.2989 * red + 0.587 * green + 0.114 * blue).to(torch.uint8)[:, None]


def _color(images: Tensor, m: Tensor) -> Tensor:
    return _blended(images, _grey(images), m) if images.shape[1] == 3 else images


def _contrast(images: Tensor, m: Tensor) -> Tensor:
    return _blended(images, _grey(images).float().mean((1, 2, 3), keepdim=True), m)


def _sharpness(images: Tensor, m: Tensor) -> Tensor:
    if min(images.shape[2:]) <= 2:
        return images
    kernel = torch.ones(3, 3, device=images.device)
    kernel[1, 1] = 5
    kernel = (kernel / kernel.sum()).expand(images.shape[1], 1, 3, 3)
    smooth = images.clone()
    blurred = torch.nn.functional.conv2d(images.float(), kernel, groups=images.shape[1])
    smooth[..., 1:-1, 1:-1] = blurred.round().to(torch.uint8)
    return _blended(images, smooth, m)


def _posterize(images: Tensor, bits: Tensor) -> Tensor:
    mask = (256 - 2 ** (8 - bits)).to(torch.uint8)
    return images & to_device(mask, images.device)[:, None, None, None]


def _solarize(images: Tensor, threshold: Tensor) -> Tensor:
    limit = to_device(threshold.float(), images.device)[:, None, None, None]
    return torch.where(images >= limit, 255 - images, images)


def _auto_contrast(images: Tensor, _: Tensor) -> Tensor:
    low, high = images.amin((2, 3), keepdim=True).float(), images.amax((2, 3), keepdim=True).float()
    stretched = ((images - low) * (255 / (high - low))).clamp(0, 255)
    return torch.where(high > low, stretched, images).to(torch.uint8)


def _equalize(images: Tensor, _: Tensor) -> Tensor:
    n, channels, height, width = images.shape
    values = images.reshape(n * channels, -1).long()
    counts = torch.zeros(len(values), 256, dtype=torch.int64, device=images.device)
    counts.scatter_add_(1, values, torch.ones_like(values))
    brightest = counts.gather(1, values.amax(1, keepdim=True))
    step = (height * width - brightest) // 255
    # One grey above another has so many pixels below it, half a step more, in steps.
    below = counts.cumsum(1) - counts
    table = ((below + step // 2) // step.clamp(min=1)).clamp(0, 255)
    table[:, 0] = 0
    return torch.where(step > 0, table.gather(1, values), values).to(torch.uint8).view_as(images)


_SHARES, _NONE = np.linspace(0, 0.99, LEVELS).tolist(), [0.0] * LEVELS
OPERATIONS: dict[str, Operation | None] = {
    "Identity": None,
    "ShearX": Operation(_shear_x, _SHARES, True),
    "ShearY": Operation(_shear_y, _SHARES, True),
    "TranslateX": Operation(_translate_x, np.linspace(0, 32, LEVELS).tolist(), True),
    "TranslateY": Operation(_translate_y, np.linspace(0, 32, LEVELS).tolist(), True),
    "Rotate": Operation(_rotate, np.linspace(0, 135, LEVELS).tolist(), True),
    "Brightness": Operation(lambda images, m: _blended(images, 0.0, m), _SHARES, True),
    "Color": Operation(_color, _SHARES, True),
    "Contrast": Operation(_contrast, _SHARES, True),
    "Sharpness": Operation(_sharpness, _SHARES, True),
    "Posterize": Operation(_posterize, (8 - np.round(np.arange(LEVELS) / 5)).tolist()),
    "Solarize": Operation(_solarize, np.linspace(255, 0, LEVELS).tolist()),
    "AutoContrast": Operation(_auto_contrast, _NONE),
    "Equalize": Operation(_equalize, _NONE),
}
"""By the names that torchvision gives them, in its order."""

"""Little image files for tests."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image


def noise(width: int, height: int, seed: int) -> Image.Image:
    """A picture that no other seed gives, smooth enough for JPEG."""
    coarse = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)


def write_folder(
    root: Path, count: int = 6, size: tuple[int, int] = (40, 30), classes: tuple[str, ...] = ("ape", "bee")
) -> Path:
    """train/<class>/ and test/<class>/ with so many JPEGs each."""
    seed = 0
    for part in ("train", "test"):
        for name in classes:
            (root / part / name).mkdir(parents=True)
            for i in range(count):
                noise(*size, seed).save(root / part / name / f"{i:03d}.jpg", quality=90)
                seed += 1
    return root

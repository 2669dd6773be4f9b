"""scikit-learn's digits: 1,797 real handwritten digits of 8x8 pixels, inside its package."""

from __future__ import annotations

import functools
import importlib.util
from pathlib import Path

from fnkd_core.data.listing import with_contents
from fnkd_core.data.types import DatasetInfo, Samples
from fnkd_core.errors import require, unknown
from fnkd_core.files import sha256


def describe(root: str | None, labels: str | None, image_size: int | None) -> DatasetInfo:
    """Digits, without loading them; see `dataset_info`."""
    require(root is None, f"digits come with scikit-learn and take no data root, got {root!r}.")
    require(image_size in (None, 8), f"digits are 8x8 pixels and are not resized, got image size {image_size}.")
    if labels not in (None, "digits"):
        raise unknown("label space of digits", labels, ["digits"])
    info = DatasetInfo(
        name="digits",
        title="Digits (8x8, scikit-learn)",
        classes=tuple("0123456789"),
        label_space="digits",
        label_spaces=("digits",),
        splits=("train", "test"),
        image=(1, 8, 8),
        mean=(0.3053,),
        std=(0.3760,),
        pad=1,
        flip=False,
        sizes=(1437, 360),
        note="1,797 handwritten digits; a fixed stratified split of 1,437 to train and 360 to test.",
    )
    return with_contents(info, _content())


@functools.cache
def _content() -> str:
    """Of the package's file, which is found without importing the package: pages ask for it at their first paint."""
    spec = importlib.util.find_spec("sklearn")
    assert spec is not None and spec.origin is not None
    return sha256(Path(spec.origin).parent / "datasets" / "data" / "digits.csv.gz")


def load(info: DatasetInfo, split: str) -> Samples:
    """A split, from scikit-learn's own file."""
    import numpy as np
    import torch
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    data = load_digits()
    parts = train_test_split(np.arange(len(data.target)), test_size=360, random_state=0, stratify=data.target)
    index = np.sort(parts[info.splits.index(split)])
    # The package stores 17 grey levels, 0 to 16.
    images = np.rint(data.images[index] * (255 / 16)).astype(np.uint8)[:, None]
    return Samples(
        info,
        split,
        torch.from_numpy(images),
        torch.from_numpy(data.target[index].astype(np.int64)),
        [f"digits/{i:04d}" for i in index],
    )

"""scikit-learn's digits: 1,797 real handwritten digits of 8x8 pixels, inside its package."""

from __future__ import annotations

import functools
import importlib.util
from pathlib import Path

from fnkd_core.data.listing import with_contents
from fnkd_core.data.types import DatasetInfo, Samples
from fnkd_core.errors import require, unknown
from fnkd_core.files import sha256

TEST = bytes.fromhex(
    "000004883524104000064100934205001a00080100240028062c12001000940a009019120420f8a0028110a000080a882044"
    "1524494240a00a0000004004d80000818020004805c400104008a0100005404800301000020ec409000224840083a8013c20"
    "a6980a0000000b08400804a0184802024041c1008004404684376a810216004480004042a0a4180a5000840b8561c6081080"
    "08004c80c02004068e00010882008100380803c008190000100e01008410a0210033282904c044c080680e01028300820088"
    "22a6402c24042108a860809081a00c02820242120138a41500"
)
"""Which samples are for testing, a bit each: scikit-learn's stratified split of 360 by seed 0, whose version does not
decide it so."""


def describe(root: str | None, labels: str | None, image_size: int | None) -> DatasetInfo:
    """Digits, without loading them; see `dataset_info`.

    `UserError` for what digits do not have.
    """
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


def _file() -> Path:
    """The package's file, which is found without importing the package: pages ask for it at their first paint."""
    spec = importlib.util.find_spec("sklearn")
    assert spec is not None and spec.origin is not None
    return Path(spec.origin).parent / "datasets" / "data" / "digits.csv.gz"


@functools.cache
def _content() -> str:
    return sha256(_file())


def load(info: DatasetInfo, split: str) -> Samples:
    """A split, from scikit-learn's own file."""
    import numpy as np
    import torch

    # Not by scikit-learn's own reader: to import it takes a second of each process.
    table = np.loadtxt(_file(), delimiter=",", dtype=np.int64)
    chosen = np.unpackbits(np.frombuffer(TEST, np.uint8), count=len(table)).astype(bool)
    index = np.flatnonzero(chosen if split == "test" else ~chosen)
    pixels, labels = table[index, :64].reshape(-1, 8, 8), table[index, 64]
    # The package stores 17 grey levels, 0 to 16.
    images = np.rint(pixels * (255 / 16)).astype(np.uint8)[:, None]
    return Samples(
        info,
        split,
        torch.from_numpy(images),
        torch.from_numpy(labels),
        [f"digits/{i:04d}" for i in index],
    )

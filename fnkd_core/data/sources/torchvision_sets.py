"""MNIST, Fashion-MNIST, SVHN and STL-10 from their published files."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from fnkd_core.data.download.addresses import contents_of, data_root, to_fetch
from fnkd_core.data.download.fetch import ensure
from fnkd_core.data.listing import with_contents
from fnkd_core.data.types import DatasetInfo, Samples
from fnkd_core.errors import UserError, require, unknown

if TYPE_CHECKING:
    import numpy as np

DIGITS = tuple("0123456789")
GARMENTS = (
    "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
)  # fmt: skip
OBJECTS = ("airplane", "bird", "car", "cat", "deer", "dog", "horse", "monkey", "ship", "truck")


@dataclass(frozen=True)
class _Facts:
    title: str
    classes: tuple[str, ...]
    image: tuple[int, int, int]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    pad: int
    flip: bool
    sizes: tuple[int, int]
    note: str = ""


FACTS: dict[str, _Facts] = {
    "mnist": _Facts("MNIST", DIGITS, (1, 28, 28), (0.1307,), (0.3081,), 2, False, (60_000, 10_000)),
    "fashion_mnist": _Facts("Fashion-MNIST", GARMENTS, (1, 28, 28), (0.2860,), (0.3530,), 2, True, (60_000, 10_000)),
    "svhn": _Facts(
        "SVHN",
        DIGITS,
        (3, 32, 32),
        (0.4377, 0.4438, 0.4728),
        (0.1980, 0.2010, 0.1970),
        4,
        False,
        (73_257, 26_032),
        "The extra images are left out. ",
    ),
    "stl10": _Facts(
        "STL-10",
        OBJECTS,
        (3, 96, 96),
        (0.4467, 0.4398, 0.4066),
        (0.2603, 0.2566, 0.2713),
        12,
        True,
        (5_000, 8_000),
        "The images without labels are left out. ",
    ),
}


def _describe(name: str, root: str | None, labels: str | None, image_size: int | None) -> DatasetInfo:
    facts = FACTS[name]
    side = facts.image[1]
    if labels not in (None, name):
        raise unknown(f"label space of {name}", labels, [name])
    require(
        image_size in (None, side), f"{name} is {side}x{side} pixels and is not resized, got image size {image_size}."
    )
    train, test = facts.sizes
    info = DatasetInfo(
        name=name,
        title=facts.title,
        classes=facts.classes,
        label_space=name,
        label_spaces=(name,),
        splits=("train", "test"),
        image=facts.image,
        mean=facts.mean,
        std=facts.std,
        pad=facts.pad,
        flip=facts.flip,
        sizes=facts.sizes,
        note=f"{train:,} images to train, {test:,} to test. {facts.note}Downloaded on first use.",
        root=root,
        download=to_fetch(name, root),
    )
    return with_contents(info, contents_of(name, root))


describe_mnist = partial(_describe, "mnist")
describe_fashion_mnist = partial(_describe, "fashion_mnist")
describe_svhn = partial(_describe, "svhn")
describe_stl10 = partial(_describe, "stl10")


def _idx(name: str, root: Path, split: str) -> tuple[np.ndarray, np.ndarray]:
    from torchvision import datasets

    data = (datasets.MNIST if name == "mnist" else datasets.FashionMNIST)(root, train=split == "train")
    return data.data.numpy()[:, None], data.targets.numpy()


def _svhn(name: str, root: Path, split: str) -> tuple[np.ndarray, np.ndarray]:
    from torchvision.datasets import SVHN

    data = SVHN(root, split)
    return data.data, data.labels


def _stl10(name: str, root: Path, split: str) -> tuple[np.ndarray, np.ndarray]:
    # torchvision's reader wants the 2.8 GB of unlabelled images there, and sums them up each time.
    import numpy as np

    folder = root / "stl10_binary"
    columns_first = np.fromfile(folder / f"{split}_X.bin", np.uint8).reshape(-1, 3, 96, 96)
    return columns_first.swapaxes(2, 3), np.fromfile(folder / f"{split}_y.bin", np.uint8) - 1


READERS = {"mnist": _idx, "fashion_mnist": _idx, "svhn": _svhn, "stl10": _stl10}


def load(info: DatasetInfo, split: str) -> Samples:
    """A split, fetched first where it is not here. `UserError` where its files are not those that are published."""
    import numpy as np
    import torch

    root = data_root(info.root)
    ensure(info.name, root)
    try:
        pixels, labels = READERS[info.name](info.name, root, split)
    except Exception as error:
        raise UserError(
            f"The files of {info.title} in {root} cannot be read ({type(error).__name__}); delete them and fetch again."
        ) from None
    size = info.size(split)
    require(
        len(pixels) == len(labels) == size,
        f"{info.title} in {root} has {len(pixels):,} {split} images and {len(labels):,} labels, {size:,} are "
        "published; delete its files and fetch again.",
    )
    images = torch.from_numpy(np.ascontiguousarray(pixels))
    keys = [f"{split}/{i:05d}" for i in range(size)]
    return Samples(info, split, images, torch.from_numpy(labels.astype(np.int64)), keys)

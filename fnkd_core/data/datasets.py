"""The data sets, in one literal dict, and the folders of images that users add by name.

A data set is two functions: one that describes it without loading it, one that loads a split. A new one
is an entry in `DATASETS`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fnkd_core.data import cifar, digits, folder
from fnkd_core.data.info import DatasetInfo, Samples
from fnkd_core.errors import UserError, require, unknown
from fnkd_core.files import read_json, write_json
from fnkd_core.paths import data_dir

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["DATASETS", "DatasetInfo", "Samples"]


@dataclass(frozen=True)
class Dataset:
    """describe(root, labels, image_size) -> DatasetInfo; load(info, split) -> Samples."""

    describe: Callable[[str | None, str | None, int | None], DatasetInfo]
    load: Callable[[DatasetInfo, str], Samples]


DATASETS: dict[str, Dataset] = {
    "digits": Dataset(digits.describe, digits.load),
    "cifar10": Dataset(cifar.describe_cifar10, cifar.load),
    "cifar100": Dataset(cifar.describe_cifar100, cifar.load),
    "folder": Dataset(folder.describe, folder.load),
}


def _registry() -> Path:
    return data_dir() / "folders.json"


def folders() -> dict[str, str]:
    """Name -> path of the image folders that the user has added."""
    if not _registry().exists():
        return {}
    found = read_json(_registry())
    require(
        isinstance(found, dict) and all(isinstance(v, str) for v in found.values()),
        f"{_registry()} must hold an object of names and paths; delete it and add the folders again.",
    )
    return dict(found)


def add_folder(name: str, path: str) -> DatasetInfo:
    """Give an image folder a name, under which it is then a data set like the others.

    `UserError` where the name is taken or not of letters, digits, - and _, or the folder is no image folder.
    """
    require(
        re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}", name) is not None,
        f"A data set's name has letters, digits, - and _, at most 64, got {name!r}.",
    )
    require(name not in DATASETS, f"{name!r} is a built-in data set; choose another name.")
    known = folders()
    require(name not in known, f"{name!r} is already {known.get(name)}; remove it first, or choose another name.")
    info = folder.describe(path, None, None)
    write_json(_registry(), known | {name: str(info.root)})
    return dataset_info(name)


def remove_folder(name: str) -> None:
    """Forget a folder's name; the images stay."""
    known = folders()
    if name not in known:
        raise unknown("image folder", name, known)
    write_json(_registry(), {k: v for k, v in known.items() if k != name})


def list_datasets() -> list[str]:
    """Names to choose from: the built-in ones that need no path, then the user's folders."""
    return [name for name in DATASETS if name != "folder"] + sorted(folders())


def dataset_info(
    name: str, *, root: str | None = None, labels: str | None = None, image_size: int | None = None
) -> DatasetInfo:
    """What a data set is, without loading it.

    root: the folder, for `folder`. labels: a label space; the first one by default. image_size: pixels a
    side, for folders. `UserError` for an unknown name, label space or an unfit folder.
    """
    require(image_size is None or 4 <= image_size <= 1024, f"image_size must be 4 to 1024 pixels, got {image_size}.")
    if name in DATASETS:
        return DATASETS[name].describe(root, labels, image_size)
    known = folders()
    if name not in known:
        raise unknown("data set", name, [*list_datasets(), "folder (with a data root)"])
    described = folder.describe(root or known[name], labels, image_size)
    return described.named(name)


def load_split(
    name: str, split: str, *, root: str | None = None, labels: str | None = None, image_size: int | None = None
) -> Samples:
    """One split, resident. `UserError` where the split does not exist or an image cannot be read."""
    info = dataset_info(name, root=root, labels=labels, image_size=image_size)
    if split not in info.splits:
        raise unknown(f"split of {name}", split, info.splits)
    source = DATASETS.get(name) or DATASETS["folder"]
    try:
        return source.load(info, split)
    except OSError as error:
        raise UserError(f"{name} could not be read: {error}.") from None

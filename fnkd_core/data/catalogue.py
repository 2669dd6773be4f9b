"""The data sets, in one literal dict, and the folders of images that users add by name.

A data set is two functions: one that describes it without loading it, and one that loads a split or lists its
image files. A new one is an entry in `DATASETS`.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, get_args

from fnkd_core.data import check
from fnkd_core.data.holdout import to_validate
from fnkd_core.data.listing import look_again
from fnkd_core.data.sources import cifar, digits, folder, hf, published, torchvision_sets
from fnkd_core.data.sources.survey import survey
from fnkd_core.data.types import DatasetInfo, Listing, Samples, Unreadable
from fnkd_core.errors import UserError, require, unknown
from fnkd_core.files import check_name, expanded, write_json
from fnkd_core.identity import digest
from fnkd_core.locks import locked
from fnkd_core.paths import data_dir
from fnkd_core.records import read_json
from fnkd_core.shapes import misfit

__all__ = ["DATASETS", "DatasetInfo", "Samples"]


@dataclass(frozen=True)
class Dataset:
    """describe(root, labels, image_size) -> DatasetInfo; and load(info, split) -> Samples, or where the images lie
    in files files(info, split) -> Listing.
    """

    describe: Callable[[str | None, str | None, int | None], DatasetInfo]
    load: Callable[[DatasetInfo, str], Samples] | None = None
    files: Callable[[DatasetInfo, str], Listing] | None = None


DATASETS: dict[str, Dataset] = {
    "digits": Dataset(digits.describe, digits.load),
    "cifar10": Dataset(cifar.describe_cifar10, cifar.load),
    "cifar100": Dataset(cifar.describe_cifar100, cifar.load),
    "mnist": Dataset(torchvision_sets.describe_mnist, torchvision_sets.load),
    "fashion_mnist": Dataset(torchvision_sets.describe_fashion_mnist, torchvision_sets.load),
    "svhn": Dataset(torchvision_sets.describe_svhn, torchvision_sets.load),
    "stl10": Dataset(torchvision_sets.describe_stl10, torchvision_sets.load),
    **{name: Dataset(partial(published.describe, name), files=published.files) for name in published.PUBLISHED},
    "folder": Dataset(folder.describe, files=folder.files),
    "hf": Dataset(hf.describe, files=hf.files),
}
NEED_ROOT = ("folder", "hf")
"""The built-in ones that are nothing without a data root."""


@dataclass(frozen=True)
class Added:
    """A folder that the user has added: of images, or saved by Hugging Face datasets."""

    path: str
    unreadable: Unreadable = "refuse"
    follow_links: bool = False


def _registry() -> Path:
    return data_dir() / "folders.json"


def _registry_owned() -> contextlib.AbstractContextManager[None]:
    """Between reading the registry and writing it nobody else does either."""
    data_dir().mkdir(parents=True, exist_ok=True)
    return locked(data_dir() / ".folders.lock")


def _added() -> dict[str, Added]:
    """The folders that have been added. `UserError` where one of them, or their file, is damaged."""
    known, problem = _read_registry()
    if problem:
        raise UserError(problem)
    return known


def _read_registry() -> tuple[dict[str, Added], str | None]:
    """The folders that have been added, as far as they can be read, and what of their file cannot."""
    path, remedy = _registry(), "correct it, or delete it and add the folders again"
    if not path.exists():
        return {}, None
    try:
        found = read_json(path, dict[str, Any], remedy)
    except UserError as error:
        return {}, str(error)
    problems = {name: misfit(value, str | Added, name) for name, value in found.items()}
    torn = [problem for problem in problems.values() if problem]
    sound = {name: value for name, value in found.items() if not problems[name]}
    known = {name: Added(v) if isinstance(v, str) else Added(**v) for name, v in sound.items()}
    return known, f"{path} is damaged ({'; '.join(torn[:3])}); {remedy}." if torn else None


def _remember(added: dict[str, Added]) -> None:
    whole = {n: a.path if a == Added(a.path) else vars(a) for n, a in added.items()}
    write_json(_registry(), whole)


def folders() -> dict[str, str]:
    """Name -> path of the folders that the user has added, as far as they can be read; see `registry_problem`."""
    return {name: added.path for name, added in _read_registry()[0].items()}


def registry_problem() -> str | None:
    """What of the list of added folders cannot be read, in one line, or None."""
    return _read_registry()[1]


def add_folder(name: str, path: str, unreadable: Unreadable = "refuse", follow_links: bool = False) -> DatasetInfo:
    """Give a folder of images, or a saved Hugging Face data set, a name, under which it is a data set like the others.

    unreadable: whether broken images and classes without images are refused or left out. follow_links: whether links in
    it may lead out of it. The name of the same folder can be given again, to choose as before or otherwise. `UserError`
    where the name is another's or cannot be a path, or the folder is neither.
    """
    check_name("data set", name)
    if unreadable not in get_args(Unreadable):
        raise unknown("choice for unreadable images", unreadable, get_args(Unreadable))
    require(
        name not in DATASETS,
        f"{name!r} is a built-in data set, whose own files are read with --data-root DIR (`fnkd data list` names their "
        "folders); choose another name for this folder.",
    )
    look_again()
    info = _describe_added(Added(path, unreadable, follow_links), None, None)
    with _registry_owned():
        known = _added()
        added = Added(str(info.root), unreadable, follow_links)
        taken = known.get(name)
        require(
            taken is None or taken.path == added.path,
            f"{name!r} is already {taken and taken.path}; remove it first, or choose another name.",
        )
        _remember(known | {name: added})
    return dataset_info(name)


def refuses_broken(name: str) -> bool:
    """Whether it is a folder that was added so that an image in it which cannot be read is an error."""
    known = _read_registry()[0]
    return name in known and known[name].unreadable == "refuse" and not hf.is_saved(expanded(known[name].path))


def leave_out_broken(name: str) -> DatasetInfo:
    """Leave out from now on what cannot be read in an added folder, and classes without images.

    It is then other data: what was extracted and trained stays that of the data as they were. `UserError` where there
    is no such folder.
    """
    known = _added()
    if name not in known:
        raise unknown("image folder", name, known, "fnkd data list")
    return add_folder(name, known[name].path, "skip", known[name].follow_links)


def _describe_added(added: Added, labels: str | None, image_size: int | None) -> DatasetInfo:
    if hf.is_saved(expanded(added.path)):
        return hf.describe(added.path, labels, image_size)
    return folder.describe(added.path, labels, image_size, added.unreadable, added.follow_links)


def remove_folder(name: str) -> None:
    """Forget a folder's name; the images stay."""
    with _registry_owned():
        known = _added()
        if name not in known:
            raise unknown("image folder", name, known, "fnkd data list")
        _remember({k: v for k, v in known.items() if k != name})


def list_datasets() -> list[str]:
    """Names to choose from: the built-in ones that need no path, then the user's folders."""
    return [name for name in DATASETS if name not in NEED_ROOT] + sorted(folders())


def dataset_info(
    name: str, *, root: str | None = None, labels: str | None = None, image_size: int | None = None
) -> DatasetInfo:
    """What a data set is, without loading it.

    root: where its files are; for `folder` and `hf` the folder itself. labels: a label space; the first one by
    default. image_size: pixels a side, where the images lie in files. `UserError` for an unknown name, label space
    or an unfit folder.
    """
    require(image_size is None or 4 <= image_size <= 1024, f"image_size must be 4 to 1024 pixels, got {image_size}.")
    if name in DATASETS:
        return DATASETS[name].describe(root, labels, image_size)
    known, problem = _read_registry()
    if name not in known:
        require(problem is None, str(problem))
        names = [*list_datasets(), *(f"{n} (with a data root)" for n in NEED_ROOT)]
        raise unknown("data set", name, names, "fnkd data list")
    added = dataclasses.replace(known[name], path=root) if root else known[name]
    return _describe_added(added, labels, image_size).named(name)


def load_split(
    data: str | DatasetInfo,
    split: str,
    *,
    root: str | None = None,
    labels: str | None = None,
    image_size: int | None = None,
    in_memory: bool = True,
) -> Samples:
    """One split, in memory or in files. data: a name, or what `dataset_info` or `Card.read_as` has said of it.

    in_memory: whether images in files may be decoded into memory where they have room there.
    `UserError` where the split does not exist or an image cannot be read.
    """
    info = (
        data if isinstance(data, DatasetInfo) else dataset_info(data, root=root, labels=labels, image_size=image_size)
    )
    if split not in info.splits:
        raise unknown(f"split of {info.name}", split, info.splits)
    source = _source(info)
    try:
        if source.load is not None:
            return source.load(info, split)
        from fnkd_core.data.batches import from_files

        assert source.files is not None
        return from_files(info, split, source.files(info, split), info.identity(split), in_memory)
    except OSError as error:
        raise UserError(f"{info.name} could not be read: {error}.") from None


@lru_cache(maxsize=2)
def files_of(info: DatasetInfo, split: str) -> Listing | None:
    """Where the images of a split lie; None where they are in no files of their own. `UserError` as in `load_split`."""
    files = _source(info).files
    try:
        return None if files is None else files(info, split)
    except OSError as error:
        raise UserError(f"{info.name} could not be read: {error}.") from None


def load_whole_training(info: DatasetInfo) -> Samples:
    """The training split, with the data set's own validation split where it has one."""
    if "validation" not in info.splits:
        return load_split(info, "train")
    from fnkd_core.data.batches import from_files

    files = _source(info).files
    assert files is not None  # none of those in memory has a validation split
    parts = [files(info, split) for split in ("train", "validation")]
    boxes = None if parts[0].boxes is None else [box for part in parts for box in part.boxes or ()]
    whole = Listing(
        [source for part in parts for source in part.sources],
        [label for part in parts for label in part.labels],
        [key for part in parts for key in part.keys],
        boxes,
    )
    return from_files(info, "train", whole, digest([info.identity(split) for split in ("train", "validation")]))


def load_training(info: DatasetInfo, validation: float) -> tuple[Samples, Samples | None]:
    """What to train on, and what to choose by.

    validation: 0 holds nothing back, and a validation split of the data's own is trained on as well. Else that split is
    what to choose by, or where there is none this share of each class of the training split (see `holdout`).
    `UserError` where the data cannot be read, or no class has an image to spare.
    """
    if not validation:
        return load_whole_training(info), None
    train = load_split(info, "train")
    if "validation" in info.splits:
        return train, load_split(info, "validation")
    import torch

    held = to_validate(train.keys, train.labels, validation)
    require(len(held) > 0, f"{info.name} has one image of each class to train on, so none to validate on; set it to 0.")
    kept = torch.ones(len(train), dtype=torch.bool)
    kept[held] = False
    return train.subset(kept.nonzero()[:, 0]), dataclasses.replace(train.subset(held), split="validation")


def _source(info: DatasetInfo) -> Dataset:
    if info.name in DATASETS:
        return DATASETS[info.name]
    return DATASETS["hf" if hf.is_saved(Path(info.root or "")) else "folder"]


def check_data(what: str, deep: bool = False) -> dict[str, Any]:
    """What a data set's image files are, by its name or the path of a folder: splits, each as `check.report` says.

    A folder need not be fit for use: its classes without images, its links that lead out, names that are the same but
    for case or Unicode form, and how many files of which kind are not read are listed. `UserError` where there are no
    image files.
    """
    look_again()
    added = _read_registry()[0].get(what, Added(what))
    path = expanded(added.path)
    if what not in DATASETS and not hf.is_saved(path):
        require(path.exists(), f"{what} is neither a data set nor a folder; `fnkd data list` names the data sets.")
        folder.require_folder(path, what)
        return survey(path.resolve(), deep, added.follow_links)
    info = dataset_info("hf", root=str(path)) if hf.is_saved(path) else dataset_info(what)
    files = _source(info).files
    if files is None:
        raise UserError(f"{info.title} does not lie in image files; there is nothing to check.")
    listings = {split: files(info, split) for split in info.splits}
    held = {label for listing in listings.values() for label in listing.labels}
    return {
        "classes": len(info.classes),
        "empty": [name for k, name in enumerate(info.classes) if k not in held],
        "same_names": check.same_names(info.classes),
        "outside": [],
        "left_out": {},
        "problem": "",
        "notes": [],
        "splits": {split: check.report(listing.sources, listing.keys, deep) for split, listing in listings.items()},
    }

"""Hugging Face `datasets` saved with `save_to_disk`; an optional extra."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from fnkd_core.data import decoding
from fnkd_core.data.holdout import serving, split_called
from fnkd_core.data.listing import Recent, files_in, split_identity
from fnkd_core.data.sources.folder import DEFAULT_SIZE, LARGEST_NATIVE
from fnkd_core.data.types import DatasetInfo, Listing, no_images
from fnkd_core.errors import UserError, require, unknown
from fnkd_core.files import expanded
from fnkd_core.identity import digest
from fnkd_core.records import recall


@dataclass(frozen=True)
class Column(Sequence[bytes]):
    """The image files of one column, read from the disk row by row."""

    data: Any
    name: str

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, i: int) -> bytes:  # type: ignore[override]
        held: bytes | None = self.data[i][self.name]["bytes"]
        if held is None:
            raise ValueError("it is not in the data set itself; save it anew with save_to_disk")
        return held


def is_saved(path: Path) -> bool:
    """Whether `save_to_disk` has made this folder."""
    return (path / "dataset_dict.json").is_file() or (path / "state.json").is_file()


def describe(root: str | None, labels: str | None, image_size: int | None) -> DatasetInfo:
    """Every column of class labels is a label space.

    `UserError` where `datasets` is not installed, or the folder has no train and test split with images and labels.
    """
    if root is None:
        raise UserError("A Hugging Face data set needs the folder that save_to_disk made; give the data root.")
    path = expanded(root).resolve()
    require(is_saved(path), f"{root} was not made by save_to_disk of Hugging Face datasets; give the folder that was.")
    saved = _saved(str(path), _stamp(path))
    first = saved[_chosen(list(saved), path)["train"]]
    spaces, pictures = _columns(first, "ClassLabel"), _columns(first, "Image")
    require(bool(spaces and pictures), f"{path} needs a column of images and one of class labels; cast them so.")
    space = labels or spaces[0]
    if space not in spaces:
        raise unknown(f"label space of {path.name}", space, spaces)
    chosen, notes = _with_labels(saved, path, space)
    classes = tuple(first.features[space].names)
    channels, native = decoding.native_shape(Column(first, pictures[0]), LARGEST_NATIVE)
    size = image_size or native or DEFAULT_SIZE
    return DatasetInfo(
        name="hf",
        title=path.name,
        classes=classes,
        label_space=space,
        label_spaces=spaces,
        splits=tuple(chosen),
        image=(channels, size, size),
        mean=(0.5,) * channels,
        std=(0.25,) * channels,
        pad=max(1, size // 8),
        flip=True,
        note=" ".join(notes),
        root=str(path),
        sizes=tuple(len(saved[name]) for name in chosen.values()),
        identities=tuple(_identity(path / name, split, space, classes) for split, name in chosen.items()),
        resizable=True,
        crop_pct=decoding.evaluation_crop(size),
    )


def files(info: DatasetInfo, split: str) -> Listing:
    """The images of a split, in the order of its rows. `UserError` where one has no label."""
    assert info.root is not None
    path = Path(info.root)
    saved = _saved(info.root, _stamp(path))
    data = saved[_with_labels(saved, path, info.label_space)[0][split]]
    labels = [-1 if label is None else int(label) for label in data[info.label_space]]
    require(
        all(0 <= label < len(info.classes) for label in labels),
        f"{info.title} has {split} rows without a label in {info.label_space}; leave them out and save it anew.",
    )
    column = Column(data, _columns(data, "Image")[0])
    return Listing(column, labels, [f"{split}/{i}" for i in range(len(labels))])


def _columns(data: Any, kind: str) -> tuple[str, ...]:
    return tuple(name for name, feature in data.features.items() if type(feature).__name__ == kind)


def _stamp(path: Path) -> str:
    """Changes with any file of the saved set."""
    return digest(
        [[file.path, file.size, file.mtime_ns] for folder in sorted(path.glob("*/")) for file in _files(folder)]
    )


def _identity(folder: Path, split: str, space: str, classes: tuple[str, ...]) -> str:
    rows = ((os.path.basename(file.path), 0, file.size, file.mtime_ns) for file in _files(folder))
    return split_identity(space, classes, split, rows)


_files = Recent(files_in)


@lru_cache(maxsize=8)
def _saved(path: str, stamp: str) -> dict[str, Any]:
    """The splits as they were saved, whose images are left as the bytes of their files."""
    try:
        from datasets import DatasetDict, Image, load_from_disk
    except ImportError:
        raise UserError(
            "Hugging Face data sets need the package datasets, which is not installed; "
            '`pip install "datasets>=3"` installs it.'
        ) from None
    odd = [file for file in Path(path).rglob("*") if not file.is_dir() and not file.is_file()]
    require(not odd, f"{odd[0] if odd else path} is no regular file; remove it, or save the set anew.")
    # The package itself cannot read such a split back.
    states = {file.parent.name: recall(file) for file in sorted(Path(path).glob("*/state.json"))}
    empty = [name for name, state in states.items() if state.get("_data_files") == []]
    require(not empty, no_images(Path(path).name, empty))
    try:
        saved = load_from_disk(path)
    except Exception as error:
        what = " ".join(f"{type(error).__name__}: {error}".split())[:120]
        raise UserError(f"{path} cannot be read as a saved data set ({what}); save it anew.") from None
    splits = dict(saved) if isinstance(saved, DatasetDict) else {}
    for split, data in splits.items():
        for column in _columns(data, "Image"):
            splits[split] = splits[split].cast_column(column, Image(decode=False))
    return splits


def _with_labels(saved: dict[str, Any], path: Path, space: str) -> tuple[dict[str, str], list[str]]:
    """Split -> the saved one that serves as it, of those with labels; and what was decided."""
    labelled = [name for name, data in saved.items() if not len(data) or _has_labels(data, space)]
    chosen = _chosen(labelled, path)
    notes = [f"{name} has no labels in {space}; it is left out." for name in saved if name not in labelled]
    notes += [f"Not read: {name}." for name in labelled if name not in chosen.values()]
    if split_called(chosen["test"]) != "test":
        notes.append(f"{chosen['test']} is the split to test on.")
    return chosen, notes


def _has_labels(data: Any, space: str) -> bool:
    """Whether any row has one: contests publish what is to be predicted with -1 or nothing for a label."""
    import pyarrow.compute

    highest = pyarrow.compute.max(data.data.column(space)).as_py()
    return highest is not None and highest >= 0


def _chosen(names: Sequence[str], path: Path) -> dict[str, str]:
    """Split -> the saved split that serves as it. One to validate is for testing where there is none to test."""
    chosen = serving(names)
    require(
        bool(chosen),
        f"{path} has the splits {', '.join(names) or 'none'} with labels; train and one of test, val, valid, "
        "validation, dev are needed. `train_test_split` makes them.",
    )
    return chosen

"""Folders of images, a folder for each class.

`root/train/<class>/*` with `root/test/<class>/*`, and `root/val/<class>/*` to choose by where there is one; without a
test folder, `val` is for testing. Or `root/<class>/*` alone, of which a fifth is for testing, the same whatever is
added.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fnkd_core.data import check, decoding
from fnkd_core.data.holdout import TEST_SHARE, serving, to_test
from fnkd_core.data.listing import File, Recent, files_in, split_identity
from fnkd_core.data.types import DatasetInfo, Listing, Unreadable
from fnkd_core.errors import UserError, require
from fnkd_core.files import expanded
from fnkd_core.identity import digest

LARGEST_NATIVE = 96
DEFAULT_SIZE = 64
VALIDATION = ("val", "valid", "validation", "dev")
"""What people call the folder that is to choose by."""


@dataclass(frozen=True)
class Found:
    """What a part of a folder holds: class -> its images, by name; and how much was left out."""

    images: dict[str, tuple[File, ...]]
    unreadable: int
    empty: int


@dataclass(frozen=True)
class Folder:
    """A folder as it is now. splits: split -> its images with their labels, by class and name; and what each is."""

    classes: tuple[str, ...]
    splits: dict[str, tuple[tuple[File, int], ...]]
    identities: dict[str, str]
    channels: int
    native: int | None
    note: str


def describe(
    root: str | None, labels: str | None, image_size: int | None, unreadable: Unreadable = "refuse"
) -> DatasetInfo:
    """`UserError` where there is no such folder, no class in it, or splits differ.

    unreadable: `skip` decodes every image once and leaves out the broken ones, and classes without images;
    `refuse` makes an empty class an error here, and a broken image one when it is read.
    """
    if root is None:
        raise UserError("An image folder needs its path; give the data root.")
    path = expanded(root).resolve()
    require(path.is_dir(), f"{root} is not a folder; give the folder that holds train/<class>/ or <class>/.")
    if labels not in (None, "folder"):
        raise UserError(f"An image folder has one label space, 'folder', got {labels!r}.")
    found = _folder(str(path), unreadable, _stamp(path))
    size = image_size or found.native or DEFAULT_SIZE
    return DatasetInfo(
        name="folder",
        title=path.name,
        classes=found.classes,
        label_space="folder",
        label_spaces=("folder",),
        splits=tuple(found.splits),
        image=(found.channels, size, size),
        mean=(0.5,) * found.channels,
        std=(0.25,) * found.channels,
        pad=max(1, size // 8),
        flip=True,
        note=found.note,
        root=str(path),
        sizes=tuple(len(rows) for rows in found.splits.values()),
        identities=tuple(found.identities.values()),
        resizable=True,
        crop_pct=decoding.evaluation_crop(size),
        unreadable=unreadable,
    )


def files(info: DatasetInfo, split: str) -> Listing:
    """The images of a split, by class and name."""
    assert info.root is not None
    rows = _folder(info.root, info.unreadable, _stamp(Path(info.root))).splits[split]
    keys = [_key(file, Path(info.root)) for file, _ in rows]
    return Listing([file.path for file, _ in rows], [label for _, label in rows], keys)


def survey(path: Path, deep: bool) -> dict[str, Any]:
    """What lies in a folder, fit for use or not; see `catalogue.check_data`."""
    parts = dict.fromkeys(p for name in ("train", *VALIDATION, "test") if (p := path / name).is_dir()) or {path: None}
    empty, outside, names, splits = [], [], dict[str, None](), {}
    for part in parts:
        paths = []
        for folder in class_folders(part):
            names[_printable(folder.name)] = None
            images = [file.path for file in files_in(folder, decoding.SUFFIXES)]
            if not images:
                empty.append(_printable(folder.relative_to(path).as_posix()))
            for image in images:
                try:
                    decoding.keep_inside([folder, image], part)
                    paths.append(image)
                except UserError:
                    outside.append(_printable(os.path.relpath(image, path)))
        keys = [_printable(os.path.relpath(p, path)) for p in paths]
        splits[part.name if part != path else "all"] = check.report(paths, keys, deep)
    return {
        "classes": len(names),
        "empty": empty,
        "same_names": check.same_names(list(names)),
        "outside": outside,
        "splits": splits,
    }


def parts_of(path: Path) -> dict[str, Path]:
    """Where each split lies; both are the root itself where there is no train folder."""
    if not (path / "train").is_dir():
        return {"train": path, "test": path}
    chosen = serving([name for name in ("train", "test", *VALIDATION) if (path / name).is_dir()], VALIDATION)
    require(
        bool(chosen),
        f"{path} has a train folder but neither test nor val; add one, or give {path / 'train'} itself.",
    )
    return {split: path / name for split, name in chosen.items()}


def class_folders(part: Path) -> list[Path]:
    return sorted(p for p in part.iterdir() if p.is_dir() and not p.name.startswith("."))


def _look(root: str, unreadable: Unreadable, _stamp: str) -> Folder:
    path = Path(root)
    parts = parts_of(path)
    together = parts["test"] == parts["train"]
    _require_same_classes(parts, unreadable, path)
    found = {part: _found(part, unreadable) for part in dict.fromkeys(parts.values())}
    names = tuple(found[parts["train"]].images)
    require(
        len(names) >= 2,
        f"{parts['train']} has {len(names)} class folder(s) with images; at least 2 are needed, one for each class.",
    )
    notes = []
    if together:
        splits = _split(found[path], path, unreadable)
        notes.append(f"One folder of classes: {TEST_SHARE:.0%} of each, by the hash of its name, to test.")
    else:
        splits = {
            split: tuple((file, k) for k, name in enumerate(names) for file in found[part].images.get(name, ()))
            for split, part in parts.items()
        }
    if any(f.unreadable or f.empty for f in found.values()):
        images, empty = sum(f.unreadable for f in found.values()), sum(f.empty for f in found.values())
        notes.append(f"Left out: {images:,} unreadable image(s), {empty:,} class folder(s) without images.")
    paths = [file.path for images in found[parts["train"]].images.values() for file in images]
    channels, native = decoding.native_shape(paths, LARGEST_NATIVE)
    classes = tuple(map(_printable, names))
    identities = {split: _identity(rows, classes, split, path) for split, rows in splits.items()}
    return Folder(classes, splits, identities, channels, native, " ".join(notes))


_folder = Recent(_look)


def _stamp(path: Path) -> str:
    """Changes when an image is added, renamed or removed; not when one is overwritten."""
    parts = dict.fromkeys(parts_of(path).values())
    return digest([[str(f), f.stat().st_mtime_ns] for part in parts for f in (part, *class_folders(part))])


def _require_same_classes(parts: dict[str, Path], unreadable: Unreadable, path: Path) -> None:
    named = {split: {p.name for p in class_folders(part)} for split, part in parts.items()}
    for split, part in parts.items():
        differing = named["train"] ^ named[split]
        if unreadable == "skip":
            # What has no images is no class; a class may lack them in the other splits.
            differing = set(_found(part, unreadable).images) - named["train"]
        require(
            not differing,
            f"{parts['train'].name} and {part.name} in {path} have different classes: "
            f"{', '.join(sorted(differing)[:5])}{' ...' if len(differing) > 5 else ''}; make them the same.",
        )


def _found(root: Path, unreadable: Unreadable) -> Found:
    """Links that lead out of the folder are refused."""
    folders = class_folders(root)
    images = {folder.name: files_in(folder, decoding.SUFFIXES) for folder in folders}
    decoding.keep_inside(folders, root)
    decoding.keep_inside((file.path for held in images.values() for file in held), root)
    left_out = 0
    if unreadable == "skip":
        broken = check.unreadable([file.path for held in images.values() for file in held], root)
        images = {name: [file for file in held if file.path not in broken] for name, held in images.items()}
        left_out = len(broken)
    empty = [name for name, held in images.items() if not held]
    if empty and unreadable == "refuse":
        more = f", nor have {len(empty) - 1} more" if len(empty) > 1 else ""
        raise UserError(
            f"Class folder {root / empty[0]} has no images ({', '.join(sorted(decoding.SUFFIXES))}){more}; fill or "
            "remove it, or leave empty classes out: `fnkd data add NAME DIR --unreadable skip`."
        )
    return Found({name: tuple(held) for name, held in images.items() if held}, left_out, len(empty))


def _split(found: Found, root: Path, unreadable: Unreadable) -> dict[str, tuple[tuple[File, int], ...]]:
    """A part of each class to test on; see `holdout.to_test`."""
    splits: dict[str, list[tuple[File, int]]] = {"train": [], "test": []}
    for label, (name, held) in enumerate(found.images.items()):
        require(
            len(held) >= 2 or unreadable == "skip",
            f"Class folder {root / name} has 1 image; 2 are needed to split it.",
        )
        keys = {_key(file, root): file for file in held}
        testing = to_test(list(keys))
        for key, file in keys.items():
            splits["test" if key in testing else "train"].append((file, label))
    return {split: tuple(rows) for split, rows in splits.items()}


def _identity(rows: Iterable[tuple[File, int]], classes: tuple[str, ...], split: str, root: Path) -> str:
    stamps = ((_key(file, root), label, file.size, file.mtime_ns) for file, label in rows)
    return split_identity("folder", classes, split, stamps)


def _key(file: File, root: Path) -> str:
    return _printable(os.path.relpath(file.path, root).replace(os.sep, "/"))


def _printable(name: str) -> str:
    """A name that is not UTF-8 on the disk, with question marks for what cannot be written down."""
    return name.encode(errors="replace").decode()

"""Folders of images, a folder for each class.

`root/train/<class>/*` with `root/test/<class>/*` or `root/val/<class>/*`; or `root/<class>/*` alone, which
is then split here, four to one and always the same.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from fnkd_core.data import check, decoding
from fnkd_core.data.types import DatasetInfo, Listing, Unreadable
from fnkd_core.errors import UserError, require

LARGEST_NATIVE = 96
DEFAULT_SIZE = 64


@dataclass(frozen=True)
class Found:
    """What a part of a folder holds: class -> paths of its images, by name; and how much was left out."""

    images: dict[str, tuple[str, ...]]
    unreadable: int
    empty: int


def describe(
    root: str | None, labels: str | None, image_size: int | None, unreadable: Unreadable = "refuse"
) -> DatasetInfo:
    """`UserError` where there is no such folder, no class in it, or splits differ.

    unreadable: `skip` decodes every image once and leaves out the broken ones, and classes without images;
    `refuse` makes an empty class an error here, and a broken image one when it is read.
    """
    if root is None:
        raise UserError("An image folder needs its path; give the data root.")
    path = Path(root).expanduser().resolve()
    require(path.is_dir(), f"{root} is not a folder; give the folder that holds train/<class>/ or <class>/.")
    if labels not in (None, "folder"):
        raise UserError(f"An image folder has one label space, 'folder', got {labels!r}.")
    parts = parts_of(path)
    together = parts["test"] == parts["train"]
    named = {split: {p.name for p in class_folders(part)} for split, part in parts.items()}
    differing = named["train"] ^ named["test"]
    if unreadable == "skip":
        # What has no images is no class; a class may lack them in the test split alone.
        differing = set(_found(str(parts["test"]), _stamp(parts["test"]), unreadable).images) - named["train"]
    require(
        not differing,
        f"{parts['train'].name} and {parts['test'].name} in {path} have different classes: "
        f"{', '.join(sorted(differing)[:5])}{' ...' if len(differing) > 5 else ''}; make them the same.",
    )
    found = {split: _found(str(part), _stamp(part), unreadable) for split, part in parts.items()}
    classes = tuple(found["train"].images)
    require(
        len(classes) >= 2,
        f"{parts['train']} has {len(classes)} class folder(s) with images; at least 2 are needed, one for each class.",
    )
    channels, native = _shape(str(parts["train"]), _stamp(parts["train"]), unreadable)
    size = image_size or native or DEFAULT_SIZE
    notes = ["One folder of classes: a fixed stratified split of 80 % to train and 20 % to test."] if together else []
    left_out = [f for f in ([found["train"]] if together else found.values()) if f.unreadable or f.empty]
    if left_out:
        images, empty = sum(f.unreadable for f in left_out), sum(f.empty for f in left_out)
        notes.append(f"Left out: {images:,} unreadable image(s), {empty:,} class folder(s) without images.")
    stamps = "".join(_stamp(p) for p in dict.fromkeys(parts.values()))
    return DatasetInfo(
        name="folder",
        title=path.name,
        classes=tuple(_printable(name) for name in classes),
        label_space="folder",
        label_spaces=("folder",),
        splits=("train", "test"),
        image=(channels, size, size),
        mean=(0.5,) * channels,
        std=(0.25,) * channels,
        pad=max(1, size // 8),
        flip=True,
        note=" ".join(notes),
        root=str(path),
        sizes=tuple(len(_split_files(str(path), stamps, split, unreadable)) for split in parts),
        fingerprint=hashlib.sha256(stamps.encode()).hexdigest()[:12],
        resizable=True,
        crop_pct=decoding.evaluation_crop(size),
        unreadable=unreadable,
    )


def files(info: DatasetInfo, split: str) -> Listing:
    """The images of a split, by class and name."""
    assert info.root is not None
    stamps = "".join(_stamp(p) for p in dict.fromkeys(parts_of(Path(info.root)).values()))
    chosen = _split_files(info.root, stamps, split, info.unreadable)
    keys = [_printable(Path(path).relative_to(info.root).as_posix()) for path, _ in chosen]
    return Listing([path for path, _ in chosen], [label for _, label in chosen], keys)


def survey(path: Path, deep: bool) -> dict[str, Any]:
    """What lies in a folder, fit for use or not; see `datasets.check_data`."""
    parts = dict.fromkeys(p for name in ("train", "test", "val") if (p := path / name).is_dir()) or {path: None}
    empty, outside, names, splits = [], [], dict[str, None](), {}
    for part in parts:
        paths = []
        for folder in class_folders(part):
            names[_printable(folder.name)] = None
            images = images_in(folder)
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
    for name in ("test", "val"):
        if (path / name).is_dir():
            return {"train": path / "train", "test": path / name}
    raise UserError(f"{path} has a train folder but neither test nor val; add one, or give {path / 'train'} itself.")


def class_folders(part: Path) -> list[Path]:
    return sorted(p for p in part.iterdir() if p.is_dir() and not p.name.startswith("."))


def images_in(folder: Path) -> list[str]:
    """Paths of a class's images, by name."""
    names = sorted(n for n in os.listdir(folder) if os.path.splitext(n)[1].lower() in decoding.SUFFIXES)
    return [os.path.join(folder, name) for name in names if not name.startswith(".")]


def _printable(name: str) -> str:
    """A name that is not UTF-8 on the disk, with question marks for what cannot be written down."""
    return name.encode(errors="replace").decode()


def _stamp(part: Path) -> str:
    """Changes when a class or an image is added, renamed or removed."""
    folders = [part, *class_folders(part)]
    return hashlib.sha256("".join(f"{p}{p.stat().st_mtime_ns}" for p in folders).encode(errors="replace")).hexdigest()


@lru_cache(maxsize=8)
def _found(part: str, stamp: str, unreadable: Unreadable) -> Found:
    """Links that lead out of the folder are refused."""
    root = Path(part)
    images = {folder.name: images_in(folder) for folder in class_folders(root)}
    decoding.keep_inside(class_folders(root), root)
    decoding.keep_inside([p for paths in images.values() for p in paths], root)
    left_out = 0
    if unreadable == "skip":
        broken = check.unreadable([p for paths in images.values() for p in paths], root)
        images = {name: [p for p in paths if p not in broken] for name, paths in images.items()}
        left_out = len(broken)
    empty = [name for name, paths in images.items() if not paths]
    if empty and unreadable == "refuse":
        more = f", nor have {len(empty) - 1} more" if len(empty) > 1 else ""
        raise UserError(
            f"Class folder {root / empty[0]} has no images ({', '.join(sorted(decoding.SUFFIXES))}){more}; fill or "
            "remove it, or leave empty classes out: `fnkd data add NAME DIR --unreadable skip`."
        )
    return Found({name: tuple(paths) for name, paths in images.items() if paths}, left_out, len(empty))


@lru_cache(maxsize=8)
def _shape(part: str, stamp: str, unreadable: Unreadable) -> tuple[int, int | None]:
    paths = [path for paths in _found(part, stamp, unreadable).images.values() for path in paths]
    return decoding.native_shape(paths, LARGEST_NATIVE)


@lru_cache(maxsize=8)
def _split_files(root: str, stamps: str, split: str, unreadable: Unreadable) -> list[tuple[str, int]]:
    """(path, label) of a split, by class and name.

    Of a folder that holds both splits, every fifth image of a class, by the hash of its name, is for testing; at
    least one of each, but for a class of which broken images have left one, which is to train.
    """
    parts = parts_of(Path(root))
    train, part = (_found(str(parts[s]), _stamp(parts[s]), unreadable) for s in ("train", split))
    chosen: list[tuple[str, int]] = []
    for label, name in enumerate(train.images):
        paths = part.images.get(name, ())
        if parts["train"] == parts["test"]:
            require(
                len(paths) >= 2 or unreadable == "skip",
                f"Class folder {Path(root) / name} has 1 image; 2 are needed to split it.",
            )
            shuffled = sorted(paths, key=lambda p: hashlib.sha256(os.fsencode(os.path.basename(p))).hexdigest())
            cut = max(1, len(paths) // 5) if len(paths) > 1 else 0
            paths = tuple(sorted(shuffled[:cut] if split == "test" else shuffled[cut:]))
        chosen += [(path, label) for path in paths]
    return chosen

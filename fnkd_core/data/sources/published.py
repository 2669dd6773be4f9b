"""Fine-grained data sets whose archives have been unpacked, each in the layout it is published in."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

from fnkd_core.data import decoding
from fnkd_core.data.crops import Box
from fnkd_core.data.download.addresses import can_fetch
from fnkd_core.data.listing import Recent, split_identity
from fnkd_core.data.tree import keep_inside
from fnkd_core.data.types import DatasetInfo, Listing
from fnkd_core.errors import NotHere, UserError, unknown
from fnkd_core.files import expanded
from fnkd_core.identity import digest
from fnkd_core.paths import data_dir

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
SIZE = 224

Rows = tuple[list[str], list[int]]


@dataclass(frozen=True)
class Contents:
    """classes in the order of the labels; split -> (paths, labels); path -> box where the images are cut out."""

    classes: tuple[str, ...]
    splits: dict[str, Rows]
    boxes: dict[str, Box] | None = None


@dataclass(frozen=True)
class Published:
    """folder: its name on the disk, under the data root or the data root itself. marks: files and folders
    that must be there. read(folder, label space) -> Contents.
    """

    title: str
    folder: str
    marks: tuple[str, ...]
    read: Callable[[Path, str], Contents]
    label_spaces: tuple[str, ...]
    note: str = ""


def _readable(name: str) -> str:
    return name.replace("_", " ").strip()


def _pairs(path: Path) -> list[tuple[str, str]]:
    """(first word, rest) of each line."""
    lines = (line.strip() for line in path.read_text(encoding="utf-8").splitlines())
    return [(first, rest) for first, _, rest in (line.partition(" ") for line in lines if line)]


def _cub200(folder: Path, space: str, cut_out: bool) -> Contents:
    numbers = {number: k for k, (number, _) in enumerate(_pairs(folder / "classes.txt"))}
    names = tuple(_readable(name.partition(".")[2]) for _, name in _pairs(folder / "classes.txt"))
    label = {image: numbers[number] for image, number in _pairs(folder / "image_class_labels.txt")}
    training = dict(_pairs(folder / "train_test_split.txt"))
    paths = {image: str(folder / "images" / name) for image, name in _pairs(folder / "images.txt")}
    splits: dict[str, Rows] = {}
    for split, flag in (("train", "1"), ("test", "0")):
        chosen = [image for image in paths if training[image] == flag]
        splits[split] = [paths[image] for image in chosen], [label[image] for image in chosen]
    boxes: dict[str, Box] | None = None
    if cut_out:
        boxes = {}
        for image, box in _pairs(folder / "bounding_boxes.txt"):
            x, y, width, height = map(float, box.split())
            boxes[paths[image]] = (x, y, x + width, y + height)
    return Contents(names, splits, boxes)


def _stanford_dogs(folder: Path, space: str) -> Contents:
    from scipy.io import loadmat

    splits: dict[str, Rows] = {}
    names: dict[int, str] = {}
    for split in ("train", "test"):
        lists = loadmat(folder / f"{split}_list.mat")
        files = [str(row[0][0]) for row in lists["file_list"]]
        labels = [int(row[0]) - 1 for row in lists["labels"]]
        # n02085620-Chihuahua/n02085620_5927.jpg
        names |= {
            label: _readable(file.split("/")[0].partition("-")[2]) for file, label in zip(files, labels, strict=True)
        }
        splits[split] = [str(folder / "Images" / file) for file in files], labels
    return Contents(tuple(names[label] for label in sorted(names)), splits)


def _rows(
    reader: Any, paths: str, root: Path, splits: Mapping[str, tuple[str, ...]], **options: Any
) -> dict[str, Rows]:
    """Paths and labels as a torchvision data set holds them, of each split the named ones together."""
    rows: dict[str, Rows] = {}
    for split, names in splits.items():
        parts = [reader(root, split=name, download=False, **options) for name in names]
        rows[split] = (
            [str(p) for part in parts for p in getattr(part, paths)],
            [k for part in parts for k in part._labels],
        )
    return rows


def _oxford_pets(folder: Path, space: str) -> Contents:
    from torchvision.datasets import OxfordIIITPet

    rows = _rows(OxfordIIITPet, "_images", folder.parent, {"train": ("trainval",), "test": ("test",)})
    return Contents(tuple(OxfordIIITPet(folder.parent).classes), rows)


def _flowers102(folder: Path, space: str) -> Contents:
    from torchvision.datasets import Flowers102

    splits = {"train": ("train",), "validation": ("val",), "test": ("test",)}
    rows = _rows(Flowers102, "_image_files", folder.parent, splits)
    return Contents(tuple(Flowers102.classes), rows)


def _stanford_cars(folder: Path, space: str) -> Contents:
    from torchvision.datasets import StanfordCars

    parts = {split: StanfordCars(folder.parent, split=split) for split in ("train", "test")}
    splits = {s: ([str(p) for p, _ in d._samples], [int(k) for _, k in d._samples]) for s, d in parts.items()}
    return Contents(tuple(map(str, parts["train"].classes)), splits)


def _fgvc_aircraft(folder: Path, space: str) -> Contents:
    from torchvision.datasets import FGVCAircraft

    splits = {"train": ("train",), "validation": ("val",), "test": ("test",)}
    rows = _rows(FGVCAircraft, "_image_files", folder.parent, splits, annotation_level=space)
    return Contents(tuple(FGVCAircraft(folder.parent, split="train", annotation_level=space).classes), rows)


_CUB = ("images", "images.txt", "image_class_labels.txt", "train_test_split.txt", "classes.txt")

PUBLISHED: dict[str, Published] = {
    "cub200": Published("CUB-200-2011", "CUB_200_2011", _CUB, partial(_cub200, cut_out=False), ("cub200",)),
    "cub200_boxes": Published(
        "CUB-200-2011, cut out",
        "CUB_200_2011",
        (*_CUB, "bounding_boxes.txt"),
        partial(_cub200, cut_out=True),
        ("cub200",),
        "Each bird cut out by its published bounding box.",
    ),
    "stanford_dogs": Published(
        "Stanford Dogs", "stanford_dogs", ("Images", "train_list.mat", "test_list.mat"), _stanford_dogs, ("dogs",)
    ),
    "oxford_pets": Published(
        "Oxford-IIIT Pets",
        "oxford-iiit-pet",
        ("images", "annotations/trainval.txt", "annotations/test.txt"),
        _oxford_pets,
        ("pets",),
    ),
    "flowers102": Published(
        "Flowers-102",
        "flowers-102",
        ("jpg", "setid.mat", "imagelabels.mat"),
        _flowers102,
        ("flowers",),
    ),
    "stanford_cars": Published(
        "Stanford Cars",
        "stanford_cars",
        (
            *("cars_train", "cars_test", "cars_test_annos_withlabels.mat"),
            *("devkit/cars_meta.mat", "devkit/cars_train_annos.mat"),
        ),
        _stanford_cars,
        ("cars",),
    ),
    "fgvc_aircraft": Published(
        "FGVC-Aircraft",
        "fgvc-aircraft-2013b",
        ("data/images", "data/variants.txt", *(f"data/images_variant_{part}.txt" for part in ("train", "val", "test"))),
        _fgvc_aircraft,
        ("variant", "family", "manufacturer"),
    ),
}


def describe(name: str, root: str | None, labels: str | None, image_size: int | None) -> DatasetInfo:
    """`UserError` where its files are not under the data root, or are not as published."""
    published = PUBLISHED[name]
    space = labels or published.label_spaces[0]
    if space not in published.label_spaces:
        raise unknown(f"label space of {name}", space, published.label_spaces)
    folder = _folder(name, root)
    contents = _contents(name, str(folder), space, _stamp(published, folder))
    size = image_size or SIZE
    return DatasetInfo(
        name=name,
        title=published.title,
        classes=contents.classes,
        label_space=space,
        label_spaces=published.label_spaces,
        splits=tuple(contents.splits),
        image=(3, size, size),
        mean=MEAN,
        std=STD,
        pad=max(1, size // 8),
        flip=True,
        note=published.note,
        root=str(folder),
        sizes=tuple(len(labels) for _, labels in contents.splits.values()),
        identities=tuple(_identities(name, str(folder), space).values()),
        resizable=True,
        crop_pct=decoding.evaluation_crop(size),
    )


def files(info: DatasetInfo, split: str) -> Listing:
    """The images of a split, in the published order."""
    assert info.root is not None
    contents = _contents(info.name, info.root, info.label_space, _stamp(PUBLISHED[info.name], Path(info.root)))
    paths, labels = contents.splits[split]
    keys = [Path(path).relative_to(info.root).as_posix() for path in paths]
    return Listing(paths, labels, keys, [contents.boxes[p] for p in paths] if contents.boxes is not None else None)


def _folder(name: str, data_root: str | None) -> Path:
    """Where the set lies: in the root, or the root itself. The folder keeps its published name, which torchvision's
    readers look for, so a link is not followed here.
    """
    published, root = PUBLISHED[name], expanded(data_root) if data_root else data_dir()
    for folder in (root / published.folder, root):
        if folder.name == published.folder and all(_is_here(folder / mark) for mark in published.marks):
            return folder.absolute()
    text = f"{published.title} is not in {root}; unpack the published archive so that {published.folder}/ there holds "
    text += f"{', '.join(published.marks)}{f', or `fnkd data fetch {name}`' if can_fetch(name) else ''}."
    raise NotHere(text, name, published.title, data_root)


def _is_here(path: Path) -> bool:
    return path.is_file() or path.is_dir()


def _stamp(published: Published, folder: Path) -> str:
    """Changes when one of the lists does."""
    return digest([[mark, (folder / mark).stat().st_mtime_ns] for mark in published.marks])


def _look(name: str, folder: str, space: str) -> dict[str, str]:
    """Split -> what it is: its lists and, of each image, size and time of change."""
    contents = _contents(name, folder, space, _stamp(PUBLISHED[name], Path(folder)))
    found = {}
    for split, (paths, labels) in contents.splits.items():
        rows = []
        for path, label in zip(paths, labels, strict=True):
            try:
                stat = os.stat(path)
                rows.append((os.path.relpath(path, folder), label, stat.st_size, stat.st_mtime_ns))
            except OSError:  # reading it says so
                rows.append((os.path.relpath(path, folder), label, -1, 0))
        boxes = [contents.boxes[path] for path in paths] if contents.boxes is not None else None
        found[split] = split_identity(space, contents.classes, split, rows, boxes)
    return found


_identities = Recent(_look)


@lru_cache(maxsize=16)
def _contents(name: str, folder: str, space: str, stamp: str) -> Contents:
    published = PUBLISHED[name]
    try:
        contents = published.read(Path(folder), space)
        _fit(contents)
    except UserError:
        raise
    except Exception as error:
        what = " ".join(f"{type(error).__name__}: {error}".split())[:120]
        raise UserError(f"{published.title} in {folder} is not as published ({what}); unpack it anew.") from None
    keep_inside((p for paths, _ in contents.splits.values() for p in paths), Path(folder))
    return contents


def _fit(contents: Contents) -> None:
    labels: Iterable[int] = (label for _, labels in contents.splits.values() for label in labels)
    wrong = next((label for label in labels if not 0 <= label < len(contents.classes)), None)
    if wrong is not None:
        raise ValueError(f"label {wrong + 1} of {len(contents.classes)} classes")

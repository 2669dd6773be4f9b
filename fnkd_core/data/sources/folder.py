"""Folders of images, a folder for each class.

`root/train/<class>/*` with `root/test/<class>/*`, and `root/val/<class>/*` to choose by where there is one; without
labels to test on, `val` is for testing. Or `root/<class>/*` alone, of which a fifth is for testing, the same whatever
is added. Images may lie at any depth below their class. See `layout` for the names that people give these folders.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from fnkd_core.data import check, decoding
from fnkd_core.data.holdout import to_test
from fnkd_core.data.listing import File, Recent, same_name, split_identity
from fnkd_core.data.regular import archive_kind
from fnkd_core.data.sources.found import Folder, Torn, last, leave
from fnkd_core.data.sources.layout import Layout, Part, arrange, shortened
from fnkd_core.data.sources.usual import normalisation
from fnkd_core.data.tree import Place, Walk
from fnkd_core.data.types import DatasetInfo, Listing, Unreadable
from fnkd_core.errors import UserError, require
from fnkd_core.files import expanded
from fnkd_core.wording import counted

LARGEST_NATIVE = 96
DEFAULT_SIZE = 64


Rows = tuple[tuple[File, int], ...]
"""Images with their labels."""


@dataclass(frozen=True)
class Found:
    """What a part of a folder holds: class -> its images, by path; and how much was left out."""

    images: dict[str, tuple[File, ...]]
    unreadable: int
    empty: int


def describe(
    root: str | None,
    labels: str | None,
    image_size: int | None,
    unreadable: Unreadable = "refuse",
    follow_links: bool = False,
) -> DatasetInfo:
    """`UserError` where there is no such folder, no class in it, or splits differ.

    unreadable: `skip` decodes every image once and leaves out the broken ones, and classes without images;
    `refuse` makes an empty class an error here, and a broken image one when it is read. follow_links: links may lead
    out of the folder; else that is an error.
    """
    if root is None:
        raise UserError("An image folder needs its path; give the data root.")
    path = expanded(root).resolve()
    require_folder(path, root)
    if labels not in (None, "folder"):
        raise UserError(f"An image folder has one label space, 'folder', got {labels!r}.")
    found = _folder(str(path), unreadable, follow_links)
    size = image_size or found.native or DEFAULT_SIZE
    mean, std = normalisation(found.classes, found.channels)
    return DatasetInfo(
        name="folder",
        title=Path(found.base).name,
        classes=found.classes,
        label_space="folder",
        label_spaces=("folder",),
        splits=tuple(found.splits),
        image=(found.channels, size, size),
        mean=mean,
        std=std,
        pad=max(1, size // 8),
        flip=True,
        note=found.note,
        root=found.base,
        sizes=tuple(found.sizes.values()),
        identities=tuple(found.identities.values()),
        resizable=True,
        crop_pct=decoding.evaluation_crop(size),
        unreadable=unreadable,
        follow_links=follow_links,
        left_out=found.left_out,
    )


def files(info: DatasetInfo, split: str) -> Listing:
    """The images of a split, by class and path."""
    assert info.root is not None
    asked = (info.root, info.unreadable, info.follow_links)
    try:
        return _folder(*asked).splits[split]
    except Torn:
        _folder.forget()
        return _folder(*asked).splits[split]


def require_folder(path: Path, given: str) -> None:
    """`UserError` that says what a path is which is no folder."""
    if path.is_dir():
        return
    kind = archive_kind(path)
    require(not kind, f"{given} is a {kind} archive; unpack it and give the folder that comes out of it.")
    raise UserError(f"{given} is not a folder; give the folder that holds train/<class>/ or <class>/.")


def _look(root: str, unreadable: Unreadable, follow_links: bool) -> Folder:
    walk = Walk(decoding.SUFFIXES, follow_links)
    layout = arrange(Place(root, walk))
    base, parts = layout.base.path, layout.parts
    require(not layout.problem, layout.problem)
    _require_same_classes(layout, unreadable)
    found = {split: _found(part, unreadable, follow_links) for split, part in parts.items()}
    names = tuple(found["train"].images)
    require(
        len(names) >= 2,
        f"{parts['train'].folder.path} has {counted(len(names), 'class folder')} with images; at least 2 are "
        "needed, one for each class.",
    )
    notes = layout.notes
    left_out = layout.left_out + sum((part.left_out() for part in parts.values()), Counter())
    if len(parts) == 1:
        splits = _split(found["train"], base, unreadable)
    else:
        splits = {split: _labelled(held, names) for split, held in found.items()}
        left_out += sum((_of_no_class(held, names) for held in found.values()), Counter())
    if any(f.unreadable or f.empty for f in found.values()):
        images, empty = sum(f.unreadable for f in found.values()), sum(f.empty for f in found.values())
        said = [counted(images, "unreadable image")] if images else []
        said += [f"{counted(empty, 'class folder')} without images"] if empty else []
        notes = [*notes, f"Left out: {', '.join(said)}."]
    if left_out:
        notes = [*notes, check.left_out_line(left_out)]
    paths = [file.path for images in found["train"].images.values() for file in images]
    channels, native = decoding.native_shape(paths, LARGEST_NATIVE)
    classes = tuple(check.printable(layout.titles.get(name, name)) for name in names)
    keys = {split: tuple(check.key_of(base, file.path) for file, _ in rows) for split, rows in splits.items()}
    identities = {split: _identity(rows, keys[split], classes, split) for split, rows in splits.items()}
    counts = tuple(check.most_first(left_out))
    note = check.printable(" ".join(notes))
    listings = {
        split: Listing([file.path for file, _ in rows], [label for _, label in rows], keys[split])
        for split, rows in splits.items()
    }
    sizes = {split: len(rows) for split, rows in splits.items()}
    return Folder(base, classes, listings, sizes, identities, channels, native, note, counts, tuple(walk.stamps))


_folder = Recent(_look, lambda found: found.stamps, last, leave)


def _require_same_classes(layout: Layout, unreadable: Unreadable) -> None:
    """`UserError` where a split has classes that train has not, or lacks some; what has no images may be left out."""
    train = layout.parts["train"]
    known = {same_name(name): name for name in train.classes()}
    for part in layout.parts.values():
        named = {same_name(name): name for name in part.classes()}
        differing = named.keys() - known.keys()
        if unreadable == "skip":
            differing = {key for key in differing if any(place.holds_images for place in part.classes()[named[key]])}
        elif part.labels is None:
            differing = differing | (known.keys() - named.keys())
        names = sorted(check.printable({**known, **named}[key]) for key in differing)
        require(
            not differing,
            f"{train.folder.name} and {part.folder.name} in {layout.base.path} have different classes: "
            f"{shortened(names)}; make them the same.",
        )


def _found(part: Part, unreadable: Unreadable, follow_links: bool) -> Found:
    """Links that lead out of the part are refused, unless they are to be followed."""
    if not follow_links and (links := part.leading_out()):
        raise UserError(
            f"{links[0]} leads out of {part.folder.path}; replace it by the files themselves, or allow it: "
            "`fnkd data add NAME DIR --follow-links`."
        )
    images = part.images()
    left_out = 0
    if unreadable == "skip":
        broken = check.unreadable([file.path for held in images.values() for file in held], Path(part.folder.path))
        images = {name: [file for file in held if file.path not in broken] for name, held in images.items()}
        left_out = len(broken)
    empty = [name for name, held in images.items() if not held]
    if empty and unreadable == "refuse":
        place = part.classes()[empty[0]][0]
        others = sum((below.left_out() for below in place.below()), Counter())
        has = f" but {check.counted(others)}" if others else ""
        more = f", nor have {len(empty) - 1} more" if len(empty) > 1 else ""
        raise UserError(
            f"Class folder {place.path} has no images ({', '.join(sorted(decoding.SUFFIXES))}){has}{more}; fill or "
            "remove it, or leave empty classes out: `fnkd data add NAME DIR --unreadable skip`."
        )
    return Found({name: tuple(held) for name, held in images.items() if held}, left_out, len(empty))


def _labelled(found: Found, names: Sequence[str]) -> Rows:
    """The images of a split with the number of their class among train's."""
    images = {same_name(name): held for name, held in found.images.items()}
    return tuple((file, k) for k, name in enumerate(names) for file in images.get(same_name(name), ()))


def _of_no_class(found: Found, names: Sequence[str]) -> Counter[str]:
    """What is not read of a split because no image of its class can be trained on."""
    known = {same_name(name) for name in names}
    strays = (file for name, held in found.images.items() if same_name(name) not in known for file in held)
    return Counter(f"{check.suffix(file.path)} of a class without training images" for file in strays)


def _split(found: Found, base: str, unreadable: Unreadable) -> dict[str, Rows]:
    """A part of each class to test on; see `holdout.to_test`."""
    splits: dict[str, list[tuple[File, int]]] = {"train": [], "test": []}
    for label, held in enumerate(found.images.values()):
        require(
            len(held) >= 2 or unreadable == "skip",
            f"Class folder {os.path.dirname(held[0].path)} has 1 image; 2 are needed to split it.",
        )
        keys = [check.key_of(base, file.path) for file in held]
        testing = to_test(keys)
        for key, file in zip(keys, held, strict=True):
            splits["test" if key in testing else "train"].append((file, label))
    return {split: tuple(rows) for split, rows in splits.items()}


def _identity(rows: Rows, keys: Sequence[str], classes: tuple[str, ...], split: str) -> str:
    stamps = ((key, label, file.size, file.mtime_ns) for key, (file, label) in zip(keys, rows, strict=True))
    return split_identity("folder", classes, split, stamps)

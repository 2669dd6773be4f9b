"""How a folder of images is laid out: which folders in it are splits, and which of these come with labels. No torch."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from fnkd_core.data import check
from fnkd_core.data.holdout import SPLIT_NAMES, TEST_SHARE, preference, split_called
from fnkd_core.data.listing import File, same_name
from fnkd_core.data.regular import archive_kind, read_text
from fnkd_core.data.tree import Place, is_inside

DEEPEST_WRAPPER = 4
MANY = 2
"""Beside so many other folders with images, one that is called as a split and holds folders is one class of them."""
WORDS = "words.txt"
"""WordNet's words for the names of classes, as Tiny-ImageNet comes with."""


@dataclass(frozen=True)
class Part:
    """A folder that serves as a split. labels: image's name -> class, where a list says so and not the folders."""

    folder: Place
    labels: dict[str, str] | None = None
    list_file: str = ""

    def classes(self) -> dict[str, list[Place]]:
        """Class -> its folders, which are several where Unicode writes one name in several ways; by name."""
        if self.labels is not None:
            return {name: [] for name in sorted(set(self.labels.values()))}
        found: dict[str, list[Place]] = {}
        first: dict[str, str] = {}
        for place in self.folder.folders:
            found.setdefault(first.setdefault(same_name(place.name), place.name), []).append(place)
        return found

    def images(self) -> dict[str, list[File]]:
        """Class -> the images of it, by path, at any depth."""
        if self.labels is not None:
            of: dict[str, list[File]] = {name: [] for name in self.classes()}
            for file in sorted(self._listed(), key=_path):
                if os.path.basename(file.path) in self.labels:
                    of[self.labels[os.path.basename(file.path)]].append(file)
            return of
        return {
            name: sorted((file for place in places for each in place.below() for file in each.images()), key=_path)
            for name, places in self.classes().items()
        }

    def _listed(self) -> Iterable[File]:
        return (file for place in self.folder.below() for file in place.images())

    def left_out(self) -> Counter[str]:
        """Kind -> how many files in it are not read."""
        if self.labels is not None:
            listed = (os.path.basename(file.path) for file in self._listed())
            strays = Counter(_stray(name) for name in listed if name not in self.labels)
            return sum((p.left_out([self.list_file]) for p in self.folder.below()), strays)
        return _left_in(self.folder) + sum((p.left_out() for c in self.folder.folders for p in c.below()), Counter())

    def leading_out(self) -> list[str]:
        """The links in it that lead out of it."""
        below = (place for folder in self.folder.folders for place in folder.below())
        return sorted(link for place in (self.folder, *below) for link in place.leading_out(self.folder))


@dataclass
class Layout:
    """What serves as what. base: the folder that holds the splits, or the classes.

    parts: split -> folder. Where `train` stands alone, a share of it is for testing: of the classes in the base itself,
    or of its own folder. titles: class folder's name -> what a list says it stands for. notes: sentences on what was
    decided. left_out: kind -> how many files beside the parts are not read. problem: why there are none, with the
    remedy, if so; the base is then taken for a folder of classes.
    """

    base: Place
    parts: dict[str, Part]
    titles: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)
    problem: str = ""

    @property
    def is_whole(self) -> bool:
        """Whether the base holds the classes themselves."""
        return self.parts["train"].folder is self.base


def arrange(root: Place) -> Layout:
    """How a folder is laid out, fit for use or not."""
    base = _unwrapped(root)
    notes = [] if base is root else [f"Read from {os.path.relpath(base.path, root.path)} in it."]
    called: dict[str, list[Place]] = {split: [] for split in SPLIT_NAMES}
    others: list[Place] = []
    for place in base.folders:
        split = split_called(place.name)
        (others if split is None else called[split]).append(place)
    for places in called.values():
        places.sort(key=lambda place: preference(place.name))
    beside = [*called["validation"], *called["test"]]
    train = next((p for p in called["train"] if _is_train(p, beside, others)), None)
    if train is None:
        problem = _no_classes(base)
        if not problem:
            taken = [place.name for place in (*called["train"], *beside) if place.holds_images]
            notes += (
                [f"{' and '.join(taken)} {'is a class' if len(taken) == 1 else 'are classes'} here."] if taken else []
            )
            notes.append(_held_out("One folder of classes"))
        return Layout(base, {"train": Part(base)}, notes=notes, problem=problem)
    layout = Layout(base, {"train": Part(_unwrapped(train, is_split=True))}, notes=notes)
    labelled = {place.path: part for place in beside if (part := _as_part(place, layout.parts["train"])) is not None}
    for split in ("validation", "test"):
        if chosen := [labelled[place.path] for place in called[split] if place.path in labelled]:
            layout.parts[split] = chosen[0]
    if "validation" in layout.parts and "test" not in layout.parts:
        layout.parts["test"] = layout.parts.pop("validation")
        notes.append(f"{os.path.relpath(layout.parts['test'].folder.path, base.path)} is the split to test on.")
    layout.parts = {split: layout.parts[split] for split in SPLIT_NAMES if split in layout.parts}
    if len(layout.parts) == 1:
        notes.append(_held_out(f"Only {train.name} has classes"))
    _say_what_is_left_out(layout, [place for place in beside if place.path not in labelled])
    if any(part.labels is not None for part in layout.parts.values()) and WORDS in base.other_files:
        layout.titles = _titles(base, list(layout.parts["train"].classes()))
    read = [WORDS] if layout.titles else []
    layout.left_out += _left_in(base, read)
    return layout


def _held_out(why: str) -> str:
    return f"{why}: {TEST_SHARE:.0%} of each, by the hash of its name, to test."


def _no_classes(base: Place) -> str:
    """Why a folder that holds no split to train on does not hold classes either; empty where it does."""
    holding = [folder for folder in base.folders if folder.holds_images]
    called = [folder for folder in holding if split_called(folder.name)]
    train = next((folder for folder in called if split_called(folder.name) == "train"), None)
    if train is not None and 2 * len(called) > len(holding):
        lists = [n for place in (base, train) for n in place.other_files if n.endswith((".csv", ".tsv", ".txt"))]
        unread = f" ({shortened(lists)} is not read)" if lists else ""
        return (
            f"{train.path} has {train.num_images:,} images and no folders of classes; move each image into a folder of "
            f"its class, {train.name}/<class>/{unread}."
        )
    siblings = {same_name(folder.name) for folder in holding}
    own = {folder.name: {same_name(f.name) for f in folder.folders} for folder in called if not folder.num_images}
    alone = len(holding) - len(called) < MANY
    nested = [name for name, inner in own.items() if alone or inner & siblings]
    if nested or (called and len(called) == len(holding)):
        return (
            f"{base.path} has {shortened(nested or [folder.name for folder in called])} and no folder to train on; put "
            "the folders of classes to train on into one called train beside it."
        )
    archives = [name for name in base.other_files if archive_kind(os.path.join(base.path, name))]
    if archives and not holding:
        return f"{base.path} holds no images but {archives[0]}, an archive; unpack it."
    if base.num_images and not holding:
        return (
            f"{base.path} has {base.num_images:,} images and no folders of classes; move each image into a folder of "
            "its class."
        )
    return ""


def _say_what_is_left_out(layout: Layout, unlabelled: Sequence[Place]) -> None:
    for place in unlabelled:
        layout.notes.append(f"{place.name} has no folders of classes, so no labels; it is left out.")
        layout.left_out += sum((_left_in(below) for below in place.below()), Counter())
    used = [part.folder.path for part in layout.parts.values()] + [place.path for place in unlabelled]
    rest = [p.name for p in layout.base.folders if not any(is_inside(path, p.path) for path in used)]
    if rest:
        layout.notes.append(f"Not read: folder{'s' if len(rest) > 1 else ''} {shortened(rest)}.")


def _as_part(place: Place, train: Part) -> Part | None:
    """The folder as a split; None where it has no labels: neither a list of them nor folders of train's classes."""
    list_file = f"{place.name}_annotations.txt"
    if list_file in place.other_files:
        rows = (line.split() for line in _lines(place, list_file))
        return Part(place, {row[0]: row[1] for row in rows if len(row) >= 2}, list_file)
    known = {same_name(name) for name in train.classes()}
    for each in dict.fromkeys((place, _unwrapped(place, is_split=True))):
        names = {same_name(folder.name) for folder in each.folders}
        if names & known or len(names) > 1:
            return Part(each)
    return None


def _titles(base: Place, wnids: Sequence[str]) -> dict[str, str]:
    """Class folder's name -> the first of the words that WordNet has for it, all of them where two share the first.

    Empty unless the list has words for every class.
    """
    rows = (line.partition("\t") for line in _lines(base, WORDS))
    words = {wnid: text.strip() for wnid, _, text in rows if text.strip()}
    if not set(wnids) <= set(words):
        return {}
    firsts = {wnid: words[wnid].partition(",")[0].strip() for wnid in wnids}
    counts = Counter(firsts.values())
    titles = {wnid: first if counts[first] == 1 else words[wnid] for wnid, first in firsts.items()}
    return titles if len(set(titles.values())) == len(titles) else {}


def _lines(place: Place, name: str) -> list[str]:
    path = os.path.join(place.path, name)
    place.walk.note(path)
    return read_text(path).splitlines()


def _is_train(place: Place, beside: Sequence[Place], others: Sequence[Place]) -> bool:
    """Whether a folder that is called as one to train on is that, and no class of this name.

    A split holds folders of classes, a class its images, in folders or not.
    """
    if not any(folder.holds_images for folder in place.folders):
        return False
    if any(folder.holds_images for other in beside for folder in other.folders):
        return True
    return sum(other.holds_images for other in others) < (1 if place.num_images else MANY)


def _unwrapped(outer: Place, is_split: bool = False) -> Place:
    """The folder that holds classes, or splits, where it alone of those around it has images.

    is_split: a folder in it that is called as a split is then no split.
    """
    place = outer
    for _ in range(DEEPEST_WRAPPER):
        holding = [folder for folder in place.folders if folder.holds_images]
        if len(holding) > 1 or any(split_called(folder.name) == "train" for folder in holding if not is_split):
            return place if place is outer else Place(place.path, outer.walk)
        if place.num_images or not holding or holding[0].num_images:
            break
        if split_called(holding[0].name) and not is_split:
            break
        place = holding[0]
    return outer


def _left_in(place: Place, read: Sequence[str] = ()) -> Counter[str]:
    """What is not read of a folder that has no class of its own: an image in it has no label. read: files that are."""
    return place.left_out(read) + Counter(_stray(os.path.basename(file.path)) for file in place.images())


def _stray(name: str) -> str:
    return f"{check.suffix(name)} without a label"


def _path(file: File) -> str:
    return file.path


def shortened(names: Sequence[str], most: int = 5) -> str:
    """The first of the names, and dots where there are more."""
    return ", ".join(names[:most]) + (" ..." if len(names) > most else "")

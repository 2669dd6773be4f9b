"""Saved selections: samples of a split under a name, with a note and how they were chosen. No torch.

A selection is a file in `selections` of the home, which is written whole or not at all, and changed by one at a time.
It names samples by their keys, so that it outlives stores and models.
"""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from fnkd_core.data.types import DatasetInfo
from fnkd_core.errors import UserError, require, unknown
from fnkd_core.files import check_name, write_json
from fnkd_core.identity import digest, digest_of_rows
from fnkd_core.locks import locked
from fnkd_core.paths import selections_dir
from fnkd_core.records import read_json


@dataclass(frozen=True)
class Selection:
    """Samples of a split.

    dataset, label_space, split: what the split is called. split_identity: what it is. keys: of the samples, in
    the order in which they were added, each once. note: by whoever saved it. made: how its samples were chosen, in
    words. created, changed: when, in ISO 8601. labels: key -> the label that a sample is to have in place of its own,
    of those samples that are given one.
    """

    name: str
    dataset: str
    label_space: str
    split: str
    split_identity: str
    keys: list[str]
    note: str = ""
    made: str = ""
    created: str = ""
    changed: str = ""
    labels: dict[str, int] = field(default_factory=dict)

    @property
    def identity(self) -> str:
        """What it selects: it changes with its samples, not with their order or its name."""
        return digest([self.split_identity, digest_of_rows((key,) for key in sorted(self.keys))])

    @property
    def identity_of_labels(self) -> str:
        """What labels it gives: it changes with them, not with the samples that keep their own."""
        rows = ((key, str(label)) for key, label in sorted(self.labels.items()))
        return digest([self.split_identity, digest_of_rows(rows)])

    @property
    def was_worked_on(self) -> bool:
        """Whether anybody has changed it, or said anything of it, since it was saved."""
        return bool(self.note or self.labels) or self.changed != self.created

    def is_of(self, identity: str) -> bool:
        """Whether its samples are of the split with this identity."""
        return self.split_identity == identity


def list_selections() -> tuple[list[Selection], list[str]]:
    """All of them by name, and a line for each whose file is damaged."""
    found, problems = [], []
    for path in sorted(selections_dir().glob("*.json")):
        try:
            found.append(_read(path))
        except UserError as error:
            problems.append(str(error))
    return found, problems


def find_selection(name: str) -> Selection:
    """The selection of this name. `UserError` where there is none, or its file is damaged."""
    path = _path(name)
    if not path.is_file():
        raise unknown("selection", name, [path.stem for path in sorted(selections_dir().glob("*.json"))])
    return _read(path)


def add_to(name: str, info: DatasetInfo, split: str, keys: Iterable[str], made: str) -> Selection:
    """Add samples of a split to the selection of this name, which is made where there is none; what it is then.

    made: how they were chosen. `UserError` where the name cannot be a file's or is that of another split's selection.
    """

    def change(before: Selection) -> Selection:
        told = [part for part in before.made.split("; ") if part]
        all_of_it = dict.fromkeys([*before.keys, *keys])
        return dataclasses.replace(
            before, keys=list(all_of_it), made="; ".join(told if made in told else [*told, made])
        )

    return _change(name, info, split, change)


def save_anew(name: str, info: DatasetInfo, split: str, keys: Iterable[str], made: str) -> Selection:
    """Save samples of a split as a selection of this name, in place of one that nobody has worked on since.

    Where somebody has, or its file is damaged, that one stays, and the name is the next that is free: `name-2`. made:
    as in `add_to`. `UserError` where the name cannot be a file's.
    """
    now = datetime.now(UTC).isoformat(timespec="seconds")
    others = (f"{name[:58]}-{n}" for n in itertools.count(2))
    with _owned():
        free = next(filter(_is_free, itertools.chain([name], others)))
        empty = _new(free, info, split, now)
        saved = dataclasses.replace(empty, keys=list(dict.fromkeys(keys)), made=made, changed=now)
        _write(saved)
    return saved


def _is_free(name: str) -> bool:
    path = _path(name)
    try:
        return not path.is_file() or not _read(path).was_worked_on
    except UserError:
        return False


def remove_from(name: str, info: DatasetInfo, split: str, keys: Iterable[str]) -> Selection:
    """Take samples out of the selection; what it is then. `UserError` as in `add_to`."""
    gone = set(keys)

    def change(before: Selection) -> Selection:
        kept = {key: label for key, label in before.labels.items() if key not in gone}
        return dataclasses.replace(before, keys=[key for key in before.keys if key not in gone], labels=kept)

    return _change(name, info, split, change)


def relabel(name: str, info: DatasetInfo, split: str, keys: Iterable[str], label: int | None) -> Selection:
    """Give those of its samples that have these keys another label, or with None their own again; what it is then.

    The data stay as they are: a run that is trained with the selection's labels has them. `UserError` where there is
    no such selection or class, or as in `add_to`.
    """
    find_selection(name)
    require(
        label is None or 0 <= label < len(info.classes),
        f"label must be that of a class of {info.title}, 0 to {len(info.classes) - 1}, got {label}.",
    )
    chosen = set(keys)

    def change(before: Selection) -> Selection:
        labels = {key: value for key, value in before.labels.items() if key not in chosen}
        if label is not None:
            labels |= {key: label for key in before.keys if key in chosen}
        return dataclasses.replace(before, labels=labels)

    return _change(name, info, split, change)


def set_note(name: str, note: str) -> None:
    """Give the selection another note. `UserError` where there is none of this name."""
    with _owned():
        _write(dataclasses.replace(find_selection(name), note=note))


def delete_selection(name: str) -> None:
    """Forget the selection; the images stay. `UserError` where there is none of this name."""
    with _owned():
        path = _path(name)
        if not path.is_file():
            raise unknown("selection", name, [path.stem for path in sorted(selections_dir().glob("*.json"))])
        path.unlink()


def rows_of(
    selection: Selection, info: DatasetInfo, keys: Sequence[str], labels: Sequence[int]
) -> dict[str, list[Any]]:
    """The selection as columns: key, label, class and, of images in files, path; in the order of the split.

    Where it gives labels also new_label and new_class: of each sample what a run with its labels is trained on.

    keys, labels: of all of the split. `UserError` where the split is another one by now.
    """
    from fnkd_core.data.catalogue import files_of

    require_of(selection, info)
    wanted = set(selection.keys)
    index = [i for i, key in enumerate(keys) if key in wanted]
    table: dict[str, list[Any]] = {
        "key": [keys[i] for i in index],
        "label": [int(labels[i]) for i in index],
        "class": [info.classes[int(labels[i])] for i in index],
    }
    if selection.labels:
        table["new_label"] = [selection.labels.get(keys[i], int(labels[i])) for i in index]
        table["new_class"] = [info.classes[label] for label in table["new_label"]]
    files = files_of(info, selection.split)
    if files is not None and index and isinstance(files.sources[index[0]], str):
        table["path"] = [files.sources[i] for i in index]
    return table


def require_of(selection: Selection, info: DatasetInfo, split: str | None = None) -> None:
    """`UserError` where the selection is not of this split of these data, as they are now."""
    wanted = split or selection.split
    if selection.split == wanted and wanted in info.splits and selection.is_of(info.identity(wanted)):
        strange = [label for label in selection.labels.values() if not 0 <= label < len(info.classes)]
        require(
            not strange,
            f"Selection {selection.name!r} gives the label {strange[:1]}, but {info.title} has {len(info.classes)} "
            "classes; give its samples their own labels again, or restore its file from a copy.",
        )
        return
    raise UserError(
        f"Selection {selection.name!r} is of the {selection.split} split of {selection.dataset} "
        f"({selection.label_space}) as it was then, not of the {wanted} split of {info.title} "
        f"({info.label_space}) as it is now; choose another one, or select anew."
    )


def _change(name: str, info: DatasetInfo, split: str, change: Callable[[Selection], Selection]) -> Selection:
    check_name("selection", name)
    now = datetime.now(UTC).isoformat(timespec="seconds")
    with _owned():
        if _path(name).is_file():
            before = _read(_path(name))
            require_of(before, info, split)
        else:
            before = _new(name, info, split, now)
        after = dataclasses.replace(change(before), changed=now)
        _write(after)
    return after


def _new(name: str, info: DatasetInfo, split: str, now: str) -> Selection:
    identity = info.identity(split)
    require(bool(identity), f"{info.title} is not on this machine, so nothing of it can be selected.")
    return Selection(name, info.name, info.label_space, split, identity, [], created=now)


def _write(selection: Selection) -> None:
    write_json(_path(selection.name), dataclasses.asdict(selection))


def _read(path: Path) -> Selection:
    found = read_json(path, Selection, "delete it, or restore it from a copy")
    require(found.name == path.stem, f"{path} is damaged (it says that it is {found.name!r}); delete it.")
    return found


def _path(name: str) -> Path:
    return selections_dir() / f"{check_name('selection', name)}.json"


@contextlib.contextmanager
def _owned() -> Iterator[None]:
    """Between reading a selection and writing it nobody else does either."""
    selections_dir().mkdir(parents=True, exist_ok=True)
    with locked(selections_dir() / ".lock"):
        yield

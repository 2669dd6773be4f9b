"""Similar-class sets A(x), for anisotropic label smoothing and for label noise: every class of a group is similar
to the others of it.

Where the groups come from is a source: a function in `SOURCES`, or the path of a CSV file with the columns class
and group. `auto` is the user's own saved groups where there are any, else what fits the data set.
"""

from __future__ import annotations

import contextlib
import csv
import io
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from fnkd_core.data.download.addresses import data_root
from fnkd_core.data.listing import same_name
from fnkd_core.data.regular import read_text
from fnkd_core.data.sources.cifar import FINE, SUPERCLASSES
from fnkd_core.errors import UserError, require
from fnkd_core.files import expanded, write_text
from fnkd_core.paths import data_dir
from fnkd_core.spreadsheets import marked, unmarked

if TYPE_CHECKING:
    from fnkd_core.data.types import DatasetInfo

Groups = tuple[str | None, ...]
"""For each class the name of its group, or None where it stands alone."""

MOST_BYTES = 4 * 2**20
"""Of a CSV of groups: more than any data set's classes take."""
TWO_WORD_MAKES = ("AM General", "Aston Martin", "Land Rover")


def _superclass(info: DatasetInfo) -> Groups:
    require(
        tuple(info.classes) == FINE,
        "Superclasses are known for CIFAR-100's fine labels only; use last_word, none, or a CSV of groups.",
    )
    of = {fine: name for name, members in SUPERCLASSES.items() for fine in members}
    return tuple(of[name] for name in info.classes)


def _last_word(info: DatasetInfo) -> Groups:
    words = [[w for w in re.split(r"[\s_]+", name.lower()) if w] for name in info.classes]
    return tuple(w[-1] if w else None for w in words)


def _make(info: DatasetInfo) -> Groups:
    require(
        _of_cars(info),
        "Makes are read from names such as 'Audi TTS Coupe 2012', which end in a year; use last_word, none, or a CSV "
        "of groups.",
    )
    names = [name.replace("_", " ").strip() for name in info.classes]
    longer = [next((make for make in TWO_WORD_MAKES if name.startswith(f"{make} ")), None) for name in names]
    return tuple(make or name.partition(" ")[0] or None for make, name in zip(longer, names, strict=True))


def _of_cars(info: DatasetInfo) -> bool:
    return all(re.search(r"[\s_](19|20)\d\d$", name) for name in info.classes)


def _aircraft(level: str) -> Callable[[DatasetInfo], Groups]:
    """The published lists name every image's variant, family and manufacturer; the image joins them."""

    def groups(info: DatasetInfo) -> Groups:
        folder = data_root(info.root) / "fgvc-aircraft-2013b" / "data"
        lists = {name: folder / f"images_{name}_train.txt" for name in ("variant", "family", level)}
        for path in lists.values():
            require(
                path.is_file(),
                f"{level} is read from FGVC-Aircraft's own {path.name}, which is not in {folder}; "
                "use last_word, none, or a CSV of groups.",
            )
        of_image = {
            name: dict(line.split(" ", 1) for line in path.read_text().splitlines() if " " in line)
            for name, path in lists.items()
        }
        for own in (of_image["variant"], of_image["family"]):
            coarser = {name: of_image[level].get(image) for image, name in own.items()}
            if set(info.classes) <= set(coarser):
                return tuple(coarser[name] for name in info.classes)
        raise UserError(
            f"{level} is known for FGVC-Aircraft only, not for {info.name}; use last_word, none, or a CSV of groups."
        )

    return groups


def _saved(info: DatasetInfo) -> Groups:
    path = saved_path(info)
    require(path.is_file(), f"No groups are saved for {info.name} ({info.label_space}); save some on Similar classes.")
    return _read_file(info, path)


SOURCES: dict[str, Callable[[DatasetInfo], Groups]] = {
    "superclass": _superclass,
    "last_word": _last_word,
    "make": _make,
    "family": _aircraft("family"),
    "manufacturer": _aircraft("manufacturer"),
    "saved": _saved,
    "none": lambda info: (None,) * len(info.classes),
}


def class_groups(info: DatasetInfo, source: str) -> Groups:
    """The group of each class. source: `auto`, a name in `SOURCES`, or the path of a CSV of groups.

    `UserError` where the source does not know this data set's classes.
    """
    source = default_similar(info) if source == "auto" else source
    if source in SOURCES:
        return SOURCES[source](info)
    path = expanded(source)
    require(
        path.is_file(),
        f"Unknown source of similar classes {source!r}. Available: auto, {', '.join(SOURCES)}, "
        "or the path of a CSV file with the columns class and group.",
    )
    return _read_file(info, path)


def _read_file(info: DatasetInfo, path: Path) -> Groups:
    return read_groups(info, read_text(path, MOST_BYTES).encode(), str(path))


def similar_classes(info: DatasetInfo, source: str) -> tuple[tuple[int, ...], ...]:
    """For each class the indices of its similar classes A(x), itself left out; empty where it stands alone."""
    return siblings(class_groups(info, source))


def siblings(groups: Sequence[str | None]) -> tuple[tuple[int, ...], ...]:
    """For each class the indices of the others of its group."""
    members: dict[str | None, list[int]] = {None: []}
    for i, group in enumerate(groups):
        if group is not None:
            members.setdefault(group, []).append(i)
    return tuple(tuple(j for j in members[group] if j != i) for i, group in enumerate(groups))


@dataclass(frozen=True)
class GroupCounts:
    """How many groups of two classes and more there are, how many classes are in one, and how many stand alone."""

    num_groups: int
    num_grouped: int
    num_alone: int

    def __str__(self) -> str:
        return f"{self.num_groups} groups over {self.num_grouped} classes; {self.num_alone} classes stand alone"


def count_groups(groups: Sequence[str | None]) -> GroupCounts:
    """The sums of `groups`. A group of one class is no group: that class stands alone."""
    sizes = [n for name, n in Counter(groups).items() if name is not None and n > 1]
    return GroupCounts(len(sizes), sum(sizes), len(groups) - sum(sizes))


def fitting_sources(info: DatasetInfo) -> list[str]:
    """The names in `SOURCES` that know this data set's classes and find siblings among them, and `none`."""
    found = []
    for name in SOURCES:
        with contextlib.suppress(UserError, OSError):
            if name in ("none", "saved") or any(similar_classes(info, name)):
                class_groups(info, name)
                found.append(name)
    return found


def own_similar(info: DatasetInfo) -> str:
    """The source that fits a data set: its published groups, the makes of cars (names that end in a year), else
    last words where two classes share one, else none."""
    if info.classes == FINE:
        return "superclass"
    if info.name == "fgvc_aircraft":
        return "none" if info.download else "family"
    if _of_cars(info):
        return "make"
    return "last_word" if any(siblings(_last_word(info))) else "none"


def default_similar(info: DatasetInfo) -> str:
    """What `auto` means: the user's saved groups where there are any, else the source that fits the data set."""
    return "saved" if saved_path(info).is_file() else own_similar(info)


def saved_path(info: DatasetInfo) -> Path:
    """Where the user's own groups of these classes are kept. A folder without a name of its own has none."""
    stem = f"{info.name}-{info.label_space}" if info.name != "folder" else ""
    return data_dir() / "similar" / f"{re.sub(r'[^A-Za-z0-9_-]', '_', stem)}.csv"


def save_groups(info: DatasetInfo, groups: Sequence[str | None]) -> Path:
    """Keep the groups as the user's own, which `auto` then means. Returns their file.

    `UserError` for a folder without a name.
    """
    require(info.name != "folder", "Groups are saved under a data set's name; add the folder under a name first.")
    write_text(saved_path(info), groups_csv(info, groups))
    return saved_path(info)


def delete_groups(info: DatasetInfo) -> None:
    """Forget the user's own groups; `auto` is again what fits the data set."""
    saved_path(info).unlink(missing_ok=True)


def groups_csv(info: DatasetInfo, groups: Sequence[str | None]) -> str:
    """The groups as CSV, a line for each class; a spreadsheet runs none of its cells."""
    lines = io.StringIO()
    rows = zip(info.classes, (group or "" for group in groups), strict=True)
    csv.writer(lines).writerows([("class", "group"), *([marked(c) for c in row] for row in rows)])
    return lines.getvalue()


def read_groups(info: DatasetInfo, data: bytes, what: str) -> Groups:
    """The groups of a CSV with the columns class and group; a class it leaves out stands alone.

    what: its name, for errors. `UserError` where it is no such CSV or does not speak of these classes.
    """
    require(
        len(data) <= MOST_BYTES, f"{what} is longer than {MOST_BYTES / 1e6:.0f} MB; leave classes and groups in it."
    )
    try:
        rows = csv.reader(io.StringIO(data.decode("utf-8-sig"), newline=""), strict=True)
        columns, *lines = [row for row in rows if row] or [[]]
    except (csv.Error, UnicodeDecodeError) as error:
        raise UserError(f"{what} is not a readable CSV file ({error}); mend or delete it.") from None
    require(
        columns.count("class") == 1 and columns.count("group") == 1,
        f"{what} must have the columns class and group, has {_first(columns) or 'none'}.",
    )
    longer = any(len(row) > len(columns) for row in lines)
    require(not longer, f"{what} has lines of more columns than its first; put quotes around names with commas.")
    at = columns.index("class"), columns.index("group")
    pairs = [tuple(unmarked(row[i]) if i < len(row) else "" for i in at) for row in lines]
    known = {same_name(name): name for name in info.classes}
    strange = sorted({name for name, _ in pairs if same_name(name) not in known})
    require(not strange, f"{what} names classes that the data set lacks: {_first(strange)}; mend or delete it.")
    counts = Counter(same_name(name) for name, _ in pairs)
    twice = sorted(known[key] for key, count in counts.items() if count > 1)
    require(not twice, f"{what} names classes more than once: {_first(twice)}; leave one line for each.")
    of = {same_name(name): group.strip() for name, group in pairs}
    return tuple(of.get(same_name(name)) or None for name in info.classes)


def _first(names: Sequence[str]) -> str:
    """A few of the names, each cut short, for errors."""
    return ", ".join(name[:40] for name in names[:5]) + (" ..." if len(names) > 5 else "")

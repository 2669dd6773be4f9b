"""Similar-class sets A(x) for anisotropic label smoothing."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from fnkd_core.data.cifar import FINE, SUPERCLASSES
from fnkd_core.errors import UserError, require

if TYPE_CHECKING:
    from fnkd_core.data.info import DatasetInfo

SOURCES = ("superclass", "last_word", "none")


def similar_classes(classes: Sequence[str], source: str) -> tuple[tuple[int, ...], ...]:
    """For each class the indices of its similar classes, itself left out.

    source: `superclass` (CIFAR-100's), `last_word` of the class name, `none`, or the path of a CSV file with
    the columns class and group. A class that stands alone has an empty set.
    """
    if source == "none":
        groups: list[str | None] = [None] * len(classes)
    elif source == "superclass":
        require(
            tuple(classes) == FINE,
            "Superclasses are known for CIFAR-100's fine labels only; use last_word, none, or a CSV of groups.",
        )
        of = {fine: name for name, members in SUPERCLASSES.items() for fine in members}
        groups = [of[name] for name in classes]
    elif source == "last_word":
        words = [[w for w in re.split(r"[\s_]+", name.lower()) if w] for name in classes]
        groups = [w[-1] if w else None for w in words]
    else:
        groups = _from_csv(classes, source)
    return tuple(
        tuple(j for j, other in enumerate(groups) if j != i and group is not None and other == group)
        for i, group in enumerate(groups)
    )


def _from_csv(classes: Sequence[str], source: str) -> list[str | None]:
    import pandas as pd

    path = Path(source).expanduser()
    if not path.is_file():
        raise UserError(
            f"Unknown source of similar classes {source!r}. Available: {', '.join(SOURCES)}, "
            "or the path of a CSV file with the columns class and group."
        )
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False)
    except Exception as error:
        raise UserError(f"{path} is not a readable CSV file ({type(error).__name__}).") from None
    require(
        {"class", "group"} <= set(table.columns),
        f"{path} must have the columns class and group, has {', '.join(map(str, table.columns))}.",
    )
    strange = sorted(set(table["class"]) - set(classes))
    require(not strange, f"{path} names classes that the data set lacks: {', '.join(strange[:5])}.")
    of = dict(zip(table["class"], table["group"], strict=True))
    return [of.get(name) or None for name in classes]


def default_similar(info: DatasetInfo) -> str:
    """The source that fits a data set: its superclasses, else last words where two share one, else none."""
    if info.classes == FINE:
        return "superclass"
    return "last_word" if any(similar_classes(info.classes, "last_word")) else "none"

"""What a figure shows, in a sentence: extremes, medians and counts of the data that it draws.

Every figure is made by `style.framed`, which asks for that sentence, so that whoever does not see the figure is told
the same. Names in it have gone through `style.literal` as everywhere in a figure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go

MOST_TOLD = 6
"""Of more lines, groups or rows than this the first are told, and how many more there are."""


def listed(parts: Sequence[str]) -> str:
    """The first parts in a row, and how many more there are."""
    more = len(parts) - MOST_TOLD
    return "; ".join(parts[:MOST_TOLD]) + (f"; and {more:,} more" if more > 0 else "") if parts else "nothing"


def spread(values: Any, form: str = ".3g") -> str:
    """The median and both ends of the numbers that are there: "median 3, 1 to 9"."""
    known = np.asarray(values, float)
    known = known[np.isfinite(known)]
    if not len(known):
        return "no value"
    return f"median {np.median(known):{form}}, {known.min():{form}} to {known.max():{form}}"


def ends(names: Sequence[str], values: Any, form: str = ".3g", low: str = "lowest", high: str = "highest") -> str:
    """What has the least and the most: "lowest cat (1), highest dog (9)"."""
    known = np.asarray(values, float)
    if not np.isfinite(known).any():
        return "no value"
    least, most = int(np.nanargmin(known)), int(np.nanargmax(known))
    if len(known) == 1 or known[least] == known[most]:
        return f"{names[least]} {known[least]:{form}}" if len(known) == 1 else f"all {known[least]:{form}}"
    return f"{low} {names[least]} ({known[least]:{form}}), {high} {names[most]} ({known[most]:{form}})"


def courses(figure: go.Figure, form: str = ".4g", of: str = "epoch") -> str:
    """How each named line of the figure went: its first and last value, and its lowest and highest between them."""
    return listed([_course(line, form, of) for line in figure.data if line.name])


def _course(line: Any, form: str, of: str) -> str:
    known = [(x, y) for x, y in zip(line.x, line.y, strict=True) if y is not None and y == y]
    if not known:
        return f"{line.name} has no value"
    (first, start), (last, end) = known[0], known[-1]
    if len(known) == 1:
        return f"{line.name} {end:{form}} at {of} {last:.4g}"
    values = [y for _, y in known]
    return (
        f"{line.name} from {start:{form}} at {of} {first:.4g} to {end:{form}} at {of} {last:.4g}, "
        f"lowest {min(values):{form}}, highest {max(values):{form}}"
    )


def each(values: Mapping[str, str]) -> str:
    """Name and what is said of it, one after the other."""
    return listed([f"{name} {said}" for name, said in values.items()])

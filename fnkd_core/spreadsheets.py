"""Tables that leave as CSV: no cell is one that a spreadsheet would run."""

from __future__ import annotations

import contextlib
import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

_RUN = re.compile(r"[\t\r\n]|['\s]*[=+\-@＝＋－＠]")


def is_run(text: str) -> bool:
    """Whether a spreadsheet might take the text for a formula: it begins with = + - @ or a tab, and is no number."""
    with contextlib.suppress(ValueError):
        float(text)
        return False
    return _RUN.match(text) is not None


def marked(cell: Any, mark: str = "'") -> Any:
    """The cell, with a mark in front where a spreadsheet would run it. What is no text is left as it is."""
    return f"{mark}{cell}" if isinstance(cell, str) and is_run(cell) else cell


def unmarked(cell: str, mark: str = "'") -> str:
    """What `marked` was given."""
    rest = cell.removeprefix(mark)
    return rest if is_run(rest) else cell


def inert(table: pd.DataFrame, mark: str = "'") -> pd.DataFrame:
    """The table with all its texts `marked`: cells, names of columns and of rows."""
    with_cells = table.copy()
    for i, kind in enumerate(table.dtypes):
        if kind.kind == "O" or kind.name == "category":
            with_cells.isetitem(i, table.iloc[:, i].astype(object).map(lambda cell: marked(cell, mark)))
    return with_cells.rename(index=lambda name: marked(name, mark), columns=lambda name: marked(name, mark))


def csv_of(table: pd.DataFrame) -> str:
    """The table as CSV without the names of its rows, for a spreadsheet of anybody."""
    return inert(table).to_csv(index=False, lineterminator="\r\n")  # as RFC 4180 has it; a lone \r is then quoted

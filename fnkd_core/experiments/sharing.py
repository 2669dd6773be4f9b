"""Which runs of a comparison ask their teacher once for all of them. No torch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from fnkd_core.experiments.plan import Cell
from fnkd_core.kd.methods import METHODS
from fnkd_core.training.planned import store_of
from fnkd_core.training.resolve import Memo, look_up

MOST_BYTES = 4 * 2**30
"""What a teacher's outputs on all views of a comparison may take on the disk without anybody having asked for it."""


def asking_once(cells: Sequence[Cell]) -> list[Cell]:
    """The cells, with the teacher's outputs kept where two or more of them see the same views of one teacher.

    As many views are kept as there are epochs, so that nothing is seen that a live teacher would not be asked of: it
    costs no accuracy, and each view is paid for once. Cells whose setting is varied, whose teacher is trained first, or
    whose outputs would take more than `MOST_BYTES`, stay as they are.
    """
    memo, places = Memo(), dict[int, list[Path]]()
    kept = [_kept(cell) for cell in cells]
    for i, cell in enumerate(kept):
        if cell is None:
            continue
        resolved = look_up(cell.config, memo)
        stores = [store_of(resolved, teacher=teacher) for teacher in resolved.teachers]
        if sum(store.num_bytes(resolved.views) for store in stores) <= MOST_BYTES:
            places[i] = [store.path for store in stores]
    shared = Counter(path for paths in places.values() for path in set(paths))
    return [
        kept[i] or cell if i in places and any(shared[path] > 1 for path in places[i]) else cell
        for i, cell in enumerate(cells)
    ]


def _kept(cell: Cell) -> Cell | None:
    """The cell with its teacher's outputs kept, where that can be."""
    config = cell.config
    if not METHODS[config.method].needs_teacher or "teacher_outputs" in cell.varied:
        return None
    if config.teacher is None or config.teacher.startswith("@"):
        return None
    return replace(cell, config=replace(config, teacher_outputs="cached"))

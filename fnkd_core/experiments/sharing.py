"""Which runs of a comparison ask their teacher once for all of them. No torch."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from fnkd_core.experiments.plan import Cell
from fnkd_core.identity import digest
from fnkd_core.kd.methods import METHODS
from fnkd_core.training.config import RunConfig
from fnkd_core.training.estimate import step_settings
from fnkd_core.training.planned import Asking, store_of, to_ask
from fnkd_core.training.resolve import Memo, Resolved, look_up

MOST_BYTES = 4 * 2**30
"""What a teacher's outputs on all views of a comparison may take on the disk without anybody having asked for it."""


def asking_once(cells: Sequence[Cell]) -> list[Cell]:
    """The cells, with the teacher's outputs kept where two or more of them see the same views of one teacher.

    As many views are kept as there are epochs, so that nothing is seen that a live teacher would not be asked of: it
    costs no accuracy, and each view is paid for once. Cells whose setting is varied, or whose teacher is trained first,
    stay as they are, and those with whose outputs all of them would take more than `MOST_BYTES`.
    """
    memo, places, sizes = Memo(), dict[int, list[Path]](), dict[Path, int]()
    kept = [_kept(cell) for cell in cells]
    for i, cell in enumerate(kept):
        if cell is None:
            continue
        resolved = look_up(cell.config, memo)
        stores = [store_of(resolved, teacher=teacher) for teacher in resolved.teachers]
        places[i] = [store.path for store in stores]
        sizes |= {store.path: store.num_bytes(resolved.views) for store in stores}
    shared = Counter(path for paths in places.values() for path in set(paths))
    taken, found = set[Path](), list(cells)
    for i, paths in places.items():
        there = taken | set(paths)
        if any(shared[path] > 1 for path in paths) and sum(sizes[path] for path in there) <= MOST_BYTES:
            taken, found[i] = there, kept[i] or cells[i]
    return found


def to_be_asked(cells: Sequence[Cell]) -> Asking | None:
    """What teachers are asked of before the first step of these cells' runs; None where all are asked at every step.

    Of a teacher that is trained first nothing is known yet.
    """
    memo = Memo()
    return to_ask(look_up(cell.config, memo) for cell in cells if cell.taught_by is None)


def standing_for(cells: Sequence[Cell]) -> tuple[Resolved | None, bool]:
    """Of these cells' runs the one that is timed for all of them, and whether of several none takes longer than it.

    None where one waits for its teacher, of whose steps nothing is known yet. It is one with a teacher, asked once for
    all of them if any is, and of those the one with the most epochs and images. Whether another takes longer is open
    where they differ in anything else that a step's time depends on.
    """
    if not cells or any(cell.taught_by is not None for cell in cells):
        return None, False
    configs = [cell.config for cell in cells]
    costs = [(_asks(one), one.epochs, math.inf if one.per_class is None else one.per_class) for one in configs]
    dearest = max(range(len(costs)), key=costs.__getitem__)
    above_all = all(
        max(column) == value for column, value in zip(zip(*costs, strict=True), costs[dearest], strict=True)
    )
    alike = len({digest(step_settings(config, "method", "teacher_outputs")) for config in configs}) == 1
    asking = {config.teacher_outputs for config in configs if METHODS[config.method].needs_teacher}
    return look_up(configs[dearest]), len(cells) > 1 and above_all and alike and len(asking) < 2


def _asks(config: RunConfig) -> int:
    """How a teacher is asked, in the order in which a run stands for others."""
    return (config.teacher_outputs == "cached") + METHODS[config.method].needs_teacher


def _kept(cell: Cell) -> Cell | None:
    """The cell with its teacher's outputs kept, where that can be."""
    config = cell.config
    if not METHODS[config.method].needs_teacher or "teacher_outputs" in cell.varied:
        return None
    if config.teacher is None or cell.taught_by is not None:
        return None
    return replace(cell, config=replace(config, teacher_outputs="cached"))

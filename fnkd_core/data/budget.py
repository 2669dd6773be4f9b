"""What pictures may take in memory while they are decoded, by all workers together. No torch."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from typing import Any

UNIT_BYTES, UNITS = 16 * 2**20, 64
PIXEL_BYTES = 8
"""Of a picture while it is decoded: four as it is stored, four as it is converted."""


class Budget:
    """What pictures may take in memory while they are decoded, by all that share it together.

    context: `threading`, or one of multiprocessing for worker processes. A picture larger than the whole is decoded
    when no other is.
    """

    def __init__(self, context: Any = threading) -> None:
        self._turn, self._units = context.Lock(), context.Semaphore(UNITS)

    @contextlib.contextmanager
    def of(self, size: tuple[int, int]) -> Iterator[None]:
        """Hold what a picture of this width and height takes."""
        count = min(UNITS, 1 + size[0] * size[1] * PIXEL_BYTES // UNIT_BYTES)
        with self._turn:  # else two could each hold a part of what they need, for ever
            for _ in range(count):
                self._units.acquire()
        try:
            yield
        finally:
            for _ in range(count):
                self._units.release()


_budget = Budget()


def share_of(size: tuple[int, int]) -> contextlib.AbstractContextManager[None]:
    """Hold what a picture of this width and height takes of this process's budget."""
    return _budget.of(size)


def share(budget: Budget) -> None:
    """From now on this process, a worker, decodes within the budget of those that started it."""
    global _budget
    _budget = budget

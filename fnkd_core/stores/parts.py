"""Which samples are looked at where there are too many to look at all."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def part(count: int, most: int) -> NDArray[np.int64] | None:
    """Sorted numbers of `most` of `count` samples, the same ones each time; None where that is all of them.

    (most,) where it is not None.
    """
    if count <= most:
        return None
    return np.sort(np.random.default_rng(0).choice(count, most, replace=False))

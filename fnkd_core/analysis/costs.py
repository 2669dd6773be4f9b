"""What wkd pays for mass of a class on another one, for people to see: the numbers are those of `kd.transport`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from fnkd_core.errors import require

if TYPE_CHECKING:
    from fnkd_core.checkpoints.library import Entry


def head_costs(entry: Entry, sharpness: float) -> NDArray[np.float64]:
    """(K, K) by the angles between the rows of a checkpoint's head. `UserError` where it cannot be read."""
    from fnkd_core.checkpoints.io import load_checkpoint  # torch, only when it is looked at
    from fnkd_core.kd.transport import costs_of, head_distances

    weight = load_checkpoint(entry.path)[0].head.weight
    costs: NDArray[np.float64] = costs_of(head_distances(weight), sharpness).double().numpy()
    return costs


def group_costs(similar: Sequence[Sequence[int]], sharpness: float) -> NDArray[np.float64]:
    """(K, K) by groups of similar classes."""
    import torch

    from fnkd_core.kd.transport import costs_of, group_distances

    distances = group_distances(tuple(map(tuple, similar)), torch.zeros(1, dtype=torch.float64))
    costs: NDArray[np.float64] = costs_of(distances, sharpness).numpy()
    return costs


def nearest(costs: NDArray[np.float64], label: int, count: int) -> list[int]:
    """The classes on which mass of this one costs least, the cheapest first; without itself."""
    require(0 <= label < len(costs), f"label must be 0 to {len(costs) - 1}, got {label}.")
    return [k for k in np.argsort(costs[label], kind="stable").tolist() if k != label][:count]

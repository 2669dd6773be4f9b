"""What wkd pays for mass of a class on another one, for people to see: the numbers are those of `kd.transport`. Of one
class at a time, and without torch, since a page shows no more.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from fnkd_core.errors import UserError, require
from fnkd_core.kd.transport import OTHER_GROUP, SAME_GROUP

if TYPE_CHECKING:
    from fnkd_core.checkpoints.library import Entry


def head_rows(entry: Entry) -> NDArray[np.float64]:
    """(K, D) the directions of the rows of a checkpoint's head, each of length 1, or 0 where a row is 0.

    `UserError` where it cannot be read.
    """
    weights = _only_matrix(entry)
    if weights is None:
        from fnkd_core.checkpoints.io import load_checkpoint  # torch, where only the network says what the head is

        weights = load_checkpoint(entry.path)[0].head.weight.detach().double().numpy()
    lengths = np.linalg.norm(weights, axis=1, keepdims=True)
    return np.asarray(weights / np.maximum(lengths, 1e-12))


def _only_matrix(entry: Entry) -> NDArray[np.float64] | None:
    """(K, D) the one matrix of the file that has a row for each class; None where several could be the head's."""
    from safetensors import SafetensorError, safe_open

    assert entry.card is not None
    entry.require_its_file()
    try:
        with safe_open(entry.path, framework="numpy") as file:
            shapes = {name: file.get_slice(name).get_shape() for name in file.keys()}  # noqa: SIM118  # it is no mapping
            found = [name for name, shape in shapes.items() if len(shape) == 2 and shape[0] == len(entry.card.classes)]
            weights = np.asarray(file.get_tensor(found[0]), np.float64) if len(found) == 1 else None
    except (SafetensorError, OSError) as error:
        raise UserError(
            f"{entry.path.name} is not a whole safetensors file ({str(error)[:100]}); copy it again."
        ) from None
    except TypeError:  # of a kind of numbers that NumPy has not
        return None
    return weights


def head_costs(rows: NDArray[np.float64], label: int, sharpness: float) -> NDArray[np.float64]:
    """(K,) by the angles between the label's row and the others. rows: (K, D) of `head_rows`."""
    _require_label(label, len(rows))
    distances = np.maximum(1 - rows @ rows[label], 0.0)
    distances[label] = 0.0
    return _costs(distances, sharpness)


def group_costs(members: Collection[int], label: int, num_classes: int, sharpness: float) -> NDArray[np.float64]:
    """(K,) by groups of similar classes. members: the classes that are similar to the label."""
    _require_label(label, num_classes)
    distances = np.full(num_classes, OTHER_GROUP)
    distances[list(members)] = SAME_GROUP
    distances[label] = 0.0
    return _costs(distances, sharpness)


def nearest(costs: NDArray[np.float64], label: int, count: int) -> list[int]:
    """The classes on which mass of this one costs least, the cheapest first; without itself. costs: (K,) of it."""
    return [k for k in np.argsort(costs, kind="stable").tolist() if k != label][:count]


def _costs(distances: NDArray[np.float64], sharpness: float) -> NDArray[np.float64]:
    return np.asarray(1 - np.exp(-sharpness * distances))


def _require_label(label: int, num_classes: int) -> None:
    require(0 <= label < num_classes, f"label must be 0 to {num_classes - 1}, got {label}.")

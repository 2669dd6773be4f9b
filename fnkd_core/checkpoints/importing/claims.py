"""What a file claims of its network, and whether what was measured of it can be believed."""

from __future__ import annotations

import json
import math
import re
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fnkd_core.checkpoints.card import Finding
from fnkd_core.checkpoints.importing.formats import shown
from fnkd_core.checkpoints.importing.wrappers import class_names

CLAIMS = ("best_acc", "best_acc1", "best_prec1", "best_top1", "accuracy", "acc", "test_acc", "best_accuracy", "acc1")
"""Under these names training scripts keep the accuracy they reached."""
ERRORS = 3
"""Standard errors by which two accuracies may differ by chance."""
MAX_CONFIG = 4 << 20
_PLACEHOLDER = re.compile(r"(LABEL|class)_?\d+", re.I)


def claimed(facts: Mapping[str, Any]) -> float | None:
    """The accuracy that the file says it reached, as a fraction; None where it says nothing."""
    for key in CLAIMS:
        value = facts.get(key)
        if isinstance(value, int | float) and 0 < value <= 100:
            return value / 100 if value > 1 else float(value)
    return None


def missed(claim: float, accuracy: float, num_images: int, split: str) -> Finding | None:
    """The warning that a claimed accuracy was not reached; None where the difference may be chance.

    That is up to `ERRORS` standard errors of a share of so many images, and one image.
    """
    between = (claim + accuracy) / 2
    if claim - accuracy <= ERRORS * math.sqrt(between * (1 - between) / num_images) + 1 / num_images:
        return None
    return Finding(
        "warning",
        f"The file claims an accuracy of {claim:.3f}, and {accuracy:.3f} is what it reaches on {num_images:,} labelled "
        f"images of the {split} split: normalisation, classes or data may be others than it was trained with.",
    )


def near_chance(accuracy: float, labels: NDArray[np.int64]) -> bool:
    """Whether always saying the commonest class would do about as well. labels: (N,) of the images measured on."""
    chance = float(np.bincount(labels).max()) / len(labels)
    by_luck = chance + ERRORS * math.sqrt(chance * (1 - chance) / len(labels))
    return accuracy <= max(by_luck, min(2 * chance, chance + 0.1 * (1 - chance)))


def classes_beside(source: Path) -> tuple[str, tuple[str, ...]]:
    """Class names in the `config.json` beside a file, as Hugging Face and timm write it: where they stand, and they.

    Placeholders such as LABEL_0 are none.
    """
    path = source.with_name("config.json")
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode) or status.st_size > MAX_CONFIG:
            return "", ()
        config = json.loads(path.read_text())
    except (OSError, ValueError, RecursionError):
        return "", ()
    inner = config.get("pretrained_cfg") if isinstance(config, dict) else None
    levels = tuple(level for level in (inner, config) if isinstance(level, dict))
    for key, names in class_names(levels):
        if not all(_PLACEHOLDER.fullmatch(name) for name in names):
            return f"{key} of {shown(path.name)}", tuple(names)
    return "", ()

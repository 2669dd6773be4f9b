"""A first comparison that needs nothing of the user's: KD and FN from one teacher. No torch.

On CIFAR-10 the teacher is trained first, on a tenth of the images; of digits there is one that comes along.
"""

from __future__ import annotations

from typing import Any

from fnkd_core.data import folders
from fnkd_core.data.download.addresses import PUBLISHED, is_here
from fnkd_core.experiments.plan import Cell, plan
from fnkd_core.jobs.summary import summaries

PHOTOGRAPHS, DIGITS = "cifar10", "digits"
NAME = "demo"
"""What its comparison is called."""
SETTINGS: dict[str, dict[str, Any]] = {
    PHOTOGRAPHS: {"epochs": 8, "per_class": 500, "batch_size": 64, "schedule": "onecycle"},
    DIGITS: {"epochs": 8, "teacher": "digits-teacher"},
}
TEACHERS = {PHOTOGRAPHS: ("cifar_resnet20",), DIGITS: ()}


def demo_cells(dataset: str) -> list[Cell]:
    """The runs of the demo on CIFAR-10 or on digits, those of teachers first. `UserError` as in `plan`."""
    base = {"dataset": dataset, "student": "cifar_resnet8"} | SETTINGS[dataset]
    return plan(base, ["kd", "fn"], [0], teachers=TEACHERS[dataset])


def has_nothing_own() -> bool:
    """Whether nobody has trained, added or fetched anything here yet."""
    return not summaries() and not folders() and not any(is_here(name) for name in PUBLISHED)

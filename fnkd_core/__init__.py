"""FNKD Lab: feature normalized knowledge distillation, as a package and a dashboard.

`import fnkd_core as fnkd` offers the names below, each imported when it is first used; `docs/python.md` teaches them.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fnkd_core.checkpoints.io import load_checkpoint
    from fnkd_core.checkpoints.library import find_checkpoint
    from fnkd_core.data import dataset_info, load_split
    from fnkd_core.errors import UserError
    from fnkd_core.kd.losses import Objective, SoftTerm, loss_terms
    from fnkd_core.kd.objective import complete, objective
    from fnkd_core.kd.outputs import Outputs
    from fnkd_core.kd.temperature import FeatureNorm
    from fnkd_core.models.architecture import Architecture
    from fnkd_core.models.classifier import Classifier
    from fnkd_core.models.inference import predict
    from fnkd_core.stores.extract import extracted
    from fnkd_core.training.config import RunConfig
    from fnkd_core.training.loop import train

__version__ = "0.1.0"

EXPORTS = {
    "Architecture": "models.architecture",
    "Classifier": "models.classifier",
    "FeatureNorm": "kd.temperature",
    "Objective": "kd.losses",
    "Outputs": "kd.outputs",
    "RunConfig": "training.config",
    "SoftTerm": "kd.losses",
    "UserError": "errors",
    "complete": "kd.objective",
    "dataset_info": "data",
    "extracted": "stores.extract",
    "find_checkpoint": "checkpoints.library",
    "load_checkpoint": "checkpoints.io",
    "load_split": "data",
    "loss_terms": "kd.losses",
    "objective": "kd.objective",
    "predict": "models.inference",
    "train": "training.loop",
}
"""Name -> the module it is imported from when it is first asked for."""

__all__ = [
    "Architecture", "Classifier", "FeatureNorm", "Objective", "Outputs", "RunConfig", "SoftTerm", "UserError",
    "complete", "dataset_info", "extracted", "find_checkpoint", "load_checkpoint", "load_split", "loss_terms",
    "objective", "predict", "train",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name not in EXPORTS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{EXPORTS[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *EXPORTS})

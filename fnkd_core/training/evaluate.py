"""What a classifier reaches on a split."""

from __future__ import annotations

import torch
from torch import Tensor

from fnkd_core.data import Samples
from fnkd_core.data.batches import batches
from fnkd_core.kd.statistics import expected_calibration_error, sample_statistics
from fnkd_core.models.classifier import Classifier
from fnkd_core.models.inference import predict

EVALUATED = 512
"""Images at a time where nothing is learnt from them."""


def evaluate(
    classifier: Classifier, samples: Samples, bfloat16: bool = False, teacher: Tensor | None = None
) -> dict[str, float]:
    """accuracy, nll (nats), ece and norm (mean ||f||) of a classifier on a split.

    teacher: (N,) another model's predictions; with them also agreement, the share of equal predictions.
    """
    columns: dict[str, list[Tensor]] = {"correct": [], "nll": [], "confidence": [], "norm": [], "prediction": []}
    start = 0
    for outputs in predict(classifier, batches(samples.images, EVALUATED), bfloat16=bfloat16):
        labels = samples.labels[start : start + len(outputs)].to(outputs.logits.device)
        statistics = sample_statistics(outputs, labels)
        for name, parts in columns.items():
            parts.append(statistics[name].cpu())
        start += len(outputs)
    joined = {name: torch.cat(parts) for name, parts in columns.items()}
    found = {
        "accuracy": float(joined["correct"].double().mean()),
        "nll": float(joined["nll"].double().mean()),
        "ece": expected_calibration_error(joined["confidence"], joined["correct"]),
        "norm": float(joined["norm"].double().mean()),
    }
    if teacher is not None:
        found["agreement"] = float((joined["prediction"] == teacher).double().mean())
    return found

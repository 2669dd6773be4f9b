"""What a classifier reaches on a split, in float32."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from fnkd_core.data import Samples
from fnkd_core.data.batches import batches
from fnkd_core.errors import require
from fnkd_core.kd.statistics import expected_calibration_error, sample_statistics
from fnkd_core.models.classifier import Classifier
from fnkd_core.models.inference import predict
from fnkd_core.training.distributed import ALONE, Group

EVALUATED = 512
"""Images at a time where nothing is learnt from them."""


def evaluate(
    classifier: Classifier, samples: Samples, teacher: Tensor | None = None, group: Group = ALONE
) -> dict[str, float | None]:
    """accuracy, nll (nats), ece and norm (mean ||f||) of a classifier on a split; see `evaluate_with_norms`."""
    return evaluate_with_norms(classifier, samples, teacher, group)[0]


def evaluate_with_norms(
    classifier: Classifier, samples: Samples, teacher: Tensor | None = None, group: Group = ALONE
) -> tuple[dict[str, float | None], Tensor]:
    """accuracy, nll (nats), ece and norm (mean ||f||) of a classifier on a split, and (N,) ||f||, on the CPU.

    Each process of the group evaluates its part; all get the whole.

    teacher: (N, M) the predictions of M other models; with them also agreement, the share of equal predictions, in the
    mean over the models, else None.
    `UserError` where a number is not finite: the student has diverged.
    """
    columns: dict[str, list[Tensor]] = {"correct": [], "nll": [], "confidence": [], "norm": [], "prediction": []}
    mine = group.part(torch.arange(len(samples)))
    start = int(mine[0]) if len(mine) else 0
    images = samples.images[start : start + len(mine)]
    for outputs in predict(classifier, batches(images, EVALUATED)):
        labels = samples.labels[start : start + len(outputs)].to(outputs.logits.device)
        statistics = sample_statistics(outputs, labels)
        for name, parts in columns.items():
            parts.append(statistics[name])
        start += len(outputs)
    joined = {name: group.joined(torch.cat(parts) if parts else torch.zeros(0)) for name, parts in columns.items()}
    found = {
        "accuracy": float(joined["correct"].double().mean()),
        "nll": float(joined["nll"].double().mean()),
        "ece": expected_calibration_error(joined["confidence"], joined["correct"].bool()),
        "norm": float(joined["norm"].double().mean()),
    }
    wrong = {name: value for name, value in found.items() if not math.isfinite(value)}
    require(
        not wrong,
        f"On the {samples.split} split the student's {' and '.join(f'{k} is {v}' for k, v in wrong.items())}: it has "
        "diverged; lower lr, or the weight of the soft term.",
    )
    agreement = None if teacher is None else float((joined["prediction"][:, None] == teacher).double().mean())
    return found | {"agreement": agreement}, joined["norm"]

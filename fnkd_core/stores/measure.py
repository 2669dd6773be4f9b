"""What a model says of a split, summed up: a row a sample, and the numbers that pages and `fnkd eval` show."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from fnkd_core.checkpoints.fits import read_by
from fnkd_core.checkpoints.importing.matching import match_by_images
from fnkd_core.checkpoints.io import load_checkpoint
from fnkd_core.checkpoints.library import Entry
from fnkd_core.data import DatasetInfo, Samples, load_split
from fnkd_core.data.batches import batches
from fnkd_core.errors import require
from fnkd_core.kd.outputs import Outputs
from fnkd_core.kd.statistics import expected_calibration_error, sample_statistics
from fnkd_core.models.classifier import Classifier, head_error, num_parameters
from fnkd_core.models.inference import best_device, predict

DEAD = 0.01
"""A trained output is sure of something somewhere; one that never passes this probability is dead."""


COLUMNS = np.dtype(
    [("prediction", np.int64), ("correct", np.bool_)]
    + [(name, np.float32) for name in ("norm", "confidence", "margin", "entropy", "nll", "p_label")]
    + [(name, np.float32) for name in ("max_logit", "logit_std")]
)
"""What `sample_statistics` says of a sample, as a row."""


def columns(outputs: Outputs, labels: Tensor) -> NDArray[Any]:
    """(N,) `COLUMNS` of these outputs. labels: (N,) int64."""
    rows = np.empty(len(outputs), COLUMNS)
    for name, values in sample_statistics(outputs, labels.to(outputs.logits.device)).items():
        rows[name] = values.cpu().numpy()
    return rows


def table_of(samples: Samples, rows: NDArray[Any]) -> pd.DataFrame:
    """A row per sample: id, key, label, its statistics and the decile of its norm. rows: (N,) `COLUMNS`.

    `UserError` where the model gave outputs that are not finite.
    """
    strange = int((~np.isfinite(rows["norm"]) | ~np.isfinite(rows["nll"])).sum())
    require(
        not strange,
        f"Outputs are not finite on {strange:,} of {len(rows):,} images, so that nothing can be measured; choose "
        "another checkpoint, or import it again.",
    )
    table = pd.DataFrame(
        {"id": np.arange(len(rows)), "key": samples.keys, "label": samples.labels.numpy()}
        | {name: rows[name] for name in COLUMNS.names or ()}
    )
    rank = table["norm"].rank(method="first").to_numpy()
    return table.assign(decile=((rank - 1) * 10 // len(table) + 1).astype(np.int8))


def highest(logits: Tensor) -> Tensor:
    """(K,) the highest probability of each output over these samples, on the processor. logits: (N, K)."""
    return logits.softmax(1).amax(0).cpu()


def summary(
    table: pd.DataFrame, samples: Samples, entry: Entry, classifier: Classifier, sure: Tensor, samples_per_s: float
) -> dict[str, Any]:
    """What pages and commands show of a split's outputs, as JSON holds it. sure: (K,) `highest` of all."""
    assert entry.card is not None
    device = next(classifier.parameters()).device
    first = next(batches(samples.images[:64], 64)).to(device)
    return _sums(table, samples.info, samples.split) | {
        "checkpoint": {
            "name": entry.name,
            "sha256": entry.card.sha256,
            "identity": entry.identity,
            "architecture": dict(entry.card.architecture),
            "method": entry.card.method,
            "num_parameters": num_parameters(classifier),
        },
        "num_classes": classifier.num_classes,
        "num_features": classifier.num_features,
        "samples_per_s": samples_per_s,
        "head_error": head_error(classifier, first),
        "dead_outputs": [k for k, p in enumerate(sure.tolist()) if p < DEAD],
    }


def measure(entry: Entry, info: DatasetInfo, split: str) -> Iterator[tuple[int, int] | Mapping[str, Any]]:
    """Evaluate a checkpoint on a split, keeping nothing: (samples done, in all) as it goes, the summary last.

    `UserError` as in `extract`.
    """
    read = read_by(entry, info)
    classifier, _ = load_checkpoint(entry.path)
    samples = load_split(read, split)
    classifier.to(best_device())
    begun, rows, sure = time.monotonic(), np.empty(len(samples), COLUMNS), torch.zeros(classifier.num_classes)
    done = 0
    for outputs in predict(classifier, batches(samples.images, batch_size(read))):
        part = slice(done, done + len(outputs))
        rows[part] = columns(outputs, samples.labels[part])
        sure, done = torch.maximum(sure, highest(outputs.logits)), part.stop
        yield done, len(samples)
    rate = done / max(time.monotonic() - begun, 1e-9)
    yield summary(table_of(samples, rows), samples, entry, classifier, sure, rate)


def batch_size(info: DatasetInfo) -> int:
    """How many images of this size go through a network at once."""
    return 256 if max(info.image[1:]) <= 64 else 64


def _sums(table: pd.DataFrame, info: DatasetInfo, split: str) -> dict[str, Any]:
    norm = table["norm"].to_numpy(np.float64)
    confidence, correct = torch.tensor(table["confidence"].to_numpy()), torch.tensor(table["correct"].to_numpy())
    by_decile = table.groupby("decile")["correct"].mean()
    k = len(info.classes)
    matching = match_by_images(table["prediction"].to_numpy(), table["label"].to_numpy(), k, k)
    return {
        "dataset": info.name,
        "label_space": info.label_space,
        "split": split,
        "root": info.root,
        "identity": info.identity(split),
        "classes": list(info.classes),
        "image": list(info.image),
        "num_samples": len(table),
        "accuracy": float(table["correct"].mean()),
        "matched": {"accuracy": matching.matched, "moved": matching.moved},
        "nll": float(table["nll"].mean()),
        "ece": expected_calibration_error(confidence, correct),
        "norm": {
            "mean": float(norm.mean()),
            "sd": float(norm.std()),
            "min": float(norm.min()),
            "max": float(norm.max()),
            "deciles": [float(x) for x in np.quantile(norm, np.linspace(0, 1, 11))],
        },
        # A split of fewer than ten samples has no sample in some deciles.
        "accuracy_by_norm_decile": [float(by_decile[d]) if d in by_decile else None for d in range(1, 11)],
        "created": datetime.now(UTC).isoformat(timespec="microseconds"),
    }

"""What a model says of a split, summed up: a row a sample, and the numbers that pages and `fnkd eval` show."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pandas as pd
import torch

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
from fnkd_core.models.inference import predict

DEAD = 0.01
"""A trained output is sure of something somewhere; one that never passes this probability is dead."""


class Measurement:
    """Outputs of a split as they come, in the order of its samples."""

    def __init__(self, samples: Samples) -> None:
        self.samples = samples
        self.done = 0
        self._begun, self._seconds = time.monotonic(), 0.0
        self._columns: dict[str, list[np.ndarray]] = {}
        self._highest: torch.Tensor | None = None

    def add(self, outputs: Outputs) -> slice:
        """Take in the next outputs; the rows that they are."""
        rows = slice(self.done, self.done + len(outputs))
        for name, values in sample_statistics(outputs, self.samples.labels[rows].to(outputs.logits.device)).items():
            self._columns.setdefault(name, []).append(values.cpu().numpy())
        highest = outputs.logits.softmax(1).amax(0).cpu()
        self._highest = highest if self._highest is None else torch.maximum(self._highest, highest)
        self.done, self._seconds = rows.stop, time.monotonic() - self._begun
        return rows

    def table(self) -> pd.DataFrame:
        """A row per sample: id, key, label, its statistics and the decile of its norm.

        `UserError` where the model gave outputs that are not finite.
        """
        columns = {name: np.concatenate(parts) for name, parts in self._columns.items()}
        strange = int((~np.isfinite(columns["norm"]) | ~np.isfinite(columns["nll"])).sum())
        require(
            not strange,
            f"Outputs are not finite on {strange:,} of {self.done:,} images, so that nothing can be measured; choose "
            "another checkpoint, or import it again.",
        )
        table = pd.DataFrame(
            {"id": np.arange(self.done), "key": self.samples.keys, "label": self.samples.labels.numpy()} | columns
        )
        rank = table["norm"].rank(method="first").to_numpy()
        return table.assign(decile=((rank - 1) * 10 // len(table) + 1).astype(np.int8))

    def summary(self, table: pd.DataFrame, entry: Entry, classifier: Classifier) -> dict[str, Any]:
        """What pages and commands show of it, as JSON holds it."""
        assert entry.card is not None and self._highest is not None
        device = next(classifier.parameters()).device
        first = next(batches(self.samples.images[:64], 64)).to(device)
        return _sums(table, self.samples.info, self.samples.split) | {
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
            "samples_per_s": self.done / max(self._seconds, 1e-9),
            "head_error": head_error(classifier, first),
            "dead_outputs": [k for k, p in enumerate(self._highest.tolist()) if p < DEAD],
        }


def measure(entry: Entry, info: DatasetInfo, split: str) -> Iterator[tuple[int, int] | Mapping[str, Any]]:
    """Evaluate a checkpoint on a split, keeping nothing: (samples done, in all) as it goes, the summary last.

    `UserError` as in `extract`.
    """
    read = read_by(entry, info)
    classifier, _ = load_checkpoint(entry.path)
    samples = load_split(read, split)
    classifier.to("cuda" if torch.cuda.is_available() else "cpu")
    measurement = Measurement(samples)
    for outputs in predict(classifier, batches(samples.images, 256)):
        measurement.add(outputs)
        yield measurement.done, len(samples)
    yield measurement.summary(measurement.table(), entry, classifier)


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

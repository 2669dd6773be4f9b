"""Extraction: a checkpoint's outputs on a split, streamed into a store."""

from __future__ import annotations

import io
import os
import shutil
import tempfile
import time
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from PIL import Image
from torch import Tensor

from fnkd_core.checkpoints.fits import misfit
from fnkd_core.checkpoints.importing.matching import match_by_images
from fnkd_core.checkpoints.io import load_checkpoint
from fnkd_core.checkpoints.library import Entry
from fnkd_core.data import DatasetInfo, load_split
from fnkd_core.data.batches import batches
from fnkd_core.errors import UserError
from fnkd_core.files import write_json
from fnkd_core.kd.statistics import expected_calibration_error, sample_statistics
from fnkd_core.models.classifier import head_error, num_parameters
from fnkd_core.models.inference import bfloat16_pays, predict
from fnkd_core.stores.curves import GRID, temperature_curves
from fnkd_core.stores.store import Store, open_store, store_path

THUMBNAIL = 96
"""Longest side of a thumbnail in pixels; smaller images are kept as they are, without loss."""


def extract(
    entry: Entry, info: DatasetInfo, split: str, *, batch_size: int = 256, again: bool = False
) -> Iterator[tuple[int, int]]:
    """Make the store of a checkpoint on a split; yields (samples done, samples in all) as it goes.

    The folder appears whole at the end. Nothing is done where it exists, unless `again`. `UserError` where
    the checkpoint is broken or its label space, channels or image size do not fit the data.
    """
    if entry.card is None:
        raise UserError(entry.problem or f"{entry.name} has no card.")
    if not again and open_store(entry, info, split) is not None:
        return
    problem = misfit(entry.card, entry.card.read_as(info))
    if problem:
        raise UserError(problem)
    classifier, card = load_checkpoint(entry.path)
    info = card.read_as(info)
    samples = load_split(info, split)
    final = store_path(entry, info, split)
    final.parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(dir=final.parent, prefix=f".{final.name}."))
    try:
        total, num_classes = len(samples.labels), classifier.num_classes
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        classifier.to(device)
        # A wide open file each instead of one array in memory: the split may be larger than that.
        features = np.lib.format.open_memmap(
            folder / "features.npy", "w+", np.float16, (total, classifier.num_features)
        )
        logits = np.lib.format.open_memmap(folder / "logits.npy", "w+", np.float32, (total, num_classes))
        columns: dict[str, list[np.ndarray]] = {}
        highest = torch.zeros(num_classes)
        bias, done, seconds = None, 0, 0.0
        # bfloat16 would move small norms in the third digit; what a store says is measured in float32,
        # unless images are so large that waiting is worse.
        bfloat16 = bfloat16_pays(device, info.image[1:]) and total * info.image[1] * info.image[2] > 2**28
        begun = time.monotonic()
        thumbnails = _Thumbnails(folder)
        seen = thumbnails.copied(batches(samples.images, batch_size))
        for outputs in predict(classifier, seen, bfloat16=bfloat16):
            labels = samples.labels[done : done + len(outputs)].to(outputs.logits.device)
            rows = slice(done, done + len(outputs))
            features[rows] = outputs.features.float().clamp(-65504, 65504).cpu().numpy()
            logits[rows] = outputs.logits.float().cpu().numpy()
            highest = torch.maximum(highest, outputs.logits.float().softmax(1).amax(0).cpu())
            for name, values in sample_statistics(outputs, labels).items():
                columns.setdefault(name, []).append(values.cpu().numpy())
            bias = outputs.bias
            done += len(outputs)
            seconds = time.monotonic() - begun
            yield done, total
        table = _table(samples.keys, samples.labels.numpy(), {k: np.concatenate(v) for k, v in columns.items()})
        table.to_parquet(folder / "samples.parquet", compression="zstd", index=False)
        np.save(folder / "order.npy", np.argsort(table["norm"].to_numpy(), kind="stable"))
        b = None if bias is None else bias.float().cpu().numpy()
        if b is not None:
            np.save(folder / "bias.npy", b)
        _write_curves(folder, logits, b)
        thumbnails.finish()
        manifest = _manifest(table, info, split) | {
            "checkpoint": {
                "name": entry.name,
                "sha256": card.sha256,
                "architecture": card.architecture,
                "method": card.method,
                "num_parameters": num_parameters(classifier),
            },
            "num_classes": num_classes,
            "num_features": classifier.num_features,
            "samples_per_s": total / max(seconds, 1e-9),
            "head_error": head_error(classifier, next(batches(samples.images[:64], 64)).to(device)),
            # A trained output is sure of something somewhere; one that never passes 1 % is dead.
            "dead_outputs": [k for k in range(num_classes) if float(highest[k]) < 0.01],
        }
        write_json(folder / "manifest.json", manifest)
        del features, logits
        if final.exists():
            shutil.rmtree(final)
        folder.chmod(0o755)
        os.replace(folder, final)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def extracted(entry: Entry, info: DatasetInfo, split: str) -> Store:
    """The store, made first where it is missing."""
    for _ in extract(entry, info, split):
        pass
    return Store(store_path(entry, info, split))


def _table(keys: list[str], labels: np.ndarray, columns: dict[str, np.ndarray]) -> pd.DataFrame:
    table = pd.DataFrame({"id": np.arange(len(labels)), "key": keys, "label": labels} | columns)
    rank = table["norm"].rank(method="first").to_numpy()
    return table.assign(decile=((rank - 1) * 10 // len(table) + 1).astype(np.int8))


def _manifest(table: pd.DataFrame, info: DatasetInfo, split: str) -> dict[str, Any]:
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
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _write_curves(folder: Path, logits: np.ndarray, bias: np.ndarray | None) -> None:
    arrays = {"grid": GRID}
    parts = np.array_split(np.arange(len(logits)), max(1, len(logits) // 4096))
    variants = {"": None} if bias is None or not bias.any() else {"": None, "released_": bias}
    for prefix, b in variants.items():
        curves = [temperature_curves(logits[part], b) for part in parts]
        arrays[f"{prefix}entropy"] = np.concatenate([c[0] for c in curves]).astype(np.float16)
        arrays[f"{prefix}top_probability"] = np.concatenate([c[1] for c in curves]).astype(np.float16)
    np.savez(folder / "curves.npz", **arrays)  # type: ignore[arg-type]


class _Thumbnails:
    """Thumbnails of images as they pass by: one file, and where each begins in it."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.offsets = folder, [0]

    def copied(self, images: Iterable[Tensor]) -> Iterator[Tensor]:
        """The same batches, each with its thumbnails written."""
        with (self.folder / "thumbnails.bin").open("wb") as file:
            for batch in images:
                for image in batch.numpy():
                    self.offsets.append(self.offsets[-1] + file.write(_thumbnail(image)))
                yield batch

    def finish(self) -> None:
        np.save(self.folder / "thumbnail_offsets.npy", np.array(self.offsets, np.int64))


def _thumbnail(image: np.ndarray) -> bytes:
    picture = Image.fromarray(image[0] if image.shape[0] == 1 else image.transpose(1, 2, 0))
    small = max(picture.size) <= THUMBNAIL
    if not small:
        picture.thumbnail((THUMBNAIL, THUMBNAIL))
    buffer = io.BytesIO()
    picture.save(buffer, "WEBP", lossless=small, quality=85, method=0 if small else 2)
    return buffer.getvalue()

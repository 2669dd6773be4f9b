"""Extraction: a checkpoint's outputs on a split, streamed into a store."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from fnkd_core.checkpoints.fits import read_by
from fnkd_core.checkpoints.io import load_checkpoint
from fnkd_core.checkpoints.library import Entry
from fnkd_core.data import DatasetInfo, dataset_info, load_split, look_again
from fnkd_core.data.batches import batches
from fnkd_core.errors import require, shortages_said
from fnkd_core.files import discard, making, write_json
from fnkd_core.locks import locked_if_free
from fnkd_core.models.inference import predict
from fnkd_core.stores.arrays import Rows, Writer, save_array
from fnkd_core.stores.curves import GRID, temperature_curves
from fnkd_core.stores.measure import Measurement
from fnkd_core.stores.store import Store, lock_of, open_store, store_path
from fnkd_core.stores.thumbnails import Thumbnails

POLL_S = 0.2


def extract(entry: Entry, info: DatasetInfo, split: str, *, batch_size: int = 256) -> Iterator[tuple[int, int]]:
    """Make the store of a checkpoint on a split; yields (samples done, samples in all) as it goes.

    The folder appears whole at the end, by one rename, and is owned while it is made: who asks for the same store
    meanwhile waits for it. Nothing is done where it exists. All outputs are computed in float32. `UserError` where the
    checkpoint is broken or its label space, channels or image size do not fit the data, the disk is full, or there is
    not enough memory; nothing is left of it then.
    """
    read = read_by(entry, info)
    final = store_path(entry, info, split)
    final.parent.mkdir(parents=True, exist_ok=True)
    while open_store(entry, info, split) is None:
        with locked_if_free(lock_of(final)) as mine:
            if mine:
                try:
                    if open_store(entry, info, split) is None:
                        yield from _make(entry, read, split, final, batch_size)
                finally:
                    lock_of(final).unlink(missing_ok=True)
                return
        yield 0, read.size(split)
        time.sleep(POLL_S)


def extracted(entry: Entry, info: DatasetInfo, split: str) -> Store:
    """The store, made first where it is missing."""
    for _ in extract(entry, info, split):
        pass
    return Store(store_path(entry, info, split), entry.name)


def _make(entry: Entry, info: DatasetInfo, split: str, final: Path, batch_size: int) -> Iterator[tuple[int, int]]:
    _require_unchanged(info, split)
    with shortages_said(final), making(final) as folder:
        classifier, _ = load_checkpoint(entry.path)
        samples = load_split(info, split)
        total = len(samples)
        classifier.to("cuda" if torch.cuda.is_available() else "cpu")
        measurement, thumbnails = Measurement(samples), Thumbnails(folder)
        with (
            Writer(folder / "features.npy", np.float16, (total, classifier.num_features)) as features,
            Writer(folder / "logits.npy", np.float32, (total, classifier.num_classes)) as logits,
        ):
            for outputs in predict(classifier, thumbnails.copied(batches(samples.images, batch_size))):
                measurement.add(outputs)
                features.add(outputs.features.float().clamp(-65504, 65504).cpu().numpy())
                logits.add(outputs.logits.float().cpu().numpy())
                yield measurement.done, total
        table = measurement.table()
        table.to_parquet(folder / "samples.parquet", compression="zstd", index=False, write_page_checksum=True)
        save_array(folder / "order.npy", np.argsort(table["norm"].to_numpy(), kind="stable"))
        bias = None if classifier.head.bias is None else classifier.head.bias.detach().float().cpu().numpy()
        if bias is not None:
            save_array(folder / "bias.npy", bias)
        _write_curves(folder, Rows(folder / "logits.npy", np.float32, total, classifier.num_classes), bias)
        thumbnails.finish()
        write_json(folder / "manifest.json", measurement.summary(table, entry, classifier))
        _require_unchanged(info, split)
        if final.exists():  # without its manifest, so that it was none
            discard(final)


def _require_unchanged(info: DatasetInfo, split: str) -> None:
    """`UserError` where the images are not what the store's name says any more: it would be of something else."""
    look_again()
    now = dataset_info(info.name, root=info.root, labels=info.label_space)
    require(
        split in now.splits and now.identity(split) == info.identity(split),
        f"The {split} images of {info.title} have changed since they were listed; extract them again.",
    )


def _write_curves(folder: Path, logits: Rows, bias: np.ndarray | None) -> None:
    arrays = {"grid": GRID}
    parts = [slice(i, i + 4096) for i in range(0, len(logits), 4096)]
    variants = {"": None} if bias is None or not bias.any() else {"": None, "released_": bias}
    for prefix, b in variants.items():
        curves = [temperature_curves(logits[part], b) for part in parts]
        arrays[f"{prefix}entropy"] = np.concatenate([c[0] for c in curves]).astype(np.float16)
        arrays[f"{prefix}top_probability"] = np.concatenate([c[1] for c in curves]).astype(np.float16)
    np.savez(folder / "curves.npz", **arrays)  # type: ignore[arg-type]

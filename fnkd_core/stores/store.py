"""A store: one model's outputs on one split, in a folder that pages read and compute nothing for. No torch."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fnkd_core.checkpoints.library import Entry
from fnkd_core.data import DatasetInfo
from fnkd_core.errors import UserError, require
from fnkd_core.files import read_json
from fnkd_core.paths import stores_dir

FORMAT = 4
"""Raised when what a store holds changes; older stores are then made anew."""


@dataclass(frozen=True)
class Store:
    """A handle on a store's folder; files are opened when they are asked for.

    called: what the checkpoint is called by who opened it. A store is of weights, and these can have several names.
    """

    path: Path
    called: str = ""

    @cached_property
    def manifest(self) -> dict[str, Any]:
        """What it holds and its sums; see `extract`."""
        manifest: dict[str, Any] = read_json(self.path / "manifest.json")
        return manifest

    @property
    def checkpoint(self) -> str:
        """The identity of the checkpoint whose outputs it holds."""
        return self.path.name.partition("-")[0]

    @property
    def classes(self) -> list[str]:
        return list(self.manifest["classes"])

    @property
    def name(self) -> str:
        return self.called or str(self.manifest["checkpoint"]["name"])

    @cached_property
    def samples(self) -> pd.DataFrame:
        """A row per sample, in the order of the split: id, key, label, prediction, correct, norm, ..."""
        return pd.read_parquet(self.path / "samples.parquet")

    @cached_property
    def logits(self) -> NDArray[np.float32]:
        """(N, K), memory-mapped."""
        return self._array("logits.npy")

    @cached_property
    def features(self) -> NDArray[np.float16]:
        """(N, D), memory-mapped."""
        return self._array("features.npy")

    @cached_property
    def bias(self) -> NDArray[np.float32] | None:
        """(K,) of the head, or None."""
        return np.load(self.path / "bias.npy") if (self.path / "bias.npy").exists() else None

    @cached_property
    def order(self) -> NDArray[np.int64]:
        """(N,) sample ids by rising norm."""
        return np.load(self.path / "order.npy")

    @cached_property
    def curves(self) -> dict[str, NDArray[Any]]:
        """grid (G,), entropy and top_probability (N, G), and the released variant's two where it has a bias."""
        with np.load(self.path / "curves.npz") as arrays:
            return {name: arrays[name] for name in arrays.files}

    def thumbnail(self, sample: int) -> bytes:
        """The sample's picture as WebP."""
        offsets = self._offsets
        if not 0 <= sample < len(offsets) - 1:
            raise UserError(f"Sample {sample} does not exist; this split has samples 0 to {len(offsets) - 2}.")
        with (self.path / "thumbnails.bin").open("rb") as file:
            file.seek(int(offsets[sample]))
            return file.read(int(offsets[sample + 1] - offsets[sample]))

    @cached_property
    def _offsets(self) -> NDArray[np.int64]:
        return np.load(self.path / "thumbnail_offsets.npy")

    def _array(self, name: str) -> NDArray[Any]:
        return np.load(self.path / name, mmap_mode="r")


def store_path(entry: Entry, info: DatasetInfo, split: str) -> Path:
    """The folder for this checkpoint on this split: named by what the two are, not by what they are called.

    `UserError` where the data are not on this machine, so that nobody knows what they are.
    """
    identity = info.identity(split)
    require(bool(identity), f"{info.title} is not on this machine; `fnkd data fetch {info.name}` may fetch it.")
    return stores_dir() / f"{entry.identity}-{identity}-v{FORMAT}"


def open_store(entry: Entry, info: DatasetInfo, split: str) -> Store | None:
    """The store if it has been extracted, else None."""
    if not info.identity(split):
        return None
    path = store_path(entry, info, split)
    return Store(path, entry.name) if (path / "manifest.json").exists() else None


def lock_of(path: Path) -> Path:
    """What is owned while the store at this path is made or deleted."""
    return path.with_name(f".{path.name}.lock")

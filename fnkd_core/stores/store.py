"""A store: one model's outputs on one split, in a folder that pages read and compute nothing for. No torch."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypedDict

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from fnkd_core.checkpoints.library import Entry
from fnkd_core.data import DatasetInfo
from fnkd_core.errors import Damaged, UserError, require
from fnkd_core.identity import content_of
from fnkd_core.paths import stores_dir
from fnkd_core.records import read_json
from fnkd_core.shapes import AtLeast, Count
from fnkd_core.stores.arrays import Bytes, Rows
from fnkd_core.stores.curves import CURVES, GRID
from fnkd_core.stores.thumbnails import PIXELS, encoded

if TYPE_CHECKING:
    import pandas as pd

FORMAT = 6
"""Raised when what a store holds changes; older stores are then made anew."""
CHECKED = 2**20
"""So many bytes at a time are looked at where all are."""


COLUMNS = {
    "i": ("id", "label", "prediction", "decile"),
    "b": ("correct",),
    "f": ("norm", "confidence", "margin", "entropy", "nll", "p_label", "max_logit", "logit_std"),
}
"""Kind of numbers -> the columns of `Store.samples` that hold such."""


class Checkpoint(TypedDict):
    """Of a manifest: whose outputs these are."""

    name: str
    num_parameters: int


class Matched(TypedDict):
    """Of a manifest: accuracy if the outputs were in the order that fits the labels best, and how many move for it."""

    accuracy: float
    moved: int


class Norm(TypedDict):
    """Of a manifest: ||f|| over the split."""

    mean: Annotated[float, AtLeast(0)]
    sd: float
    min: float
    max: float


class Manifest(TypedDict):
    """What of a manifest pages and commands read; see `fnkd_core.stores.measure`."""

    checkpoint: Checkpoint
    dataset: str
    label_space: str
    split: str
    identity: str
    classes: list[str]
    image: list[Count]
    num_samples: Count
    num_classes: Count
    num_features: Count
    accuracy: float
    matched: Matched
    nll: float
    ece: float
    norm: Norm
    head_error: float
    dead_outputs: list[Annotated[int, AtLeast(0)]]
    samples_per_s: float
    created: str


@dataclass(frozen=True)
class Store:
    """A handle on a store's folder; files are opened when they are asked for, and are `Damaged` where they are.

    called: what the checkpoint is called by who opened it. A store is of weights, and these can have several names.
    """

    path: Path
    called: str = ""

    @cached_property
    def manifest(self) -> dict[str, Any]:
        """What it holds and its sums; see `Manifest`."""
        try:
            manifest = dict(read_json(self.path / "manifest.json", Manifest, ""))
        except UserError:
            raise Damaged(self.path / "manifest.json", "is not what an extraction writes") from None
        fits = len(manifest["classes"]) == manifest["num_classes"]  # type: ignore[arg-type]
        if len(manifest["image"]) != 3:  # type: ignore[arg-type]
            raise Damaged(self.path / "manifest.json", "does not say how large the images are")
        if not fits or max(manifest["dead_outputs"], default=0) >= manifest["num_classes"]:  # type: ignore[call-overload]
            raise Damaged(self.path / "manifest.json", "does not name every class")
        return manifest

    @property
    def checkpoint(self) -> str:
        """The identity of the checkpoint whose outputs it holds."""
        return self.path.name.partition("-")[0]

    @property
    def classes(self) -> list[str]:
        """Names of the K classes."""
        return list(self.manifest["classes"])

    @property
    def name(self) -> str:
        """What the checkpoint is called now."""
        return self.called or str(self.manifest["checkpoint"]["name"])

    @property
    def identity(self) -> str:
        """What is kept of this store is named by: where it lies, when it was made, what it is called."""
        return f"{self.path} {self.manifest['created']} {self.name}"

    @cached_property
    def samples(self) -> pd.DataFrame:
        """A row per sample, in the order of the split: id, key, label, prediction, correct, norm, ..."""
        from pyarrow import parquet  # with pandas a third of a second, which who begins a run need not wait for

        path, m = self.path / "samples.parquet", self.manifest
        # In one piece: of a million keys in ten, a page's sixty are looked up forty times as slowly.
        read = partial(parquet.read_table, path, page_checksum_verification=True)
        table = _made(path, lambda: read().combine_chunks().to_pandas())
        if len(table) != m["num_samples"] or not _has_columns(table):
            raise Damaged(path, "has other rows or columns")
        classes, deciles = table[["label", "prediction"]].to_numpy(), table["decile"]
        if classes.min() < 0 or classes.max() >= m["num_classes"] or not deciles.between(1, 10).all():
            raise Damaged(path, "names classes that there are not")
        numbers = table[["norm", "nll"]].to_numpy()
        if not np.array_equal(table["id"], np.arange(len(table))) or not np.isfinite(numbers).all():
            raise Damaged(path, "holds what an extraction does not write")
        return table

    @cached_property
    def logits(self) -> Rows:
        """(N, K) float32."""
        return Rows(self.path / "logits.npy", np.float32, self.manifest["num_samples"], self.manifest["num_classes"])

    @cached_property
    def features(self) -> Rows:
        """(N, D) float16."""
        return Rows(self.path / "features.npy", np.float16, self.manifest["num_samples"], self.manifest["num_features"])

    @cached_property
    def bias(self) -> NDArray[np.float32] | None:
        """(K,) of the head, or None."""
        path = self.path / "bias.npy"
        return Rows(path, np.float32, self.manifest["num_classes"])[:] if path.exists() else None

    @cached_property
    def order(self) -> NDArray[np.int64]:
        """(N,) sample ids by rising norm."""
        path, count = self.path / "order.npy", self.manifest["num_samples"]
        order = Rows(path, np.int64, count)[:]
        if order.min() < 0 or order.max() >= count:
            raise Damaged(path, "names samples that there are not")
        return order

    @cached_property
    def curves(self) -> dict[str, Any]:
        """grid (G,); entropy and top_probability, `Rows` of (N, G), and the released variant's where it has a bias."""
        path, count = self.path / "curves.npz", self.manifest["num_samples"]
        found = set(_made(path, lambda: _members(path)))
        names = [f"{variant}{name}" for variant in ("", "released_") for name in CURVES]
        if found not in ({"grid", *names[:2]}, {"grid", *names}):
            raise Damaged(path, "holds other curves")
        grid = Rows(path, np.float32, len(GRID), member="grid")[:]
        if not np.array_equal(grid, GRID):
            raise Damaged(path, "holds no curves")
        own = [name for name in names if name in found]
        return {"grid": grid} | {name: Rows(path, np.float16, count, len(grid), member=name) for name in own}

    def thumbnail(self, sample: int) -> bytes:
        """The sample's picture as WebP, JPEG or PNG."""
        count = self.manifest["num_samples"]
        if not 0 <= sample < count:
            raise UserError(f"Sample {sample} does not exist; this split has samples 0 to {count - 1}.")
        if self._pixels is not None:
            return encoded(self._pixels[sample])
        first, last = self._offsets[sample : sample + 2].tolist()
        if not 0 <= first <= last <= self._pictures.size:
            raise Damaged(self.path / "thumbnail_offsets.npy", "points outside the pictures")
        picture = bytearray(last - first)
        self._pictures.read_into(memoryview(picture), first)
        return bytes(picture)

    @cached_property
    def _pixels(self) -> Rows | None:
        """(N, C, H, W) uint8 of images that are kept as they are; see `fnkd_core.stores.thumbnails`."""
        path, image = self.path / "pixels.npy", self.manifest["image"]
        if max(image) > PIXELS or (self.path / "thumbnail_offsets.npy").exists():
            return None
        return Rows(path, np.uint8, self.manifest["num_samples"], *image)

    @cached_property
    def _offsets(self) -> Rows:
        return Rows(self.path / "thumbnail_offsets.npy", np.int64, self.manifest["num_samples"] + 1)

    @cached_property
    def _pictures(self) -> Bytes:
        return Bytes(self.path / "thumbnails.bin")

    def check(self, deep: bool = False, curves: bool = True) -> None:
        """`Damaged` where a file lacks or is not as long as it has to be; deep: or does not hold what it has to.

        curves: whether these are read as a whole for it, which are by far the most."""
        _ = self.logits, self.features, self._pixels or (self._offsets, self._pictures)
        for name in ("samples.parquet", "order.npy", "curves.npz"):
            if not (self.path / name).is_file():
                raise Damaged(self.path / name, "is missing")
        if deep:
            _ = self.samples, self.order, self.bias
            _, path = self.curves, self.path / "curves.npz"
            if curves and not _made(path, lambda: _all_finite(path)):
                raise Damaged(path, "holds what is no number")


def _made(path: Path, read: Callable[[], Any]) -> Any:
    """What a library reads from a file. `Damaged` whatever it has against it."""
    try:
        if path.is_file():
            return read()
    except Exception as error:
        raise Damaged(path, f"cannot be read: {type(error).__name__}") from None
    raise Damaged(path, "is missing")


def _members(path: Path) -> list[str]:
    with zipfile.ZipFile(path) as whole:
        return [name.removesuffix(".npy") for name in whole.namelist()]


def _all_finite(path: Path) -> bool:
    """Whether the members of an .npz file, all of which are read once, hold finite numbers alone.

    `zipfile.BadZipFile` at the end of one that is not what its sum says.
    """
    finite = True
    with zipfile.ZipFile(path) as whole:
        for name in whole.namelist():
            with whole.open(name) as member:
                npy.read_magic(member)
                dtype = npy.read_array_header_1_0(member)[2]
                while block := member.read(CHECKED):
                    finite &= bool(np.isfinite(np.frombuffer(block, dtype)).all())
    return finite


def _has_columns(table: pd.DataFrame) -> bool:
    kinds = {name: kind for kind, names in COLUMNS.items() for name in names}
    return "key" in table and all(name in table and table[name].dtype.kind == kind for name, kind in kinds.items())


def store_path(entry: Entry, info: DatasetInfo, split: str) -> Path:
    """The folder for this checkpoint on this split: named by what the two are, not by what they are called.

    `UserError` where the data are not on this machine, so that nobody knows what they are.
    """
    identity = info.identity(split)
    require(bool(identity), f"{info.title} is not on this machine; `fnkd data fetch {info.name}` may fetch it.")
    return stores_dir() / f"{entry.identity}-{identity}-v{FORMAT}"


def is_store(path: Path) -> bool:
    """Whether this folder has the file that says what a store's others are; without it they are left over."""
    return (path / "manifest.json").exists()


def open_store(entry: Entry, info: DatasetInfo, split: str) -> Store | None:
    """The store if it has been extracted, else None.

    `UserError` where the checkpoint's file is not the one that its card describes: the outputs would be of another.
    """
    if not info.identity(split):
        return None
    path = store_path(entry, info, split)
    if not is_store(path):
        return None
    entry.require_its_file(content_of)
    return Store(path, entry.name)

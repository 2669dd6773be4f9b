"""Extraction: a checkpoint's outputs on a split, made into a store piece by piece."""

from __future__ import annotations

import contextlib
import time
import zipfile
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fnkd_core.checkpoints.fits import read_by
from fnkd_core.checkpoints.io import load_checkpoint
from fnkd_core.checkpoints.library import Entry
from fnkd_core.data import DatasetInfo, Samples, dataset_info, load_split, look_again
from fnkd_core.data.batches import batches
from fnkd_core.data.loader import Loader
from fnkd_core.errors import require, shortages_said
from fnkd_core.files import write_json
from fnkd_core.kd.outputs import Outputs
from fnkd_core.models.classifier import Classifier
from fnkd_core.models.inference import best_device, predict
from fnkd_core.stores.arrays import Rows, save_array
from fnkd_core.stores.checked import check_once
from fnkd_core.stores.curves import CURVES, GRID
from fnkd_core.stores.measure import COLUMNS, batch_size, columns, highest, summary, table_of
from fnkd_core.stores.pieces import Pieces, Row, discard_if, rows_of
from fnkd_core.stores.softened import softened
from fnkd_core.stores.store import Store, is_store, open_store, store_path
from fnkd_core.stores.thumbnails import PIXELS, Thumbnails, are_pictures, join, thumbnails

BATCHES = 8
"""So many are a piece: more make a kill dearer, fewer make pieces end, and go to the disk, more often."""
FEW = 4096
"""So few images in files are decoded by threads: worker processes would not have paid for their start."""


def extract(entry: Entry, info: DatasetInfo, split: str, *, size: int | None = None) -> Iterator[tuple[int, int]]:
    """Make the store of a checkpoint on a split; yields (samples done, samples in all) as it goes.

    It is made in pieces (see `fnkd_core.stores.pieces`): all processes that ask for the same store share them, a killed
    one's are taken over, and who asks again goes on from the last, in whatever batches. The folder appears whole at the
    end. Nothing is done where it exists. size: images that go through the network at once, by default as suits theirs.
    All outputs are computed in float32; the store is the same to the bit however many processes made it on one kind of
    processor, in batches of one size.
    `UserError` where the checkpoint is broken or its label space, channels or image size do not fit the data, the
    images have changed, the disk is full, or there is not enough memory; the pieces that are done stay.
    """
    read = read_by(entry, info)
    final = store_path(entry, info, split)
    if open_store(entry, info, split) is not None:
        return
    _require_unchanged(read, split)
    with shortages_said(final):
        if final.exists():
            discard_if(final, lambda: not is_store(final))
        classifier, _ = load_checkpoint(entry.path)
        samples = load_split(read, split, in_memory=are_pictures(read, split))
        with Loader(0 if len(samples) < FEW else None) as loader:
            samples = loader.serving(samples)
            work = Work(entry, samples, classifier.to(best_device()), size or batch_size(read))
            with contextlib.closing(work.pieces(final)) as pieces:
                yield from work.do(pieces)
    check_once(Store(final))  # here, where time is taken anyway, and not by the page that waits for it


def extracted(entry: Entry, info: DatasetInfo, split: str, *, size: int | None = None) -> Store:
    """The store, made first where it is missing; see `extract`."""
    for _ in extract(entry, info, split, size=size):
        pass
    return Store(store_path(entry, info, split), entry.name)


@dataclass(frozen=True)
class Work:
    """One process's share in an extraction. samples: all of the split. size: images a batch."""

    entry: Entry
    samples: Samples
    classifier: Classifier
    size: int

    def pieces(self, final: Path) -> Pieces:
        """The pieces of the store that is to lie here."""
        arrays: dict[str, Row] = {
            "features": (np.float16, (self.classifier.num_features,)),
            "logits": (np.float32, (self.classifier.num_classes,)),
        }
        scratch: dict[str, Row] = {"columns": (COLUMNS, ())}
        if self.as_pixels:
            arrays["pixels"] = (np.uint8, self.samples.info.image)
        else:
            scratch["sizes"] = (np.int64, ())
        scratch |= {f"{variant}{name}": (np.float16, (len(GRID),)) for variant in self.variants for name in CURVES}
        # What was begun goes on in its pieces, whatever batches it was begun in.
        return Pieces(final, len(self.samples), rows_of(final) or BATCHES * self.size, arrays, scratch)

    @property
    def as_pixels(self) -> bool:
        """Whether the images are so small that they are kept as they are; see `fnkd_core.stores.thumbnails`."""
        return max(self.samples.info.image) <= PIXELS and isinstance(self.samples.images, Tensor)

    @property
    def bias(self) -> Tensor | None:
        """(K,) of the head, or None."""
        return None if self.classifier.head.bias is None else self.classifier.head.bias.detach().float()

    @property
    def variants(self) -> dict[str, Tensor | None]:
        """Beginning of a curve's name -> the bias that is left out of the softening."""
        return {"": None} if self.bias is None or not self.bias.any() else {"": None, "released_": self.bias}

    def do(self, pieces: Pieces) -> Iterator[tuple[int, int]]:
        """Do the pieces that are left, then what the store has besides; yields (samples done, in all)."""
        begun, mine = time.monotonic(), 0
        with thumbnails() as pictures:
            for part in pieces.todo():
                done, row = pieces.done, part.start
                for batch, outputs in self._outputs(part, None if self.as_pixels else pictures):
                    rows = slice(row, row + len(outputs))
                    pieces.write(rows, **self._rows(rows, batch, outputs))
                    row, mine = rows.stop, mine + len(outputs)
                    yield done + row - part.start, pieces.count
                if not self.as_pixels:
                    pieces.write(part, sizes=pictures.write(_pictures(pieces, part.start)))
        rate = mine / max(time.monotonic() - begun, 1e-9)
        pieces.finish(lambda folder: self.write_rest(pieces, folder, rate))
        yield from [] if mine else [(pieces.count, pieces.count)]

    def _outputs(self, part: slice, pictures: Thumbnails | None) -> Iterator[tuple[Tensor, Outputs]]:
        """Each batch of these samples and what the network says of it; their thumbnails are made meanwhile."""
        seen: deque[Tensor] = deque()
        in_files = not isinstance(self.samples.images, Tensor)
        shown = pictures.take if in_files and pictures is not None else None

        def images() -> Iterator[Tensor]:
            for batch in batches(self.samples.images[part], self.size, shown=shown):
                if pictures is not None and not in_files:
                    pictures.add(batch)
                seen.append(batch)
                yield batch

        for outputs in predict(self.classifier, images()):
            yield seen.popleft(), outputs

    def _rows(self, rows: slice, batch: Tensor, outputs: Outputs) -> dict[str, NDArray[Any]]:
        """What is written of a batch, by the name of the array."""
        found: dict[str, NDArray[Any]] = {
            "features": outputs.features.float().clamp(-65504, 65504).half().cpu().numpy(),
            "logits": outputs.logits.float().cpu().numpy(),
            "columns": columns(outputs, self.samples.labels[rows]),
        }
        for variant, bias in self.variants.items():
            for name, curve in zip(CURVES, softened(outputs.logits, bias), strict=True):
                found[variant + name] = curve.cpu().numpy()
        return found | ({"pixels": batch.numpy()} if self.as_pixels else {})

    def write_rest(self, pieces: Pieces, folder: Path, rate: float) -> None:
        """Write the files that need all rows. rate: samples a second."""
        with pieces.refusing():
            table = table_of(self.samples, np.load(pieces.scratch / "columns.npy"))
        table.to_parquet(folder / "samples.parquet", compression="zstd", index=False, write_page_checksum=True)
        save_array(folder / "order.npy", np.argsort(table["norm"].to_numpy(), kind="stable"))
        if self.bias is not None:
            save_array(folder / "bias.npy", self.bias.cpu().numpy())
        save_array(pieces.scratch / "grid.npy", GRID)
        _pack([pieces.scratch / f"{v}{name}.npy" for v in self.variants for name in CURVES], folder / "curves.npz")
        starts = range(0, pieces.count, pieces.size)
        if not self.as_pixels:
            join([_pictures(pieces, start) for start in starts], np.load(pieces.scratch / "sizes.npy"), folder)
        logits = Rows(folder / "logits.npy", np.float32, pieces.count, self.classifier.num_classes)
        sure = torch.zeros(self.classifier.num_classes)
        for start in starts:
            sure = torch.maximum(sure, highest(torch.from_numpy(logits[start : start + pieces.size])))
        manifest = summary(table, self.samples, self.entry, self.classifier, sure, rate)
        write_json(folder / "manifest.json", manifest)
        with pieces.refusing():
            _require_unchanged(self.samples.info, self.samples.split)


def _pictures(pieces: Pieces, start: int) -> Path:
    return pieces.scratch / f"thumbnails-{start}.bin"


def _pack(arrays: list[Path], path: Path) -> None:
    """Write .npy files into an .npz file as `np.savez` does, without holding them in memory; GRID goes first."""
    with zipfile.ZipFile(path, "w") as whole:
        for array in (arrays[0].with_name("grid.npy"), *arrays):
            with array.open("rb") as part, whole.open(array.name, "w", force_zip64=True) as member:
                while block := part.read(1 << 20):
                    member.write(block)


def _require_unchanged(info: DatasetInfo, split: str) -> None:
    """`UserError` where the images are not what the store's name says any more: it would be of something else."""
    look_again()
    now = dataset_info(info.name, root=info.root, labels=info.label_space)
    require(
        split in now.splits and now.identity(split) == info.identity(split),
        f"The {split} images of {info.title} have changed since they were listed; extract them again.",
    )

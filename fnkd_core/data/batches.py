"""Images of a split in memory or in files, and batches of either in a given order."""

from __future__ import annotations

import multiprocessing
import os
import threading
import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from fnkd_core.data import budget, decoding
from fnkd_core.data.resident import resident
from fnkd_core.data.types import DatasetInfo, ImageFiles, Listing, RandomCrops, Samples, random_crops
from fnkd_core.data.views import View
from fnkd_core.errors import UserError

RESIDENT_BYTES = 2**30
"""A split with no more pixels than this is decoded once and kept in memory."""
FEW = 512
"""So few images are decoded before worker processes have started."""
PIECE_BYTES = 4 * 2**20
"""What a worker hands over at once; containers often have only 64 MB of shared memory."""


@dataclass(frozen=True)
class _Pieces(Dataset[tuple[Tensor | dict[str, str], list[str]]]):
    """What a worker process answers for a piece of a batch: its images, or why some cannot be read; and what to warn
    of, which this process does not."""

    images: ImageFiles
    crops: RandomCrops | None

    def __getitem__(self, piece: Sequence[int]) -> tuple[Tensor | dict[str, str], list[str]]:
        with warnings.catch_warnings(record=True) as said:
            found = _stacked(self.images, piece, [self.images.try_read(i, self.crops) for i in piece])
        return found, [str(each.message) for each in said if each.category is decoding.CorruptExif]


def _stacked(images: ImageFiles, piece: Sequence[int], read: Sequence[np.ndarray | str]) -> Tensor | dict[str, str]:
    broken = {images.key(i): found for i, found in zip(piece, read, strict=True) if isinstance(found, str)}
    return broken or torch.from_numpy(np.stack(read))  # type: ignore[arg-type]


def num_workers(count: int) -> int:
    """How many processes decode so many images; 0: threads of this one do.

    A daemon may have no children. A thread that is not the main one is a page's, whose main module is the page
    itself, which a new process would run.
    """
    inside = multiprocessing.current_process().daemon or threading.current_thread() is not threading.main_thread()
    return 0 if inside or count < FEW else min(4, os.cpu_count() or 1)


def batches(
    images: Tensor | ImageFiles,
    batch_size: int,
    order: Tensor | None = None,
    crops: RandomCrops | None = None,
    workers: int | None = None,
) -> Iterator[Tensor]:
    """(batch_size, C, H, W) uint8 batches of the images in this order, the last maybe smaller.

    The same bits whatever the number of workers. `UserError` in one line where an image cannot be read.
    """
    if isinstance(images, Tensor):
        yield from images.split(batch_size) if order is None else (images[i] for i in order.split(batch_size))
        return
    chosen: Sequence[int] = range(len(images)) if order is None else order.tolist()
    yield from batches_of(
        images, [chosen[i : i + batch_size] for i in range(0, len(chosen), batch_size)], crops, workers
    )


def batches_of(
    images: ImageFiles, whole: Sequence[Sequence[int]], crops: RandomCrops | None = None, workers: int | None = None
) -> Iterator[Tensor]:
    """(n, C, H, W) uint8 of the images in each of these lists, list by list."""
    step = max(1, min(64, PIECE_BYTES // (images.channels * images.size**2)))
    pieces = [batch[i : i + step] for batch in whole for i in range(0, len(batch), step)]
    waiting: list[Tensor] = []
    count = 0
    for piece in _pieces(images, pieces, crops, num_workers(sum(map(len, whole))) if workers is None else workers):
        if isinstance(piece, dict):
            raise decoding.refusal("this split", piece)
        waiting.append(piece)
        if sum(map(len, waiting)) == len(whole[count]):
            yield torch.cat(waiting)
            waiting, count = [], count + 1


def _pieces(
    images: ImageFiles, pieces: list[Sequence[int]], crops: RandomCrops | None, workers: int
) -> Iterator[Tensor | dict[str, str]]:
    if not workers:
        # Decoding lets go of the interpreter lock.
        with ThreadPoolExecutor(4) as pool:
            for piece in pieces:
                yield _stacked(images, piece, list(pool.map(lambda i: images.try_read(i, crops), piece)))
        return
    # Neither the threads nor the CUDA context of this process survive a fork; the server's are clean.
    clean = "forkserver" in multiprocessing.get_all_start_methods()
    context = multiprocessing.get_context("forkserver" if clean else "spawn")
    if clean:
        context.set_forkserver_preload([__name__])
    loader = DataLoader(
        _Pieces(images, crops),
        batch_size=None,
        sampler=pieces,  # type: ignore[arg-type]
        num_workers=workers,
        multiprocessing_context=context,
        worker_init_fn=partial(_begin, budget.Budget(context)),
        generator=torch.Generator(),  # the loader draws a seed, which must not come out of training's
    )
    try:
        for piece, said in loader:
            for text in said:
                decoding.warn_once(text)
            yield piece
    except (RuntimeError, ConnectionError, EOFError) as error:
        if isinstance(error, RuntimeError) and "worker" not in str(error):
            raise
        what = (str(error) or type(error).__name__).splitlines()[0][:120]
        raise UserError(f"A process that decodes images died ({what}); free some memory and go on.") from None


def _begin(shared: budget.Budget, _worker: int) -> None:
    """Share the memory with the other workers, and end with the process that they are for.

    A worker of a fork server has the server for its parent in the system's eyes, which outlives a killed run.
    """
    budget.share(shared)
    parent = multiprocessing.parent_process()
    assert parent is not None

    def wait() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


def from_files(info: DatasetInfo, split: str, listing: Listing, identity: str) -> Samples:
    """A split whose images lie in files: in memory if small, but for training images that are to be cropped.

    identity: what these files are, all of them.
    """
    channels, size = info.image[0], info.image[1]
    index = torch.arange(len(listing.labels))
    images = ImageFiles(listing, index, channels, size, info.crop_pct, info.interpolation)
    cropped = split == "train" and random_crops(info, View(0, 0)) is not None
    small = not cropped and len(index) * channels * size * size <= RESIDENT_BYTES
    held = resident(images, f"{info.title} ({split})", identity) if small else images
    return Samples(info, split, held, torch.tensor(list(listing.labels)), list(listing.keys))

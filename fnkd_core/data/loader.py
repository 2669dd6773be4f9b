"""Worker processes that decode images in files for as long as a run lasts."""

from __future__ import annotations

import contextlib
import dataclasses
import multiprocessing
import os
import threading
import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from fnkd_core.data import budget, decoding
from fnkd_core.data.packed import packed
from fnkd_core.data.types import ImageFiles, Listing, RandomCrops, Samples, Shown
from fnkd_core.errors import UserError
from fnkd_core.machine import cores

FEW = 512
"""So few images are decoded before worker processes have started."""
PIECE_BYTES = 4 * 2**20
"""What a worker hands over at once, at most."""
SHARED_BYTES = 32 * 2**20
"""What all workers hand over at once; containers often have only 64 MB of shared memory."""
AHEAD = 2
"""Pieces that each worker is given ahead."""
Read = Tensor | dict[int, str]
"""Images, or at which places there is one that cannot be read, and why."""


def num_workers(count: int, wanted: int | None = None) -> int:
    """How many processes decode so many images; 0: threads of this one do.

    wanted: None for one a core. A daemon may have no children. A thread that is not the main one is a page's, whose
    main module is the page itself, which a new process would run; but Ray, too, trains in one.
    """
    of_page = threading.current_thread() is not threading.main_thread() and "RANK" not in os.environ
    if multiprocessing.current_process().daemon or of_page:
        return 0
    if wanted is not None:
        return wanted
    return 0 if count < FEW else cores()


def piece_length(images: ImageFiles, workers: int) -> int:
    """How many images a worker hands over at once."""
    most = min(PIECE_BYTES, SHARED_BYTES // (AHEAD * workers)) if workers else PIECE_BYTES
    return max(1, min(64, most // (images.channels * images.size**2)))


class Loader:
    """Decodes splits of images in files, in processes that are started once, when they are first needed.

        with Loader() as loader:
            images = loader.reading(images)
            for batch in images.reader.batches(images, [[0, 1], [2]]): ...

    Which images, in which order and cropped how goes to the workers with each piece; they have open files that say
    where the images are and hold no list of them (see `packed`). The same bits whatever their number. They end with
    the block, and with this process however it ends. One split is read at a time.
    """

    def __init__(self, workers: int | None = None) -> None:
        """workers: see `num_workers`."""
        self.workers = workers
        self._splits: list[ImageFiles] = []
        self._running: _Workers | None = None
        self._readings = 0

    def __enter__(self) -> Loader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the workers; they are started anew where they are needed again."""
        if self._running is not None:
            self._running.end()
        self._running = None

    def serving(self, samples: Samples) -> Samples:
        """The split, whose images are read by these workers from now on if they lie in files."""
        images = samples.images
        return samples if isinstance(images, Tensor) else dataclasses.replace(samples, images=self.reading(images))

    def reading(self, images: ImageFiles) -> ImageFiles:
        """The images, read by these workers from now on."""
        if self._place(images) is None:
            self.close()
            self._splits.append(images)
        return dataclasses.replace(images, reader=self)

    def _place(self, images: ImageFiles) -> int | None:
        same = (
            k for k, held in enumerate(self._splits) if held.listing is images.listing and _how(held) == _how(images)
        )
        return next(same, None)

    def batches(
        self,
        images: ImageFiles,
        whole: Sequence[Sequence[int]],
        crops: RandomCrops | None = None,
        shown: Shown | None = None,
    ) -> Iterator[Tensor]:
        """(n, C, H, W) uint8 of the images at each of these lists of places, list by list.

        shown: is given the thumbnails of the files, each list before its images. `UserError` in one line where an image
        cannot be read, or a worker dies.
        """
        workers = num_workers(sum(len(split) for split in self._splits), self.workers)
        step = piece_length(images, workers)
        pieces = [list(batch[i : i + step]) for batch in whole for i in range(0, len(batch), step)]
        how = crops, shown is not None
        found = self._in_processes(images, pieces, how, workers) if workers else _in_threads(images, pieces, how)
        for batch in whole:
            # Out of the shared memory at once, whose next piece is waiting for room.
            images_read = torch.empty((len(batch), *images.shape[1:]), dtype=torch.uint8)
            for first in range(0, len(batch), step):
                piece, thumbnails = next(found)
                if shown is not None:
                    shown(thumbnails)
                if isinstance(piece, dict):
                    broken = {images.key(batch[first + place]): why for place, why in piece.items()}
                    raise decoding.refusal("this split", broken)
                images_read[first : first + len(piece)] = piece
                del piece
            yield images_read

    def _in_processes(
        self, images: ImageFiles, pieces: list[list[int]], how: How, workers: int
    ) -> Iterator[tuple[Read, list[bytes]]]:
        place = self._place(images)
        assert place is not None, "its workers do not serve these images"
        if self._running is None:
            self._running = _Workers(self._splits, workers)
        self._readings += 1
        reading, index = self._readings, images.index
        try:
            items = [(place, index[torch.tensor(piece)].tolist(), how) for piece in pieces]
            for read in self._running.read(items):
                yield read
                assert self._readings == reading, "another reading has begun meanwhile"
        except (RuntimeError, ConnectionError, EOFError) as error:
            if isinstance(error, RuntimeError) and "worker" not in str(error):
                raise
            self.close()
            what = (str(error) or type(error).__name__).splitlines()[0][:120]
            raise UserError(f"A process that decodes images died ({what}); free some memory and go on.") from None


def _how(images: ImageFiles) -> tuple[Any, ...]:
    return images.channels, images.size, images.crop_pct, images.interpolation


How = tuple[RandomCrops | None, bool]
"""How images are cropped, and whether thumbnails of their files are made."""
Item = tuple[int, list[int], How]
"""Which split, which images of its listing, and how."""


def _in_threads(images: ImageFiles, pieces: list[list[int]], how: How) -> Iterator[tuple[Read, list[bytes]]]:
    # Decoding lets go of the interpreter lock.
    with ThreadPoolExecutor(4) as pool:
        for piece in pieces:
            yield _apart(list(pool.map(lambda i: _one(images, i, how), piece)))


def _one(images: ImageFiles, i: int, how: How) -> np.ndarray | str | tuple[np.ndarray, bytes]:
    crops, with_thumbnail = how
    return images.try_read_shown(i) if with_thumbnail else images.try_read(i, crops)


def _apart(read: Sequence[np.ndarray | str | tuple[np.ndarray, bytes]]) -> tuple[Read, list[bytes]]:
    """The images, and the thumbnails where there are some."""
    thumbnails = [one[1] for one in read if isinstance(one, tuple)]
    return _stacked([one[0] if isinstance(one, tuple) else one for one in read]), thumbnails


def _stacked(read: Sequence[np.ndarray | str]) -> Read:
    broken = {place: found for place, found in enumerate(read) if isinstance(found, str)}
    return broken or torch.from_numpy(np.stack(read))  # type: ignore[arg-type]


@dataclass(frozen=True)
class _Pieces(Dataset[tuple[Read, list[bytes], list[str]]]):
    """What a worker process answers for a piece of a batch; and what to warn of, which that process does not."""

    splits: list[ImageFiles]

    def __getitem__(self, item: Item) -> tuple[Read, list[bytes], list[str]]:
        split, numbers, how = item
        images = dataclasses.replace(self.splits[split], index=torch.tensor(numbers))
        with warnings.catch_warnings(record=True) as said:
            found = _apart([_one(images, i, how) for i in range(len(numbers))])
        return *found, [str(each.message) for each in said if each.category is decoding.CorruptExif]


class _Workers:
    """The processes of a `Loader`."""

    def __init__(self, splits: Sequence[ImageFiles], workers: int) -> None:
        # Neither the threads nor the CUDA context of this process survive a fork; the server's are clean.
        clean = "forkserver" in multiprocessing.get_all_start_methods()
        context = multiprocessing.get_context("forkserver" if clean else "spawn")
        if clean:
            context.set_forkserver_preload([__name__])
        self._items, listings = list[Item](), dict[int, Listing]()
        for split in splits:
            if id(split.listing) not in listings:
                listings[id(split.listing)] = packed(split.listing)
        none = torch.zeros(0, dtype=torch.int64)
        served = [
            dataclasses.replace(split, listing=listings[id(split.listing)], index=none, reader=None) for split in splits
        ]
        with _as_many_as_asked_for():
            self._loader: DataLoader[tuple[Read, list[bytes], list[str]]] = DataLoader(
                _Pieces(served),
                batch_size=None,
                sampler=self._items,  # type: ignore[arg-type]
                num_workers=workers,
                prefetch_factor=AHEAD,
                persistent_workers=True,
                multiprocessing_context=context,
                worker_init_fn=partial(_begin, budget.Budget(context)),
                generator=torch.Generator(),  # the loader draws a seed, which must not come out of training's
            )

    def read(self, items: Sequence[Item]) -> Iterator[tuple[Read, list[bytes]]]:
        self._items[:] = items  # the loader begins its sampler anew and keeps its processes
        with _as_many_as_asked_for():
            found = iter(self._loader)
        for read, thumbnails, said in found:
            for text in said:
                decoding.warn_once(text)
            yield read, thumbnails

    def end(self) -> None:
        # Else they would wait until nothing refers to the iterator any more, such as the traceback of an error.
        iterator: Any = self._loader._iterator
        if iterator is not None:
            iterator._shutdown_workers()


@contextlib.contextmanager
def _as_many_as_asked_for() -> Iterator[None]:
    """Without the warning that there are more processes than cores."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        yield


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

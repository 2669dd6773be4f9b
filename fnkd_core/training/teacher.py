"""What the teacher says while a student learns: asked at every step, or once and kept."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from fnkd_core.data import Samples
from fnkd_core.data.augment import to_device
from fnkd_core.data.batches import batches
from fnkd_core.errors import Damaged, require
from fnkd_core.kd.outputs import Outputs
from fnkd_core.kd.temperature import LogitStd, MaxLogit
from fnkd_core.models.classifier import Classifier
from fnkd_core.models.inference import autocast, predict
from fnkd_core.stores.arrays import Rows, save_array
from fnkd_core.stores.pieces import discard_if
from fnkd_core.stores.teacher_outputs import TeacherOutputs
from fnkd_core.training.augmented import Augmented, Batch

ASKED = 256
"""Images that a teacher is asked of at once."""
Ask = Callable[[Tensor], Outputs]
IN_MEMORY = 2**30
"""A view's logits with no more bytes are read whole for an epoch; of larger ones, the rows of each batch."""


@dataclass(frozen=True)
class Preparing:
    """How far what a run needs before its first step has come. what: in words; done, total: images."""

    what: str
    done: int
    total: int
    eta_s: float


def make_views(ask: Ask, store: TeacherOutputs, images: Augmented, views: int) -> Iterator[Preparing]:
    """Ask the teacher, in float32, for every view that is missing.

    Any number of processes may do so at once; each has its share.
    """
    store.claim(images.samples.keys)
    missing = store.missing(views)
    begun, before = time.monotonic(), None
    for k, number in enumerate(missing):
        pieces = store.pieces(store.view(number))
        for part in pieces.todo():
            rows = torch.arange(part.start, part.stop)
            said = list(_asked(ask, images.views(rows, ASKED, number), "fp32"))
            logits = torch.cat([outputs.logits for outputs in said]).half().cpu().numpy()
            norms = torch.cat([outputs.norms for outputs in said]).cpu().numpy()
            pieces.write(part, logits=np.clip(logits, -65504, 65504), norms=norms)
            done, total = k * store.count + pieces.done + len(rows), len(missing) * store.count
            before = done - len(rows) if before is None else before
            pace = (time.monotonic() - begun) / max(done - before, 1)
            what = f"asking the teacher, view {number + 1} of {views}"
            yield Preparing(what, min(done, total), total, pace * max(total - done, 0))
        pieces.finish(lambda folder: None)


def make_plain(classifier: Classifier, store: TeacherOutputs, samples: Samples) -> Iterator[Preparing]:
    """Ask the teacher, in float32, for the images as evaluation sees them, where that was not done before."""
    store.claim(samples.keys)
    if store.plain.exists():
        return
    pieces, begun, before = store.pieces(store.plain), time.monotonic(), None
    for part in pieces.todo():
        said = list(predict(classifier, batches(samples.images[part], ASKED)))
        predictions = torch.cat([outputs.logits.argmax(1) for outputs in said]).int().cpu().numpy()
        norms, stds, maxima = (
            torch.cat([of(outputs) for outputs in said]).cpu().numpy()
            for of in (lambda outputs: outputs.norms, LogitStd(1.0), MaxLogit(1.0))
        )
        pieces.write(part, predictions=predictions, norms=norms, stds=stds, maxima=maxima)
        done = pieces.done + part.stop - part.start
        before = pieces.done if before is None else before
        pace = (time.monotonic() - begun) / max(done - before, 1)
        what = f"asking the teacher of the {samples.split} split"
        yield Preparing(what, done, store.count, pace * (store.count - done))
    pieces.finish(lambda folder: None)


def making_means(classifier: Classifier, store: TeacherOutputs, samples: Samples) -> Iterator[Preparing]:
    """Ask the teacher, in float32, for the mean feature of each class as evaluation sees the images, where that was not
    done before."""
    labels, width = samples.labels.numpy(), classifier.num_features
    store.claim(samples.keys)
    if _is_whole(store, labels, width):
        return
    pieces, begun, before = store.pieces_of_means(labels, width), time.monotonic(), None
    for part in pieces.todo():
        said = predict(classifier, batches(samples.images[part], ASKED))
        features = torch.cat([outputs.features for outputs in said]).half().cpu().numpy()
        pieces.write(part, features=np.clip(features, -65504, 65504))
        done = pieces.done + part.stop - part.start
        before = pieces.done if before is None else before
        pace = (time.monotonic() - begun) / max(done - before, 1)
        yield Preparing("asking the teacher for its mean features", done, store.count, pace * (store.count - done))

    def write(folder: Path) -> None:
        features = Rows(pieces.scratch / "features.npy", np.float16, store.count, width)
        sums, counts = np.zeros((store.num_classes, width)), np.bincount(labels, minlength=store.num_classes)
        for first in range(0, store.count, ASKED):
            rows = slice(first, min(first + ASKED, store.count))
            np.add.at(sums, labels[rows], features[rows].astype(np.float64))
        save_array(folder / "class_means.npy", (sums / np.maximum(counts, 1)[:, None]).astype(np.float32))

    pieces.finish(write)


def _is_whole(store: TeacherOutputs, labels: np.ndarray, width: int) -> bool:
    """Whether the class means are there; what cannot be read goes."""
    folder = store.means(labels)

    def is_damaged() -> bool:
        try:
            return len(store.class_means(labels, width)[:]) == 0
        except Damaged:
            return True

    if folder.exists() and is_damaged():
        discard_if(folder, is_damaged)
    return folder.exists()


def mean_of_means(each: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """The teachers' means, see `means_of`, averaged over the teachers."""
    return {name: sum(means[name] for means in each) / len(each) for name in each[0]} if each else {}


def means_of(store: TeacherOutputs) -> dict[str, float]:
    """`norm`, `std`, `max`: the teacher's mean ||f||, std(v) and max v over the images as evaluation sees them."""
    found = {"norm": store.norms(store.plain)} | store.plain_statistics()
    return {name: float(np.asarray(values, np.float64).mean()) for name, values in found.items()}


def norm_weights(store: TeacherOutputs, exponent: float) -> Tensor:
    """(N,) float32 (||f_i|| / mean ||f||)^exponent over the images as evaluation sees them, divided by its mean.

    `UserError` where that is no finite number: of a norm of 0 and an exponent below it.
    """
    norms = np.asarray(store.norms(store.plain), np.float64)
    with np.errstate(all="ignore"):
        weights = (norms / norms.mean()) ** exponent
        weights /= weights.mean()
    require(
        bool(np.isfinite(weights).all()),
        f"weight_by_norm {exponent:g} weighs some samples without end: the teacher's feature norms lie from "
        f"{norms.min():g} to {norms.max():g}; choose one >= 0, or leave it out.",
    )
    return torch.from_numpy(weights.astype(np.float32))


def predicted(stores: Sequence[TeacherOutputs]) -> Tensor:
    """(N, number of teachers) each teacher's classes of the images as evaluation sees them."""
    return torch.from_numpy(np.stack([np.asarray(store.predictions(), np.int64) for store in stores], 1))


def at_size(images: Tensor, size: Sequence[int]) -> Tensor:
    """(N, C, H, W) the images at this height and width, (H, W): themselves where they have it, else scaled without
    aliasing, as float in [0, 1]."""
    if tuple(images.shape[2:]) == tuple(size):
        return images
    values = images.float() / 255 if images.dtype == torch.uint8 else images
    return torch.nn.functional.interpolate(values, size=list(size), mode="bilinear", antialias=True).clamp(0, 1)


def reading(ask: Ask, size: Sequence[int]) -> Ask:
    """What says of a view of any size what this network says of it at its own."""
    return lambda images: ask(at_size(images, size))


class Teach(Protocol):
    """What a teacher says of a batch."""

    def begin(self, number: int) -> None:
        """An epoch of this view begins."""

    def __call__(self, batch: Batch) -> Outputs: ...


@dataclass(frozen=True)
class Together:
    """What several teachers say of a batch, each in its own way."""

    each: Sequence[Teach]

    def begin(self, number: int) -> None:
        """An epoch of this view begins."""
        for teach in self.each:
            teach.begin(number)

    def __call__(self, batch: Batch) -> list[Outputs]:
        return [teach(batch) for teach in self.each]


class LiveTeacher:
    """A teacher that is asked at every step."""

    def __init__(self, ask: Ask, precision: str) -> None:
        self.ask, self.precision = ask, precision

    def begin(self, number: int) -> None:
        """An epoch of this view begins."""

    def __call__(self, batch: Batch) -> Outputs:
        return next(_asked(self.ask, [batch.images], self.precision))


class CachedTeacher:
    """A teacher whose answers to these views are kept. bias: of its head."""

    def __init__(self, store: TeacherOutputs, bias: Tensor | None, device: torch.device) -> None:
        self.store, self.device = store, device
        self.bias = None if bias is None else bias.detach().to(device)

    def begin(self, number: int) -> None:
        """An epoch of this view begins."""
        logits = self.store.logits(number)
        self._norms = self._held(np.asarray(self.store.norms(self.store.view(number))))
        whole = 2 * self.store.count * self.store.num_classes <= IN_MEMORY
        self._logits: Tensor | Rows = self._held(logits[:]) if whole else logits

    def __call__(self, batch: Batch) -> Outputs:
        if isinstance(self._logits, Tensor):
            logits = self._logits[batch.index].float()
        else:
            logits = to_device(torch.from_numpy(self._logits[batch.rows.numpy()]), self.device).float()
        return Outputs.of_norms(self._norms[batch.index], logits, self.bias)

    def _held(self, values: np.ndarray) -> Tensor:
        return torch.from_numpy(values).to(self.device)


@dataclass(frozen=True)
class Recited:
    """A teacher that says the same of every batch, for timing."""

    outputs: Outputs

    def begin(self, number: int) -> None:
        """Nothing changes with the epoch."""

    def __call__(self, batch: Batch) -> Outputs:
        return self.outputs


def _asked(ask: Ask, images: Iterable[Tensor], precision: str) -> Iterator[Outputs]:
    for batch in images:
        if batch.shape[1] > 1:
            batch = batch.contiguous(memory_format=torch.channels_last)
        with torch.no_grad(), autocast(batch.device, precision):
            outputs = ask(batch)
        yield outputs

"""Bringing in a checkpoint that somebody else made: read through the gate, recognised, measured, written anew.

What the file does not say is taken from what is known of the network, or found out on labelled images: the input
normalisation, and which output stands for which class. Every decision is a finding that stays in the card.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fnkd_core.checkpoints.card import IMPORTED, LEVELS, Card, Finding
from fnkd_core.checkpoints.importing.claims import claimed, missed
from fnkd_core.checkpoints.importing.gate import Contents, read_untrusted
from fnkd_core.checkpoints.importing.network import confirmed, what_was_mended, with_activations
from fnkd_core.checkpoints.importing.normalisation import (
    MEASURED_ON,
    SCREENED,
    _Asked,
    _clear,
    _how_many_again,
    _in_question,
    _labelled,
    _normalisation,
    _ranked,
    _spread_over,
    _Trial,
    _trials,
    _which_normalisation,
)
from fnkd_core.checkpoints.importing.outputs import _named_by_file, _outputs, _too_few, _whose_classes, accuracy_of
from fnkd_core.checkpoints.importing.recognised import recognised, which_network
from fnkd_core.checkpoints.importing.request import ImportRequest, _from_card, name_of, require_file, require_free
from fnkd_core.checkpoints.io import write_checkpoint
from fnkd_core.data import DatasetInfo, dataset_info
from fnkd_core.data.decoding import LARGE
from fnkd_core.data.sources.folder import DEFAULT_SIZE
from fnkd_core.errors import UserError, require, shortages_said
from fnkd_core.files import check_name, discard
from fnkd_core.locks import locked
from fnkd_core.models.architecture import Architecture
from fnkd_core.models.pretrained import published_crop, published_normalisation
from fnkd_core.models.recognition.compare import Candidate
from fnkd_core.models.recognition.recognise import rename
from fnkd_core.models.zoo import build
from fnkd_core.paths import home, importing_dir

CLOSEST = 3
"""So many are measured again, on more images, where the first look leaves it open."""


@dataclass(frozen=True)
class Imported:
    """The checkpoint as it is in the library now. measured: normalisation -> NLL in nats, where some were tried."""

    name: str
    path: Path
    card: Card
    measured: Mapping[str, float] = field(default_factory=dict)


def import_checkpoint(request: ImportRequest) -> Iterator[str | Imported]:
    """Bring a file into the library; yields what is being done, a line each, and the result last.

    `UserError` in one line where the file is refused, fits no network, or something is open that cannot be found
    out, where the disk is full or there is not enough memory; the library is as it was then. Begun again under the
    same name, after a kill or with another answer, it does not ask a network again what that has said already.
    """
    source = request.path.expanduser()
    require_file(request.path)
    require(
        request.measure_on is None or request.measure_on >= 1, f"measure_on must be >= 1, got {request.measure_on}."
    )
    for what, values, least in (("mean", request.mean, -math.inf), ("std", request.std, 0.0)):
        right = all(math.isfinite(value) and value > least for value in values or ())
        text = f"{what} must be finite{', > 0' if what == 'std' else ''}, got {values}; give a number a channel"
        require(right, f"{text}, where white is 1, or leave it out.")
    with shortages_said(), _named(request, source) as name:
        yield from _import(request, source, name)


@contextlib.contextmanager
def _named(request: ImportRequest, source: Path) -> Iterator[str]:
    """The name that the checkpoint will have, owned for as long as the block runs."""
    name = check_name("checkpoint", name_of(request, source))
    folder = importing_dir()
    folder.mkdir(parents=True, exist_ok=True)
    busy = f"A checkpoint {name!r} is being imported already; give another name (--name), or wait for it."
    lock = folder / f".{name}.lock"  # no name begins with a dot
    with locked(lock, wait=False, busy=busy):
        try:
            require_free(name, source)
            yield name
        finally:
            lock.unlink(missing_ok=True)


def _import(request: ImportRequest, source: Path, name: str) -> Iterator[str | Imported]:
    yield f"Reading {source.name} in a process of its own"
    contents = read_untrusted(source, prefer_ema=request.prefer_ema, part=request.part)
    request = _from_card(request, source)
    findings = [Finding("good", _origin(source, contents)), *(Finding(*note) for note in contents.notes)]
    if request.prefer_ema and not contents.ema:
        findings.append(Finding("warning", "The file has no averaged (EMA) weights; the plain ones were taken."))

    yield f"Looking for the network that these {len(contents.state)} tensors are"
    weights, folded, candidates = recognised(contents.state, request, source.name)
    info = _data(request, candidates[0])
    request, its_layer = _normalised_by_file(request, contents, candidates[0].architecture.in_channels)
    size = _image_size(request, candidates[0], info)
    crop_pct, interpolation = 1.0, "bilinear"
    if info is not None and info.resizable:
        if size == _published_size(candidates[0].architecture):
            crop_pct, interpolation = published_crop(candidates[0].architecture)
        info = dataclasses.replace(
            info, image=(info.image[0], size, size), crop_pct=crop_pct, interpolation=interpolation
        )
        if size >= LARGE:
            text = f"Images are read at {size} pixels, the middle {crop_pct:.1%} of the shorter side, {interpolation}."
            findings.append(Finding("good", text))
    asked, kept = None, importing_dir() / name
    if info is not None and not info.download:
        yield f"Measuring on labelled images of {info.title}"
        which = [contents.sha256, request.part, request.prefer_ema]
        asked = _Asked(weights, which, info, _labelled(info, MEASURED_ON), kept)
    trials, ruled_out = yield from _measured(request, candidates, asked)
    if trials and asked is not None and not _clear(trials):
        more = _how_many_again(request, asked.info)
        close = _ranked(trials)[:CLOSEST]
        if more > len(asked.samples):
            yield f"The first {len(close)} are close; measuring them on {more:,} images"
            asked = dataclasses.replace(asked, samples=_labelled(asked.info, more))
            trials = yield from _trials(request, candidates, asked, close)
    best, accuracies = _ranked(trials)[0] if trials else None, dict[str, float]()
    samples = None if asked is None else asked.samples
    if best is not None and asked is not None:
        best, accuracies = with_activations(best, request, asked)
        candidate, mean, std = best.candidate, best.mean, best.std
    else:
        candidate = candidates[0]
        mean, std = _normalisation(request, candidate.architecture, info)
    architecture = candidate.architecture
    findings.append(which_network(candidate, candidates, measured=best is not None))
    said_of_order = confirmed(candidate, candidates, best, samples, request, source.name)
    findings += [said_of_order] if said_of_order else []
    findings += what_was_mended(candidate, folded, accuracies)
    findings.append(its_layer or _which_normalisation(request, best, trials, ruled_out, samples))

    request, said = _named_by_file(request, source, contents, architecture.num_classes, info, best, samples)
    findings += said
    if info is None and request.classes is None:
        raise _whose_classes(architecture.num_classes)
    order, classes, said = _outputs(request, architecture.num_classes, info, best, samples)
    findings += said
    claim = claimed(contents.facts)
    if claim is not None and best is not None and samples is not None:
        doubt = missed(claim, accuracy_of(best, order, samples), len(samples.labels), samples.split)
        findings += [doubt] if doubt else []
    architecture = dataclasses.replace(architecture, num_classes=len(classes))
    state = reordered(rename(weights, candidate), candidate.architecture, order, size)
    classifier = build(architecture, mean, std, (size, size))
    classifier.load(state)
    card = Card(
        name=name,
        architecture=architecture.to_dict(),
        dataset=info.name if info else "unknown",
        label_space=info.label_space if info else "unknown",
        classes=classes,
        method=IMPORTED,
        mean=list(mean),
        std=list(std),
        image_size=[size, size],
        crop_pct=crop_pct,
        interpolation=interpolation,
        metrics={"weights": "file", "file": {"accuracy": claim}} if claim is not None else {},
        source=f"imported from {source.name} (sha256 {contents.sha256})",
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        # What makes the numbers doubtful is read first.
        findings=[finding.to_dict() for level in LEVELS for finding in findings if finding.level == level],
    )
    path = home() / "checkpoints" / f"{name}.safetensors"
    card = write_checkpoint(path, classifier.state(), card)
    with contextlib.suppress(FileNotFoundError):
        discard(kept)
    yield Imported(name, path, card, {trial.normalisation: float(trial.nll.mean()) for trial in [*ruled_out, *trials]})


def _measured(
    request: ImportRequest, candidates: Sequence[Candidate], asked: _Asked | None
) -> Generator[str, None, tuple[list[_Trial], list[_Trial]]]:
    """Every network that fits under every normalisation that may be meant, and those of them that few images have ruled
    out."""
    few = 0 if asked is None else max(SCREENED, 2 * len(asked.info.classes))
    alone = len(candidates) == 1 and request.mean is not None
    if asked is None or alone or 2 * few > len(asked.samples):
        return (yield from _trials(request, candidates, asked)), []
    screened = yield from _trials(
        request, candidates, dataclasses.replace(asked, samples=_spread_over(asked.samples, few))
    )
    left = _in_question(screened)
    return (yield from _trials(request, candidates, asked, left)), [trial for trial in screened if trial not in left]


def _normalised_by_file(
    request: ImportRequest, contents: Contents, channels: int
) -> tuple[ImportRequest, Finding | None]:
    """The request with the normalisation that a layer in the file does, where none is given, and what to say of it."""
    if not contents.mean or request.mean is not None:
        return request, None
    said = f"mean {', '.join(f'{m:.4g}' for m in contents.mean)}, std {', '.join(f'{s:.4g}' for s in contents.std)}"
    if len(contents.mean) not in (1, channels):
        return request, None
    text = f"Input normalisation from the file's own layer {contents.layer}: {said}."
    return dataclasses.replace(request, mean=contents.mean, std=contents.std), Finding("good", text)


def reordered(
    state: Mapping[str, Tensor], architecture: Architecture, order: NDArray[np.int64], size: int
) -> dict[str, Tensor]:
    """The weights with the head's rows in this order. order: (C,) outputs, as many as are kept."""
    found = dict(state)
    if not np.array_equal(order, np.arange(architecture.num_classes)):
        white = (0.0,) * architecture.in_channels, (1.0,) * architecture.in_channels
        head = build(architecture, *white, (size, size)).head_name
        for key in (f"{head}.weight", f"{head}.bias"):
            if key in found:
                found[key] = found[key][torch.from_numpy(order)]
    return found


def _origin(source: Path, contents: Contents) -> str:
    peeled = f", {contents.wrapper}" if contents.wrapper else ""
    facts = ", ".join(f"{key} {value}" for key, value in list(contents.facts.items())[:4])
    return f"Imported from {source.name} ({contents.format}{peeled}{'; ' + facts if facts else ''})."


def _data(request: ImportRequest, candidate: Candidate) -> DatasetInfo | None:
    """The data set whose classes the outputs are, at the size that the network wants."""
    if request.dataset is None:
        return None
    info = dataset_info(request.dataset, root=request.data_root, labels=request.labels)
    channels = candidate.architecture.in_channels
    require(
        channels == info.image[0],
        f"The network takes {channels}-channel images, {info.name} has {info.image[0]}; choose another data set.",
    )
    if candidate.architecture.num_classes < len(info.classes):
        raise _too_few(candidate.architecture.num_classes, info)
    return info


def _image_size(request: ImportRequest, candidate: Candidate, info: DatasetInfo | None) -> int:
    if candidate.image_size is not None:
        require(
            request.image_size in (None, candidate.image_size),
            f"These weights are for {candidate.image_size} pixels, got image size {request.image_size}; leave it open.",
        )
        return candidate.image_size
    published = _published_size(candidate.architecture)
    # Files of many sizes say nothing of the size that a network was trained at.
    own = info.image[1] if info and not (info.resizable and info.image[1] == DEFAULT_SIZE and published) else None
    size = next((size for size in (request.image_size, own, published) if size), None)
    if size is None:
        raise UserError("The image size is not in the file; give it, or the data set.")
    return size


def _published_size(architecture: Architecture) -> int | None:
    published = published_normalisation(architecture)
    return published[2] if published else None

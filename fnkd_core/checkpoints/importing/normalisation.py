"""Which network under which input normalisation a file is, measured on labelled images."""

from __future__ import annotations

import contextlib
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from fnkd_core.checkpoints.card import Finding
from fnkd_core.checkpoints.importing.claims import near_chance
from fnkd_core.checkpoints.importing.matching import match_by_images
from fnkd_core.checkpoints.importing.request import ImportRequest
from fnkd_core.data import DatasetInfo, Samples, load_split
from fnkd_core.data.batches import batches
from fnkd_core.errors import UserError
from fnkd_core.files import replacing
from fnkd_core.identity import digest
from fnkd_core.models.architecture import Architecture
from fnkd_core.models.inference import best_device, predict
from fnkd_core.models.pretrained import published_normalisation
from fnkd_core.models.recognition.compare import Candidate
from fnkd_core.models.recognition.recognise import rename
from fnkd_core.models.zoo import build

MEASURED_ON = 1024
"""Labelled images, spread evenly over the split, on which candidates are measured."""

MEASURED_AGAIN, SMALL = 8192, 64
"""Images of up to so many pixels a side on which the closest few are measured again, if nothing else is asked for."""

SCREENED = 128
"""Images, or two of each class, on which all candidates are asked first: most are out of the question."""

SURELY, OUT = 3.0, 4.0
"""Standard errors by which a candidate that gets fewer right comes after another one, and is measured no further."""

SAME = 0.005
"""Means and standard deviations closer than this, where white is 1, are the same normalisation."""

READING = 1
"""Version of how a file's weights and images are read: another one asks networks again what they have said."""

MOST_NETWORKS = 4
"""Networks that are measured where the weights fit several."""

NORMALISATIONS: dict[str, tuple[tuple[float, ...], tuple[float, ...]]] = {
    "ImageNet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "CIFAR-10": ((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)),
    "CIFAR-10, per-image std": ((0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)),
    "CIFAR-100": ((0.5071, 0.4867, 0.4408), (0.2675, 0.2565, 0.2761)),
    "MNIST": ((0.1307,), (0.3081,)),
    "0.5": ((0.5,), (0.5,)),
    "none": ((0.0,), (1.0,)),
}
"""What networks in the wild were trained under; one value stands for every channel."""


@dataclass(frozen=True)
class _Trial:
    """One network under one normalisation, and what it says of the labelled images.

    probabilities: (N, K). nll, right: (N,) nats of each image under the order of outputs that fits best, and whether it
    is told right.
    """

    candidate: Candidate
    normalisation: str
    mean: tuple[float, ...]
    std: tuple[float, ...]
    probabilities: np.ndarray
    accuracy: float
    nll: np.ndarray
    right: np.ndarray


@dataclass(frozen=True)
class _Asked:
    """The labelled images that networks with these weights are asked of.

    state: the file's weights. source: what tells them from any others. kept: a folder for what the networks say, which
    an import that was killed does not ask them again.
    """

    state: Mapping[str, Tensor]
    source: Sequence[object]
    info: DatasetInfo
    samples: Samples
    kept: Path

    def logits(self, candidate: Candidate, mean: Sequence[float], std: Sequence[float]) -> np.ndarray:
        """(N, K) float32 what this network says of the images under this normalisation."""
        device = best_device()
        info, read = self.info, [self.info.image, self.info.crop_pct, self.info.interpolation]
        layout = [dict(candidate.names), candidate.layout, dict(candidate.biases), candidate.without_bias]
        whose = [*self.source, candidate.architecture.to_dict(), *layout]
        images = [info.identity(info.chosen_on), *read, len(self.samples), device.type, torch.__version__, READING]
        path = self.kept / f"{digest([*whose, mean, std, *images])}.npy"
        shape = (len(self.samples), candidate.architecture.num_classes)
        with contextlib.suppress(OSError, ValueError, EOFError):
            known = np.load(path, allow_pickle=False)
            if isinstance(known, np.ndarray) and known.dtype == np.float32 and known.shape == shape:
                return known
        classifier = build(candidate.architecture, mean, std, info.image[1:])
        classifier.load(rename(self.state, candidate))
        classifier.to(device)
        said = predict(classifier, batches(self.samples.images, 256))
        found: np.ndarray = torch.cat([outputs.logits.float().cpu() for outputs in said]).numpy()
        with contextlib.suppress(OSError, UserError), replacing(path) as temporary, temporary.open("wb") as file:
            np.save(file, found, allow_pickle=False)
        return found


def _labelled(info: DatasetInfo, num_images: int) -> Samples:
    """So many labelled images, spread evenly over the split that something may be chosen on."""
    return _spread_over(load_split(info, info.chosen_on), num_images)


def _spread_over(samples: Samples, num_images: int) -> Samples:
    """So many of these samples, or all there are, spread evenly."""
    return samples.subset(torch.linspace(0, len(samples) - 1, min(num_images, len(samples))).long())


def _how_many_again(request: ImportRequest, info: DatasetInfo) -> int:
    """On how many images the closest are measured again: a number of images, never of seconds."""
    wanted = request.measure_on or (MEASURED_AGAIN if max(info.image[1:]) <= SMALL else MEASURED_ON)
    return min(wanted, info.size(info.chosen_on))


def _spread(values: Sequence[float], channels: int) -> tuple[float, ...]:
    return tuple(values) * channels if len(values) == 1 else tuple(values)


def _trials(
    request: ImportRequest, candidates: Sequence[Candidate], asked: _Asked | None, only: Sequence[_Trial] = ()
) -> Generator[str, None, list[_Trial]]:
    """Every network that fits under every normalisation that may be meant; nothing without labelled images.

    only: measure no others than these anew. Yields a line on each before it is measured, for that takes minutes.
    """
    if asked is None:
        return []
    meant = [
        (candidate, name, *normal)
        for candidate in candidates[:MOST_NETWORKS]
        for name, normal in _worth_trying(request, candidate.architecture, asked.info).items()
        if not only or any(t.candidate is candidate and t.normalisation == name for t in only)
    ]
    found = []
    for number, (candidate, name, mean, std) in enumerate(meant, 1):
        on = f"{len(asked.samples):,} images, input as {name} ({number} of {len(meant)})"
        yield f"Asking {candidate.architecture.name} of {on}"
        found.append(_trial(candidate, name, mean, std, asked))
    return found


def _trial(
    candidate: Candidate, normalisation: str, mean: tuple[float, ...], std: tuple[float, ...], asked: _Asked
) -> _Trial:
    """What this network says of the labelled images under this normalisation."""
    log_p = torch.from_numpy(asked.logits(candidate, mean, std)).double().log_softmax(1).numpy()
    labels = asked.samples.labels.numpy()
    matching = match_by_images(log_p.argmax(1), labels, log_p.shape[1], len(asked.info.classes))
    meant = matching.order[labels]
    nll, right = -log_p[np.arange(len(labels)), meant], log_p.argmax(1) == meant
    return _Trial(candidate, normalisation, mean, std, np.exp(log_p), matching.matched, nll, right)


def _worth_trying(
    request: ImportRequest, architecture: Architecture, info: DatasetInfo
) -> dict[str, tuple[tuple[float, ...], tuple[float, ...]]]:
    channels = architecture.in_channels
    if request.mean is not None and request.std is not None:
        return {"given": (_spread(request.mean, channels), _spread(request.std, channels))}
    known = {f"{info.title}'s own": (info.mean, info.std)}
    published = published_normalisation(architecture)
    if published is not None:
        known[f"published for {architecture.name}"] = published[:2]
    for name, (mean, std) in NORMALISATIONS.items():
        if len(mean) in (1, channels):
            known[name] = _spread(mean, channels), _spread(std, channels)
    # Nearly the same numbers under two names are one trial: no network tells them apart.
    apart: dict[str, tuple[tuple[float, ...], tuple[float, ...]]] = {}
    for name, normal in known.items():
        if not any(np.allclose(normal, other, rtol=0, atol=SAME) for other in apart.values()):
            apart[name] = normal
    return apart


def _normalisation(
    request: ImportRequest, architecture: Architecture, info: DatasetInfo | None
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    channels = architecture.in_channels
    if request.mean is not None and request.std is not None:
        return _spread(request.mean, channels), _spread(request.std, channels)
    published = published_normalisation(architecture)
    if published is not None:
        return tuple(published[0]), tuple(published[1])
    remedy = "give mean and std, or a data set that is on this machine to measure it on"
    if info is not None and info.download:
        remedy = (
            f"{info.name}, which tells, is not on this machine: `fnkd data fetch {info.name}`, or give mean and std"
        )
    raise UserError(
        f"How the input of this {architecture.name} was normalised is not in the file, and a wrong guess costs "
        f"accuracy silently; {remedy}."
    )


def _which_normalisation(
    request: ImportRequest,
    best: _Trial | None,
    trials: Sequence[_Trial],
    ruled_out: Sequence[_Trial],
    samples: Samples | None,
) -> Finding:
    if best is None or samples is None:
        source = "as given" if request.mean is not None else "as published for this network; not measured here"
        return Finding("good" if request.mean is not None else "warning", f"Input normalisation {source}.")
    if best.normalisation == "given":
        return Finding("good", f"Input normalisation as given; accuracy {best.accuracy:.3f} on labelled images.")
    own = _ranked([t for t in trials if t.candidate is best.candidate])
    shown = ", ".join(f"{t.normalisation} {t.nll.mean():.3f} ({t.accuracy:.1%})" for t in own[:4])
    on = f"{len(best.nll):,} labelled images of the {samples.split} split"
    text = f"Input normalisation measured on {on}, NLL and accuracy under each: {shown}."
    if out := [t for t in ruled_out if t.candidate is best.candidate]:
        text += f" Ruled out on {len(out[0].nll)} of them: {', '.join(t.normalisation for t in out)}."
    if _clear(own) and not near_chance(best.accuracy, samples.labels.numpy()):
        return Finding("good", text)
    if _clear(own):
        return Finding("warning", f"{text} The first is taken, and none does much better than chance.")
    return Finding(
        "warning",
        f"{text} The first is taken; its lead is within chance: measure on more (--measure-on), or give mean and std.",
    )


def _mean_nll(trial: _Trial) -> float:
    return float(trial.nll.mean())


def _ranked(trials: Sequence[_Trial]) -> list[_Trial]:
    """The best first: the likeliest of those of which none gets surely more images right, then the others.

    Likelihood tells apart what accuracy on a thousand images cannot. But that of a network that is sure of its mistakes
    is decided by a few of them.
    """
    return sorted(trials, key=lambda trial: (any(_surely_more(one, trial) for one in trials), _mean_nll(trial)))


def _surely_more(one: _Trial, other: _Trial) -> bool:
    """Whether one gets more images right than the other, by McNemar's test."""
    differ = one.right.astype(int) - other.right.astype(int)
    return bool(differ.sum() > SURELY * np.sqrt(np.abs(differ).sum()))


def _leads_by(first: _Trial, second: _Trial) -> float:
    """By how many standard errors the first is likelier, paired over the images."""
    gap = second.nll - first.nll
    return float(gap.mean() / max(gap.std() / np.sqrt(len(gap)), 1e-12))


def _clear(trials: Sequence[_Trial]) -> bool:
    """Whether the first gets surely more right than the second, or leads by more than two standard errors."""
    if len(trials) < 2:
        return True
    first, second = _ranked(trials)[:2]
    return _surely_more(first, second) or _leads_by(first, second) > 2


def _in_question(trials: Sequence[_Trial]) -> list[_Trial]:
    """Those that further images could still put first."""
    first = _ranked(trials)[0]
    return [t for t in trials if t.accuracy > first.accuracy or _leads_by(first, t) <= OUT]

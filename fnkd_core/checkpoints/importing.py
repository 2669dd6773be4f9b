"""Bringing in a checkpoint that somebody else made: read through the gate, recognised, measured, written anew.

What the file does not say is taken from what is known of the network, or found out on labelled images: the input
normalisation, and which output stands for which class. Every decision is a finding that stays in the card.
"""

from __future__ import annotations

import dataclasses
import json
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fnkd_core.checkpoints.card import Card, Finding, card_path, read_card
from fnkd_core.checkpoints.gate import Contents, read_untrusted
from fnkd_core.checkpoints.io import write_checkpoint
from fnkd_core.checkpoints.labels import dead_outputs, match_by_images, match_by_name
from fnkd_core.checkpoints.library import list_checkpoints
from fnkd_core.data import DatasetInfo, Samples, dataset_info, list_datasets, load_split
from fnkd_core.data.folder import DEFAULT_SIZE
from fnkd_core.data.pictures import batches
from fnkd_core.data.reading import LARGE
from fnkd_core.errors import UserError, require
from fnkd_core.models.architecture import Architecture
from fnkd_core.models.inference import predict
from fnkd_core.models.recognise import (
    Candidate,
    Recognition,
    published_crop,
    published_normalisation,
    recognise,
    rename,
)
from fnkd_core.models.zoo import build
from fnkd_core.paths import home

MEASURED_ON = 1024
"""Labelled images, spread evenly over the split, on which candidates are measured."""
MEASURED_AGAIN, CLOSEST, PATIENCE_S = 8192, 3, 45.0
"""On so many images the closest few are measured again where the first look leaves it open and that takes no longer."""
MOST_NETWORKS = 4
"""Networks that are measured where the weights fit several."""
CLAIMS = ("best_acc", "best_acc1", "best_prec1", "best_top1", "accuracy", "acc", "test_acc")
"""Under these names training scripts keep the accuracy they reached."""

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
class Wishes:
    """What the user says of the file. All but the path may be left open.

    architecture: a name of the zoo. dataset, data_root, labels: the data whose classes the outputs are, as in
    `fnkd_core.data`. classes: names in the order of the outputs. mean, std: per channel, white is 1. image_size:
    pixels a side. part, prefer_ema: as in `fnkd_core.checkpoints.gate`.
    """

    path: Path
    name: str | None = None
    architecture: str | None = None
    dataset: str | None = None
    data_root: str | None = None
    labels: str | None = None
    classes: Sequence[str] | None = None
    mean: Sequence[float] | None = None
    std: Sequence[float] | None = None
    image_size: int | None = None
    part: str | None = None
    prefer_ema: bool = False


@dataclass(frozen=True)
class Imported:
    """The checkpoint as it is in the library now. measured: normalisation -> NLL in nats, where some were tried."""

    name: str
    path: Path
    card: Card
    measured: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class _Trial:
    """One network under one normalisation, and what it says of the labelled images.

    probabilities: (N, K). nll: (N,) nats of each image under the order of outputs that fits best.
    """

    candidate: Candidate
    normalisation: str
    mean: tuple[float, ...]
    std: tuple[float, ...]
    probabilities: np.ndarray
    accuracy: float
    nll: np.ndarray


def import_checkpoint(wishes: Wishes) -> Iterator[str | Imported]:
    """Bring a file into the library; yields what is being done, a line each, and the result last.

    `UserError` in one line where the file is refused, fits no network, or something is open that cannot be found
    out; nothing is changed then.
    """
    source = wishes.path.expanduser()
    require(source.is_file(), f"{wishes.path} is not a file; give the checkpoint's path.")
    name = _name(wishes, source)
    yield f"Reading {source.name} in a process of its own"
    contents = read_untrusted(source, prefer_ema=wishes.prefer_ema, part=wishes.part)
    wishes = _from_card(wishes, source)
    findings = [Finding("good", _origin(source, contents))]
    if wishes.prefer_ema and not contents.ema:
        findings.append(Finding("warning", "The file has no averaged (EMA) weights; the plain ones were taken."))

    yield f"Looking for the network that these {len(contents.state)} tensors are"
    shapes = {key: tuple(value.shape) for key, value in contents.state.items()}
    candidates = _candidates(recognise(shapes, wishes.architecture), source.name, wishes)
    info = _data(wishes, candidates[0])
    if info is None and wishes.classes is None:
        raise _whose_classes(candidates[0].architecture.num_classes)
    size = _image_size(wishes, candidates[0], info)
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
    samples = None
    if info is not None and not info.download:
        yield f"Measuring on labelled images of {info.title}"
        samples = _labelled(info, MEASURED_ON)
    begun = time.monotonic()
    trials = _trials(wishes, candidates, contents.state, info, samples)
    if trials and info is not None and samples is not None and not _clear(trials):
        more = min(MEASURED_AGAIN, info.sizes[-1] if info.sizes else MEASURED_AGAIN)
        close = sorted(trials, key=_mean_nll)[:CLOSEST]
        per_image = (time.monotonic() - begun) / len(trials) / len(samples.labels)
        if more > len(samples.labels) and per_image * more * len(close) < PATIENCE_S:
            yield f"The first {len(close)} are close; measuring them on {more:,} images"
            samples = _labelled(info, more)
            trials = _trials(wishes, candidates, contents.state, info, samples, close)
    # The likelihood tells apart what accuracy on a thousand images cannot.
    best = min(trials, key=_mean_nll) if trials else None
    if best is not None:
        candidate, mean, std = best.candidate, best.mean, best.std
    else:
        candidate = candidates[0]
        mean, std = _normalisation(wishes, candidate.architecture)
    architecture = candidate.architecture
    findings.append(_which_network(candidate, candidates, measured=best is not None))
    findings.append(_which_normalisation(wishes, best, trials))

    order, classes, said = _outputs(wishes, architecture.num_classes, info, best, samples)
    findings += said
    architecture = dataclasses.replace(architecture, num_classes=len(classes))
    state = rename(contents.state, candidate)
    if not np.array_equal(order, np.arange(candidate.architecture.num_classes)):
        # The head is found in the network as it was, then its rows are put into the order of the classes.
        head = build(candidate.architecture, mean, std, (size, size)).head_name
        for key in (f"{head}.weight", f"{head}.bias"):
            if key in state:
                state[key] = state[key][torch.from_numpy(order)]
    classifier = build(architecture, mean, std, (size, size))
    classifier.network.load_state_dict(state)
    card = Card(
        name=name,
        architecture=architecture.to_dict(),
        dataset=info.name if info else "unknown",
        label_space=info.label_space if info else "unknown",
        classes=classes,
        mean=list(mean),
        std=list(std),
        image_size=[size, size],
        crop_pct=crop_pct,
        interpolation=interpolation,
        metrics=_claimed(contents.facts),
        source=f"imported from {source.name} (sha256 {contents.sha256})",
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        findings=[finding.to_dict() for finding in findings],
    )
    path = home() / "checkpoints" / f"{name}.safetensors"
    card = write_checkpoint(path, classifier.network.state_dict(), card)
    yield Imported(name, path, card, {trial.normalisation: float(trial.nll.mean()) for trial in trials})


def read_classes(path: str | Path) -> tuple[str, ...]:
    """Class names of a file: a JSON list, or a name a line. `UserError` where it is neither."""
    try:
        text = Path(path).expanduser().read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(
            f"{path} cannot be read as class names ({type(error).__name__}); give a text file, a name a line."
        ) from None
    return named_classes(text, str(path))


def named_classes(text: str, what: str) -> tuple[str, ...]:
    """Class names of a text: a JSON list, or a name a line. what: how an error calls it."""
    names: Any = [line.strip() for line in text.splitlines() if line.strip()]
    if text.lstrip().startswith("["):
        try:
            names = json.loads(text)
        except ValueError as error:
            raise UserError(f"{what}: no JSON list of class names ({error}).") from None
    require(
        isinstance(names, list) and bool(names) and all(isinstance(name, str) for name in names),
        f"{what}: class names must be a line each, or a JSON list of strings.",
    )
    return tuple(names)


def _name(wishes: Wishes, source: Path) -> str:
    name = wishes.name or re.sub(r"[^A-Za-z0-9._-]+", "-", source.stem).strip("-.")[:64]
    require(
        re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", name) is not None,
        f"A checkpoint's name has letters, digits, dots, - and _, at most 64, got {name!r}; give one.",
    )
    taken = {e.name for e in list_checkpoints() if e.path.resolve() != source.resolve()}
    require(name not in taken, f"A checkpoint {name!r} is in the library already; give another name.")
    return name


def _from_card(wishes: Wishes, source: Path) -> Wishes:
    """The wishes with what a card of ours beside the file says of it, where they leave it open."""
    if not card_path(source).exists():
        return wishes
    card = read_card(card_path(source))
    known: dict[str, Any] = {
        "architecture": card.architecture["name"], "classes": tuple(card.classes), "mean": card.mean, "std": card.std,
        "image_size": card.image_size[0],
    }  # fmt: skip
    if card.dataset in list_datasets():
        known |= {"dataset": card.dataset, "labels": card.label_space}
    return dataclasses.replace(wishes, **{k: v for k, v in known.items() if getattr(wishes, k) is None})


def _origin(source: Path, contents: Contents) -> str:
    peeled = f", {contents.wrapper}" if contents.wrapper else ""
    facts = ", ".join(f"{key} {value}" for key, value in list(contents.facts.items())[:4])
    return f"Imported from {source.name} ({contents.format}{peeled}{'; ' + facts if facts else ''})."


def _candidates(recognition: Recognition, file: str, wishes: Wishes) -> tuple[Candidate, ...]:
    if recognition.candidates:
        return recognition.candidates
    if not recognition.nearest:
        raise UserError(f"{file} holds no network that is known here; name its architecture.")
    near = recognition.nearest[0]
    parts = [
        f"{words} {', '.join(keys[:3])}{' ...' if len(keys) > 3 else ''}"
        for words, keys in (
            ("lacks", near.missing),
            ("has left over", near.left_over),
            ("has other shapes in", near.shapes),
        )
        if keys
    ]
    what = f"{file} does not fit {wishes.architecture}" if wishes.architecture else f"{file} fits no known network"
    others = ", ".join(n.architecture for n in recognition.nearest[1:])
    also = f" Then come {others}." if others else ""
    raise UserError(
        f"{what}. Nearest is {near.architecture}: the file {'; '.join(parts)}.{also} Give --arch to choose another."
    )


def _data(wishes: Wishes, candidate: Candidate) -> DatasetInfo | None:
    """The data set whose classes the outputs are, at the size that the network wants."""
    if wishes.dataset is None:
        return None
    info = dataset_info(wishes.dataset, root=wishes.data_root, labels=wishes.labels)
    channels = candidate.architecture.in_channels
    require(
        channels == info.image[0],
        f"The network takes {channels}-channel images, {info.name} has {info.image[0]}; choose another data set.",
    )
    if candidate.architecture.num_classes < len(info.classes):
        raise _too_few(candidate.architecture.num_classes, info)
    return info


def _labelled(info: DatasetInfo, num_images: int) -> Samples:
    """So many labelled images of the last split, spread evenly over it."""
    samples = load_split(info, info.splits[-1])
    index = torch.linspace(0, len(samples.labels) - 1, min(num_images, len(samples.labels))).long()
    return dataclasses.replace(
        samples,
        images=samples.images[index],
        labels=samples.labels[index],
        keys=[samples.keys[i] for i in index.tolist()],
    )


def _spread(values: Sequence[float], channels: int) -> tuple[float, ...]:
    return tuple(values) * channels if len(values) == 1 else tuple(values)


def _trials(
    wishes: Wishes,
    candidates: Sequence[Candidate],
    state: Mapping[str, Tensor],
    info: DatasetInfo | None,
    samples: Samples | None,
    only: Sequence[_Trial] = (),
) -> list[_Trial]:
    """Every network that fits under every normalisation that may be meant; nothing without labelled images.

    only: measure no others than these anew.
    """
    if samples is None or info is None:
        return []
    found = []
    for candidate in candidates[:MOST_NETWORKS]:
        architecture = candidate.architecture
        renamed = rename(state, candidate)
        for name, (mean, std) in _worth_trying(wishes, architecture, info).items():
            if only and not any(t.candidate is candidate and t.normalisation == name for t in only):
                continue
            classifier = build(architecture, mean, std, info.image[1:])
            classifier.network.load_state_dict(renamed)
            logits = torch.cat(
                [outputs.logits.float() for outputs in predict(classifier, batches(samples.images, 256))]
            )
            log_p = logits.double().log_softmax(1).numpy()
            labels = samples.labels.numpy()
            matching = match_by_images(log_p.argmax(1), labels, log_p.shape[1], len(info.classes))
            nll = -log_p[np.arange(len(labels)), matching.order[labels]]
            found.append(_Trial(candidate, name, mean, std, np.exp(log_p), matching.matched, nll))
    return found


def _worth_trying(
    wishes: Wishes, architecture: Architecture, info: DatasetInfo
) -> dict[str, tuple[tuple[float, ...], tuple[float, ...]]]:
    channels = architecture.in_channels
    if wishes.mean is not None and wishes.std is not None:
        return {"given": (_spread(wishes.mean, channels), _spread(wishes.std, channels))}
    known = {f"{info.title}'s own": (info.mean, info.std)}
    published = published_normalisation(architecture)
    if published is not None:
        known[f"published for {architecture.name}"] = published[:2]
    for name, (mean, std) in NORMALISATIONS.items():
        if len(mean) in (1, channels):
            known[name] = _spread(mean, channels), _spread(std, channels)
    # The same numbers under two names are one trial.
    unique: dict[tuple[tuple[float, ...], tuple[float, ...]], str] = {}
    for name, (mean, std) in known.items():
        unique.setdefault((tuple(round(m, 3) for m in mean), tuple(round(s, 3) for s in std)), name)
    return {name: known[name] for name in unique.values()}


def _normalisation(wishes: Wishes, architecture: Architecture) -> tuple[tuple[float, ...], tuple[float, ...]]:
    channels = architecture.in_channels
    if wishes.mean is not None and wishes.std is not None:
        return _spread(wishes.mean, channels), _spread(wishes.std, channels)
    published = published_normalisation(architecture)
    if published is not None:
        return tuple(published[0]), tuple(published[1])
    raise UserError(
        f"How the input of this {architecture.name} was normalised is not in the file, and a wrong guess costs "
        "accuracy silently; give mean and std, or a data set that is on this machine to measure it on."
    )


def _which_network(candidate: Candidate, candidates: Sequence[Candidate], measured: bool) -> Finding:
    architecture = candidate.architecture
    text = (
        f"Recognised as {architecture.name} with {architecture.num_classes} outputs and "
        f"{architecture.in_channels} input channels (names as in {candidate.layout})."
    )
    others = [c.architecture.name for c in candidates if c.architecture.name != architecture.name]
    if not others:
        return Finding("good", text)
    more = f" and {len(others) - 4} more" if len(others) > 4 else ""
    why = "the likeliest on labelled images" if measured else "the likeliest"
    return Finding(
        "warning", f"{text} It also fits {', '.join(others[:4])}{more}; taken is {why}, the architecture can be given."
    )


def _which_normalisation(wishes: Wishes, best: _Trial | None, trials: Sequence[_Trial]) -> Finding:
    if best is None:
        source = "as given" if wishes.mean is not None else "as published for this network; not measured here"
        return Finding("good" if wishes.mean is not None else "warning", f"Input normalisation {source}.")
    if best.normalisation == "given":
        return Finding("good", f"Input normalisation as given; accuracy {best.accuracy:.3f} on labelled images.")
    own = sorted((t for t in trials if t.candidate is best.candidate), key=_mean_nll)
    shown = ", ".join(f"{t.normalisation} {t.nll.mean():.3f} ({t.accuracy:.1%})" for t in own[:4])
    n = len(best.nll)
    text = f"Input normalisation measured on {n:,} labelled images, NLL and accuracy under each: {shown}."
    if _clear(own):
        return Finding("good", text)
    return Finding("warning", f"{text} The first is taken; its lead is within chance, so give mean and std if known.")


def _mean_nll(trial: _Trial) -> float:
    return float(trial.nll.mean())


def _clear(trials: Sequence[_Trial]) -> bool:
    """Whether the likeliest leads by more than two standard errors, paired over the images."""
    if len(trials) < 2:
        return True
    first, second = sorted(trials, key=_mean_nll)[:2]
    gap = second.nll - first.nll
    return bool(gap.mean() > 2 * gap.std() / np.sqrt(len(gap)))


def _too_few(outputs: int, info: DatasetInfo) -> UserError:
    fitting = [space for space in info.label_spaces if len(_space(info, space)) == outputs]
    remedy = f"its label space {fitting[0]!r} fits" if fitting else "choose the data it was trained on"
    return UserError(
        f"The network has {outputs} outputs, {info.name} ({info.label_space}) has {len(info.classes)} classes; "
        f"{remedy}."
    )


def _space(info: DatasetInfo, space: str) -> tuple[str, ...]:
    return dataset_info(info.name, root=info.root, labels=space).classes


def _outputs(
    wishes: Wishes, num_outputs: int, info: DatasetInfo | None, best: _Trial | None, samples: Samples | None
) -> tuple[np.ndarray, list[str], list[Finding]]:
    """Which outputs are kept, in the order of the classes; the classes' names; what was found."""
    own = np.arange(num_outputs)
    if wishes.classes is not None:
        require(
            len(wishes.classes) == num_outputs,
            f"{len(wishes.classes)} class names for {num_outputs} outputs; they must be as many, in their order.",
        )
    if info is None:
        assert wishes.classes is not None
        return own, list(wishes.classes), []
    if wishes.classes is not None:
        order = match_by_name(wishes.classes, info.classes)
        if order is None:
            strange = sorted(set(info.classes) - set(wishes.classes))
            raise UserError(
                f"The class names given lack {', '.join(strange[:5])} of {info.name} ({info.label_space}); "
                "correct the names, or leave the data set open."
            )
        same = np.array_equal(order, own)
        text = "Class names are those of the data, in the same order." if same else "Class names matched by name: "
        return order, list(info.classes), [Finding("good", text if same else text + _moved(order))]
    if best is None or samples is None:
        if num_outputs != len(info.classes):
            raise _too_few(num_outputs, info)
        text = (
            f"Outputs taken as {info.name}'s classes in their order; not measured, for the data is not on this machine."
        )
        return own, list(info.classes), [Finding("warning", text)]
    return _by_images(info, best, samples)


def _by_images(info: DatasetInfo, best: _Trial, samples: Samples) -> tuple[np.ndarray, list[str], list[Finding]]:
    num_outputs, num_classes = best.probabilities.shape[1], len(info.classes)
    matching = match_by_images(best.probabilities.argmax(1), samples.labels.numpy(), num_outputs, num_classes)
    dead = dead_outputs(best.probabilities)
    found = []
    if num_outputs > num_classes:
        dropped = np.setdiff1d(np.arange(num_outputs), matching.order)
        alive = np.setdiff1d(dropped, dead)
        require(
            len(alive) == 0,
            f"The network has {num_outputs} outputs, {info.name} ({info.label_space}) has {num_classes} classes, and "
            f"{len(alive)} of the others are used too (output {alive[0] if len(alive) else ''}); choose other labels.",
        )
        text = f"{len(dropped)} of {num_outputs} outputs are dead on {info.name} ({info.label_space}) and were cut off."
        found.append(Finding("warning", text))
    accuracy = f"accuracy {matching.matched:.3f} on {len(samples.labels):,} labelled images"
    if matching.moved:
        found.append(
            Finding(
                "warning",
                f"{_moved(matching.order)} They were put into {info.name}'s order: {accuracy}, before it "
                f"{matching.as_is:.3f}.",
            )
        )
    else:
        level = "good" if matching.matched > 2 / num_classes else "bad"
        doubt = "" if level == "good" else "; hardly more than chance, is this the right data?"
        found.append(Finding(level, f"Outputs stand for {info.name}'s classes in their order: {accuracy}{doubt}."))
    return matching.order, list(info.classes), found


def _moved(order: np.ndarray) -> str:
    count = int((order != np.arange(len(order))).sum())
    return f"{count} of {len(order)} outputs were in another order than the data's classes."


def _whose_classes(outputs: int) -> UserError:
    fitting = []
    for name in list_datasets():
        try:
            info = dataset_info(name)
            fitting += [f"{name} ({space})" for space in info.label_spaces if len(_space(info, space)) == outputs]
        except UserError:
            continue
    hint = f" ({', '.join(fitting[:6])} would fit)" if fitting else ""
    return UserError(
        f"The network has {outputs} outputs and the file does not say of which classes; give the data set{hint}, or "
        "the class names."
    )


def _image_size(wishes: Wishes, candidate: Candidate, info: DatasetInfo | None) -> int:
    if candidate.image_size is not None:
        require(
            wishes.image_size in (None, candidate.image_size),
            f"These weights are for {candidate.image_size} pixels, got image size {wishes.image_size}; leave it open.",
        )
        return candidate.image_size
    published = _published_size(candidate.architecture)
    # Files of many sizes say nothing of the size that a network was trained at.
    own = info.image[1] if info and not (info.resizable and info.image[1] == DEFAULT_SIZE and published) else None
    size = next((size for size in (wishes.image_size, own, published) if size), None)
    if size is None:
        raise UserError("The image size is not in the file; give it, or the data set.")
    return size


def _published_size(architecture: Architecture) -> int | None:
    published = published_normalisation(architecture)
    return published[2] if published else None


def _claimed(facts: Mapping[str, Any]) -> dict[str, Any]:
    """The accuracy that the file says it reached, as the card keeps it; a percentage becomes a fraction."""
    for key in CLAIMS:
        value = facts.get(key)
        if isinstance(value, int | float) and 0 < value <= 100:
            return {"weights": "file", "file": {"accuracy": value / 100 if value > 1 else float(value)}}
    return {}

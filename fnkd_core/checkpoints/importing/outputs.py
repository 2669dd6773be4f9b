"""Which of a network's outputs stand for which classes, and what was found about it."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np

from fnkd_core.checkpoints.card import Finding
from fnkd_core.checkpoints.importing.claims import classes_beside, near_chance
from fnkd_core.checkpoints.importing.formats import shown
from fnkd_core.checkpoints.importing.gate import Contents
from fnkd_core.checkpoints.importing.matching import CLEAR, dead_outputs, match_by_images, match_by_name
from fnkd_core.checkpoints.importing.normalisation import (
    _Trial,
)
from fnkd_core.checkpoints.importing.request import ImportRequest
from fnkd_core.data import DatasetInfo, Samples, dataset_info, list_datasets
from fnkd_core.errors import UserError, require
from fnkd_core.wording import counted


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
    request: ImportRequest, num_outputs: int, info: DatasetInfo | None, best: _Trial | None, samples: Samples | None
) -> tuple[np.ndarray, list[str], list[Finding]]:
    """Which outputs are kept, in the order of the classes; the classes' names; what was found."""
    own = np.arange(num_outputs)
    if request.classes is not None:
        require(
            len(request.classes) == num_outputs,
            f"{len(request.classes)} class names for {num_outputs} outputs; they must be as many, in their order.",
        )
    if info is None:
        assert request.classes is not None
        return own, list(request.classes), []
    if request.classes is not None:
        order = match_by_name(request.classes, info.classes)
        if order is None:
            strange = sorted(set(info.classes) - set(request.classes))
            raise UserError(
                f"The class names given lack {', '.join(strange[:5])} of {info.name} ({info.label_space}); "
                "correct the names, or leave the data set open."
            )
        return order, list(info.classes), [_by_name(order, best, samples)]
    if best is None or samples is None:
        if num_outputs != len(info.classes):
            raise _too_few(num_outputs, info)
        text = (
            f"Outputs taken as {info.name}'s classes in their order; not measured, for the data is not on this machine."
        )
        return own, list(info.classes), [Finding("warning", text)]
    return _by_images(info, best, samples)


def _named_by_file(
    request: ImportRequest, source: Path, contents: Contents, outputs: int, info: DatasetInfo | None,
    best: _Trial | None, samples: Samples | None,
) -> tuple[ImportRequest, list[Finding]]:  # fmt: skip
    """The request with the class names that the file or the `config.json` beside it has, where they can be used.

    Names that contradict labelled images are not.
    """
    where, names = (contents.classes_from, contents.classes) if contents.classes else classes_beside(source)
    if request.classes is not None or not names:
        return request, []
    listed = f"class names in the file ({where}): {', '.join(shown(n, 30) for n in names[:3])} ..."
    if len(names) != outputs:
        return request, [Finding("warning", f"{len(names)} {listed} for {outputs} outputs; they were not used.")]
    if info is not None:
        order = match_by_name(names, info.classes)
        if order is None:
            return request, [Finding("warning", f"{info.name} has other classes than the {listed}; not used.")]
        if best is not None and samples is not None and accuracy_of(best, order, samples) < best.accuracy - CLEAR:
            text = f"Labelled images say another order of the outputs than the {listed}; the names were not used."
            return request, [Finding("warning", text)]
    return dataclasses.replace(request, classes=names), [Finding("good", f"Used were the {listed}")]


def accuracy_of(best: _Trial, order: np.ndarray, samples: Samples) -> float:
    """The share of labelled images whose likeliest output is the one that stands for their class. order: (C,)."""
    return float((best.probabilities.argmax(1) == order[samples.labels.numpy()]).mean())


def _by_name(order: np.ndarray, best: _Trial | None, samples: Samples | None) -> Finding:
    text = "Class names matched by name: " + _moved(order)
    if np.array_equal(order, np.arange(len(order))):
        text = "Class names are those of the data, in the same order."
    return Finding("good", text) if best is None or samples is None else _reaching(text, best, order, samples)


def _reaching(text: str, best: _Trial, order: np.ndarray, samples: Samples, level: str = "good") -> Finding:
    """The finding with what is reached under this order of outputs, and bad where that is chance."""
    accuracy = accuracy_of(best, order, samples)
    text = f"{text} Accuracy {accuracy:.3f} on {len(samples.labels):,} labelled images of the {samples.split} split"
    if near_chance(accuracy, samples.labels.numpy()):
        return Finding("bad", f"{text}; hardly more than chance, is this the right data?")
    return Finding(level, f"{text}.")


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
            f"{counted(len(alive), 'output')} that no class stands for (the first: {alive[0] if len(alive) else ''}) "
            "are its answer to some of their images; it was trained for other labels, so choose those.",
        )
        text = f"{len(dropped)} of {num_outputs} outputs are dead on {info.name} ({info.label_space}) and were cut off."
        found.append(Finding("warning", text))
    text, level = f"Outputs stand for {info.name}'s classes in their order.", "good"
    if matching.moved:
        before = f"accuracy before it {matching.as_is:.3f}"
        text = f"{_moved(matching.order)} They were put into {info.name}'s order, {before}."
        level = "warning"
    found.append(_reaching(text, best, matching.order, samples, level))
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

"""Which of a network's outputs stand for which classes, and what was found about it."""

from __future__ import annotations

import numpy as np

from fnkd_core.checkpoints.card import Finding
from fnkd_core.checkpoints.importing.matching import dead_outputs, match_by_images, match_by_name
from fnkd_core.checkpoints.importing.normalisation import (
    _Trial,
)
from fnkd_core.checkpoints.importing.request import ImportRequest
from fnkd_core.data import DatasetInfo, Samples, dataset_info, list_datasets
from fnkd_core.errors import UserError, require


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
    accuracy = (
        f"accuracy {matching.matched:.3f} on {len(samples.labels):,} labelled images of the {samples.split} split"
    )
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

"""What had to be assumed or mended to take a file for a network of ours, and whether labelled images bear it out."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping

from torch import Tensor

from fnkd_core.checkpoints.card import Finding
from fnkd_core.checkpoints.importing.claims import near_chance
from fnkd_core.checkpoints.importing.normalisation import _mean_nll, _Trial, _trials
from fnkd_core.checkpoints.importing.request import ImportRequest
from fnkd_core.data import DatasetInfo, Samples
from fnkd_core.errors import require
from fnkd_core.models.architecture import ACTIVATIONS
from fnkd_core.models.recognition.compare import Candidate
from fnkd_core.models.recognition.recognise import BY_ORDER
from fnkd_core.models.recognition.shapes import head_by_name


def with_activations(
    best: _Trial, request: ImportRequest, state: Mapping[str, Tensor], info: DatasetInfo, samples: Samples
) -> _Trial:
    """The likeliest of this network with one activation or another in the head that somebody put in."""
    replaced = best.candidate.architecture.replaced
    trials = [best]
    if "relu" in replaced:
        given = dataclasses.replace(request, mean=best.mean, std=best.std)
        for activation in ACTIVATIONS[1:]:
            words = tuple(activation if word == "relu" else word for word in replaced)
            architecture = dataclasses.replace(best.candidate.architecture, replaced=words)
            other = dataclasses.replace(best.candidate, architecture=architecture)
            trials += [
                dataclasses.replace(trial, normalisation=best.normalisation)
                for trial in _trials(given, [other], state, info, samples)
            ]
    return min(trials, key=_mean_nll)


def what_was_mended(candidate: Candidate, folded: Mapping[str, int], measured: bool) -> Iterator[Finding]:
    """A line for each thing that stands otherwise in the file than in the network."""
    for what, count in folded.items():
        yield Finding("good", f"Multiplied out in {count} weights: {what}.")
    if candidate.biases:
        text = f"Biases of {len(candidate.biases)} convolutions were folded into the batch norms after them."
        yield Finding("good", text)
    head = head_by_name(candidate.architecture.name, candidate.architecture.replaced)
    if f"{head}.bias" in candidate.without_bias and candidate.architecture.head == "linear":
        text = "The head has no bias in the file; 0 was taken. A cosine head without its scale would look the same."
        yield Finding("warning", text)
    if replaced := candidate.architecture.replaced:
        layers = ", ".join((*replaced[1:], "linear"))
        text = f"Its head {replaced[0]} was replaced: {layers}; the features are what the last one reads."
        if not set(replaced) & set(ACTIVATIONS):
            yield Finding("good", text)
        else:
            how = "the likeliest on labelled images" if measured else "the usual one, not measured"
            text = f"{text} The file does not show its activation; taken is {how}."
            yield Finding("good" if measured else "warning", text)


def confirmed(
    candidate: Candidate, best: _Trial | None, samples: Samples | None, request: ImportRequest, file: str
) -> Finding | None:
    """What labelled images say of a network that was told by its shapes alone; None where the names tell it.

    `UserError` where there are none, or they speak against it, and the user has not named the network.
    """
    if candidate.layout != BY_ORDER:
        return None
    name = candidate.architecture.name
    text = f"The names of {file} are not known; its weights have the shapes of {name}, in its order"
    named = request.architecture is not None
    if best is None or samples is None:
        require(named, f"{text}. Give --arch {name} if that is what it is, or data that are here to measure it on.")
        return Finding("warning", f"{text}, and were taken for it as you say; that was not measured.")
    reached = f"{best.accuracy:.3f} on {len(samples.labels):,} labelled images of the {samples.split} split"
    if near_chance(best.accuracy, samples.labels.numpy()):
        require(
            named,
            f"{text}, but its accuracy is {reached}, hardly more than chance; choose the data it was trained on, or "
            f"give --arch {name} to take it all the same.",
        )
        return Finding("bad", f"{text}, but its accuracy is {reached}: hardly more than chance.")
    return Finding("good", f"{text}; confirmed by an accuracy of {reached}.")

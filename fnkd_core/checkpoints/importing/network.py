"""What had to be assumed or mended to take a file for a network of ours, and whether labelled images bear it out."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping, Sequence

from fnkd_core.checkpoints.card import Finding
from fnkd_core.checkpoints.importing.claims import near_chance
from fnkd_core.checkpoints.importing.normalisation import _Asked, _Trial, _trial
from fnkd_core.checkpoints.importing.request import ImportRequest
from fnkd_core.data import Samples
from fnkd_core.errors import require
from fnkd_core.models.architecture import ACTIVATIONS, Architecture
from fnkd_core.models.recognition.compare import Candidate
from fnkd_core.models.recognition.recognise import BY_ORDER
from fnkd_core.models.recognition.shapes import head_by_name


def with_activations(best: _Trial, request: ImportRequest, asked: _Asked) -> tuple[_Trial, dict[str, float]]:
    """This network with the activation of most accuracy in the head that somebody put in; and activation -> accuracy.

    Another than the usual one has to be more accurate than chance allows: likelihood cannot tell them apart, for what
    makes the logits larger makes the right class likelier. A card of ours says which it is, and nothing is tried.
    """
    replaced = best.candidate.architecture.replaced
    if "relu" not in replaced or isinstance(request.architecture, Architecture):
        return best, {}
    trials = {"relu": best}
    for activation in ACTIVATIONS[1:]:
        words = tuple(activation if word == "relu" else word for word in replaced)
        architecture = dataclasses.replace(best.candidate.architecture, replaced=words)
        candidate = dataclasses.replace(best.candidate, architecture=architecture)
        trials[activation] = _trial(candidate, best.normalisation, best.mean, best.std, asked)
    first = max(trials.values(), key=lambda trial: trial.accuracy)
    taken = first if first.accuracy > best.accuracy + _by_luck(best.accuracy, len(asked.samples.labels)) else best
    return taken, {activation: trial.accuracy for activation, trial in trials.items()}


def _by_luck(accuracy: float, num_images: int) -> float:
    """Two standard errors of the difference of two accuracies about this one."""
    return 2 * math.sqrt(2 * accuracy * (1 - accuracy) / num_images)


def what_was_mended(
    candidate: Candidate, folded: Mapping[str, int], accuracies: Mapping[str, float]
) -> Iterator[Finding]:
    """A line for each thing that stands otherwise in the file than in the network.

    accuracies: of the activations tried in a head that somebody put in.
    """
    for what, count in folded.items():
        yield Finding("good", f"Multiplied out in {count} weights: {what}.")
    if candidate.biases:
        text = f"Biases of {len(candidate.biases)} convolutions were folded into the batch norms after them."
        yield Finding("good", text)
    architecture = candidate.architecture
    if f"{head_by_name(architecture.name, architecture.replaced)}.bias" in candidate.without_bias:
        text = "The head has no bias in the file; 0 was taken. A cosine head without its scale would look the same."
        yield Finding("warning", text)
    if architecture.replaced:
        place, *layers = architecture.replaced
        text = f"Its head {place} was replaced: {', '.join((*layers, 'linear'))}; the features are what the last reads."
        if not set(layers) & set(ACTIVATIONS):
            yield Finding("good", text)
        else:
            shown = ", ".join(f"{activation} {accuracy:.3f}" for activation, accuracy in accuracies.items())
            why = f"of these, with their accuracy on labelled images: {shown}" if shown else "unmeasured"
            yield Finding("warning", f"{text} Its activation is not in the file, and was taken {why}.")


def confirmed(
    candidate: Candidate,
    candidates: Sequence[Candidate],
    best: _Trial | None,
    samples: Samples | None,
    request: ImportRequest,
    file: str,
) -> Finding | None:
    """What labelled images say of a network that was told by its shapes alone; None where the names tell it.

    candidates: it and those whose shapes are the same. `UserError` where there are no images, or they speak against it,
    and the user has not named the network.
    """
    if candidate.layout != BY_ORDER:
        return None
    name = candidate.architecture.name
    text = f"The names of {file} are not known; its weights have the shapes of {name}, in its order"
    named = request.architecture is not None
    if best is None or samples is None:
        also = "".join(
            f", or --arch {other}" for other in {c.architecture.name: 0 for c in candidates} if other != name
        )
        which = f"--arch {name}{also}, whichever" if also else f"--arch {name} if that is what"
        require(named, f"{text}. Give {which} it is, or data that are here to measure it on.")
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

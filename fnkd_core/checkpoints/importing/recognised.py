"""Which network a file's weights are, as far as their names and shapes say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor

from fnkd_core.checkpoints.card import Finding
from fnkd_core.checkpoints.importing.names import without_common_prefix
from fnkd_core.checkpoints.importing.request import ImportRequest
from fnkd_core.errors import UserError
from fnkd_core.models.architecture import Architecture
from fnkd_core.models.recognition.compare import Candidate, Nearest
from fnkd_core.models.recognition.folding import multiplied_out
from fnkd_core.models.recognition.recognise import BY_ORDER, Recognition, recognise, settled
from fnkd_core.models.recognition.shapes import head_by_name


def recognised(
    state: Mapping[str, Tensor], request: ImportRequest, file: str
) -> tuple[Mapping[str, Tensor], Mapping[str, int], tuple[Candidate, ...]]:
    """The weights, each a tensor of its own under a known name; what was multiplied out in how many; what they may be.

    The likeliest network comes first. `UserError` where there is none, or it has no head that a softmax can follow.
    A tensor's shape is the file's, but for what was multiplied out.
    """
    whole, folded = multiplied_out(state)
    weights, recognition = _by_names(whole, request)
    candidates = tuple(settled(candidate, weights) for candidate in _candidates(recognition, file, request))
    check_head(candidates[0], file)
    return weights, folded, candidates


def _by_names(state: Mapping[str, Tensor], request: ImportRequest) -> tuple[Mapping[str, Tensor], Recognition]:
    """The weights under the names that are recognised, and as what: as they are, or without what most begin with.

    What is recognised by names comes before what is by the order of shapes alone.
    """
    tries: list[tuple[Mapping[str, Tensor], Recognition]] = []
    inner: Mapping[str, Tensor] | None = state
    while inner:
        shapes = {key: tuple(value.shape) for key, value in inner.items()}
        tries.append((inner, recognise(shapes, request.architecture)))
        if any(candidate.layout != BY_ORDER for candidate in tries[-1][1].candidates):
            return tries[-1]
        inner = without_common_prefix(inner)
    return next((one for one in tries if one[1].candidates), tries[0])


def _candidates(recognition: Recognition, file: str, request: ImportRequest) -> tuple[Candidate, ...]:
    if recognition.candidates:
        return recognition.candidates
    if not recognition.nearest:
        raise UserError(f"{file} holds no network that is known here; name its architecture.")
    near = recognition.nearest[0]
    if without_head(near):
        raise UserError(
            f"{file} is the body of {near.architecture} without a head: {near.missing[0]} is not in it, and what its "
            "features mean is said by logits; save the whole classifier."
        )
    parts = [
        f"{words} {', '.join(keys[:3])}{' ...' if len(keys) > 3 else ''}"
        for words, keys in (
            ("lacks", near.missing),
            ("has left over", near.left_over),
            ("has other shapes in", near.shapes),
        )
        if keys
    ]
    asked = request.architecture.name if isinstance(request.architecture, Architecture) else request.architecture
    what = f"{file} does not fit {asked}" if request.architecture else f"{file} fits no known network"
    others = ", ".join(n.architecture for n in recognition.nearest[1:])
    also = f" Then come {others}." if others else ""
    raise UserError(
        f"{what}. Nearest is {near.architecture}: the file {'; '.join(parts)}.{also} Give --arch to choose another."
    )


def which_network(candidate: Candidate, candidates: Sequence[Candidate], measured: bool) -> Finding:
    """The finding that names the network, and what else it could be."""
    architecture = candidate.architecture
    by = "in the order of its weights" if candidate.layout == BY_ORDER else f"names as in {candidate.layout}"
    text = (
        f"Recognised as {architecture.name} with {architecture.num_classes} outputs and "
        f"{architecture.in_channels} input channels ({by})."
    )
    others = [c.architecture.name for c in candidates if c.architecture.name != architecture.name]
    if not others:
        return Finding("good", text)
    more = f" and {len(others) - 4} more" if len(others) > 4 else ""
    why = "the likeliest on labelled images" if measured else "the likeliest"
    return Finding(
        "warning", f"{text} It also fits {', '.join(others[:4])}{more}; taken is {why}, the architecture can be given."
    )


def check_head(candidate: Candidate, file: str) -> None:
    """`UserError` for a network with one output."""
    if candidate.architecture.num_classes == 1:
        head = head_by_name(candidate.architecture.name, candidate.architecture.replaced)
        raise UserError(
            f"{file} has 1 output, and a softmax needs a class for each; if its sigmoid tells two classes apart, save "
            f"it with two outputs, rows of zeros before {head}.weight and {head}.bias: that says the same."
        )


def without_head(near: Nearest) -> bool:
    """Whether nothing but the head keeps a file from being this architecture."""
    head = head_by_name(near.architecture)
    return near.num_missing == 1 and near.num_left_over == near.num_shapes == 0 and head != ""

"""Which architecture a state dict belongs to, from its names and shapes alone."""

from __future__ import annotations

import dataclasses
import itertools
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from fnkd_core.errors import UserError
from fnkd_core.models.architecture import TIMM, TORCHVISION, ZOO, Architecture, is_zoo
from fnkd_core.models.index import SURPLUS, Shapes, in_order, num_trailing, similar, with_fingerprint, with_order
from fnkd_core.models.recognition.compare import LONGEST, Candidate, Nearest, attempt, best_attempt, module_of
from fnkd_core.models.recognition.folding import is_conv_bias, without_biases
from fnkd_core.models.recognition.layouts import VIEWS, Rules, apply, layouts
from fnkd_core.models.recognition.shapes import MARK, head_by_name, network_shapes, shapes_of

BY_ORDER = "by order"
LEAVES = frozenset(("weight", "bias", "running_mean", "running_var"))


@dataclass(frozen=True)
class Recognition:
    """candidates: likeliest first. nearest: up to 3, only where there is no candidate."""

    candidates: tuple[Candidate, ...]
    nearest: tuple[Nearest, ...]


def recognise(shapes: Shapes, architecture: str | Architecture | None = None) -> Recognition:
    """The architectures that have weights of these names and shapes; K, input and image size are read from them.

    Where no names are known, those that have weights of these shapes in this order. architecture: try this one alone.
    What weights do not show, this cannot see: networks that differ in strides, padding or activations have equal state
    dicts and are all candidates.
    """
    tried: list[Candidate | Nearest] = []
    for attempts in _attempts(shapes, architecture):
        tried += attempts
        candidates = {(c.architecture.name, c.layout): c for c in tried if isinstance(c, Candidate)}
        # A network's own head comes before one that somebody put in its place.
        own = {key: c for key, c in candidates.items() if not c.architecture.replaced} or candidates
        if own:
            return Recognition(tuple(sorted(own.values(), key=_likelihood)), ())
    nearest: dict[str, Nearest] = {}
    for miss in sorted((n for n in tried if isinstance(n, Nearest)), key=_distance):
        nearest.setdefault(miss.architecture, miss)
    return Recognition((), tuple(nearest.values())[:3])


def _attempts(shapes: Shapes, architecture: str | Architecture | None) -> Iterator[Iterator[Candidate | Nearest]]:
    """What may be tried, one after the other: known names, the order of shapes, names that are similar."""
    if isinstance(architecture, Architecture):
        yield iter([attempt(architecture, ("ours", ()), "", shapes, {name: name for name in shapes})])
        architecture = architecture.name
    named = [Architecture(architecture, 1).name] if architecture else []
    views = list(_views(shapes))
    yield _by_names(views, shapes, (lambda _: named) if named else _with_weights_of)
    yield _by_order(shapes, named)
    if not named:
        yield _by_names(views, shapes, _with_names_of)


def _by_names(
    views: list[tuple[str, dict[str, str]]], shapes: Shapes, choose: Callable[[Shapes], list[str]]
) -> Iterator[Candidate | Nearest]:
    for whose, plain in views:
        view = {name: shapes[original] for name, original in plain.items()}
        for name in choose(view):
            for layout in layouts(name):
                yield best_attempt(name, layout, whose, view, plain)


def _by_order(shapes: Shapes, named: list[str]) -> Iterator[Candidate | Nearest]:
    """Attempts that go by no name: the i-th weight of the file is the i-th of the architecture's body."""
    for theirs in (shapes, without_biases(shapes)):
        last = len(in_order(theirs)) - num_trailing(theirs)
        for name in named or [n for n in with_order(theirs) if _installed(n)]:
            ours = network_shapes(name, MARK)
            body, head = len(in_order(ours)) - num_trailing(ours), head_by_name(name)
            if not 0 < last == body:
                continue
            plain = dict(zip(in_order(ours)[:body], in_order(theirs)[:last], strict=True))
            if any(_leaf(a) != _leaf(b) for a, b in plain.items() if {_leaf(a), _leaf(b)} <= LEAVES):
                continue
            places = {module_of(original): module_of(name) for name, original in plain.items()}
            plain |= {
                f"{places[module_of(n)]}.bias": n
                for n in in_order(shapes)
                if n not in theirs and module_of(n) in places
            }
            tail = in_order(theirs)[last:]
            if [len(theirs[n]) for n in tail] == [len(ours[n]) for n in in_order(ours)[body:]]:
                plain |= dict(zip(in_order(ours)[body:], tail, strict=True))
            else:
                plain |= {f"{head}.{n.removeprefix(_common(tail))}": n for n in tail}
            view = {n: shapes[original] for n, original in plain.items()}
            yield best_attempt(name, (BY_ORDER, ()), BY_ORDER, view, plain)


def _common(names: list[str]) -> str:
    """The outermost modules that all these names are in, with the dot after them."""
    first, last = min(names, default="").split("."), max(names, default="").split(".")
    shared = [a for a, b in itertools.takewhile(lambda pair: pair[0] == pair[1], zip(first, last, strict=False))]
    return "".join(f"{part}." for part in shared)


def rename(state: Mapping[str, Tensor], candidate: Candidate) -> dict[str, Tensor]:
    """The weights under our names, in our shapes: what `load_state_dict` takes strictly.

    Batch norms without a count of batches get 0, linear layers without a bias one of zeros, and a batch norm takes in
    the bias of the convolution before it. `UserError` where a left-over scale is not 1 or an offset not 0.
    Their shapes are those of the candidate's network.
    """
    left = set(state) - set(candidate.names.values()) - set(candidate.biases.values())
    for name in sorted(n for n in left if not SURPLUS.search(n)):
        leaf = _leaf(name).rpartition("_")[2]
        if leaf in ("gamma", "weight", "beta", "bias"):
            trivial = 1 if leaf in ("gamma", "weight") else 0
            if not bool((state[name] == trivial).all()):
                raise UserError(
                    f"{name[:LONGEST]} is not {trivial} throughout, and {candidate.architecture.name} has none; "
                    "choose another architecture."
                )
    return {
        name: _value(name, shape, state, candidate)
        for name, shape in shapes_of(candidate.architecture, candidate.image_size).items()
    }


def _value(name: str, shape: tuple[int, ...], state: Mapping[str, Tensor], candidate: Candidate) -> Tensor:
    if name not in candidate.names:
        return torch.zeros(shape, dtype=torch.long if name.endswith("num_batches_tracked") else torch.float32)
    value = state[candidate.names[name]].reshape(shape)
    bias = candidate.biases.get(name)
    return value if bias is None else value - state[bias].to(value.dtype)


def settled(candidate: Candidate, state: Mapping[str, Tensor]) -> Candidate:
    """The candidate with the scale of its cosine head, which is a value and no shape."""
    if candidate.scale is None:
        return candidate
    architecture = dataclasses.replace(candidate.architecture, head="cosine", scale=float(state[candidate.scale]))
    return dataclasses.replace(candidate, architecture=architecture)


def _with_weights_of(view: Shapes) -> list[str]:
    found: list[str] = []
    for known in (view, without_biases(view), {n: s for n, s in view.items() if not is_conv_bias(n, view)}):
        found = found or with_fingerprint(known)
    return [name for name in found or _wide(view) if _installed(name)]


def _with_names_of(view: Shapes) -> list[str]:
    """Those that the index takes for alike; where it sees none, those of the zoo that share most names, counted."""
    return [name for name in similar(view, 4) if _installed(name)] or sorted(ZOO, key=lambda n: -_shared(n, view))[:3]


def _shared(name: str, view: Shapes) -> int:
    return max(sum(apply(rules, n) in view for n in network_shapes(name, MARK)) for _, rules in layouts(name))


def _installed(name: str) -> bool:
    """Whether it can be built here: the index may know models that another version of timm has."""
    try:
        network_shapes(name, MARK)
    except UserError:
        return False
    return True


def _views(shapes: Shapes) -> Iterator[tuple[str, dict[str, str]]]:
    """Whose names, and plain name -> the file's: as it is, and as each table of `VIEWS` reads it, if at all."""
    shared: Rules = ((rf"^{re.escape(_common(in_order(shapes)))}", ""),)
    for whose, rules in (*VIEWS, ("", shared)):
        plain = {apply(rules, name): name for name in shapes}
        if not rules or (len(plain) == len(shapes) and list(plain) != list(shapes)):
            yield whose, plain


def _wide(view: Shapes) -> list[str]:
    """The wide residual network with as many weights and such a head, of whatever depth and width."""
    weights = [shape for name, shape in view.items() if len(shape) in (2, 4) and not SURPLUS.search(name)]
    heads = [shape for shape in weights if len(shape) == 2]
    if len(heads) != 1 or heads[0][1] % 64:
        return []
    # Stem, head, two convolutions a block; shortcuts in two stages where the first keeps 16 channels, else three.
    width = heads[0][1] // 64
    blocks, rest = divmod(len(weights) - (4 if width == 1 else 5), 6)
    name = f"wrn_{6 * blocks + 4}_{width}"
    return [name] if rest == 0 and is_zoo(name) else []


def _leaf(name: str) -> str:
    return name.rpartition(".")[2]


def _likelihood(candidate: Candidate) -> int:
    """A rank: with ImageNet's 1000 classes the libraries' networks first, else the zoo's for small images."""
    name = candidate.architecture.name
    if name.startswith(TORCHVISION):
        return 1
    if name.startswith(TIMM):
        return 2
    return 3 if candidate.architecture.num_classes == 1000 else 0


def _distance(miss: Nearest) -> tuple[int, int]:
    return miss.num_missing + miss.num_left_over, miss.num_shapes

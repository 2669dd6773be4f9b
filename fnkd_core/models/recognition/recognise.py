"""Which architecture a state dict belongs to, from its names and shapes alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import torch
from torch import Tensor

from fnkd_core.errors import UserError
from fnkd_core.models.architecture import TIMM, TORCHVISION, ZOO, Architecture, is_zoo
from fnkd_core.models.index import SURPLUS, Shapes, similar, with_fingerprint
from fnkd_core.models.recognition.layouts import VIEWS, Rules, apply, layouts
from fnkd_core.models.recognition.shapes import MARK, _image_size, _key, _same, network_shapes

SHOWN, LONGEST = 5, 100
"""Keys listed for a near miss, and characters of each: a file's names are not ours to trust."""


@dataclass(frozen=True)
class Candidate:
    """One network that these weights load into strictly.

    names: our name -> the file's. image_size: pixels, where the weights fix it, else None. layout: whose names
    these are, for people.
    """

    architecture: Architecture
    names: Mapping[str, str]
    image_size: int | None
    layout: str


@dataclass(frozen=True)
class Nearest:
    """What keeps a file from being this architecture, in the file's kind of names.

    missing, left_over, shapes: the first of them, of `num_missing`, `num_left_over` and `num_shapes`.
    """

    architecture: str
    layout: str
    missing: tuple[str, ...]
    left_over: tuple[str, ...]
    shapes: tuple[str, ...]
    num_missing: int
    num_left_over: int
    num_shapes: int


@dataclass(frozen=True)
class Recognition:
    """candidates: likeliest first. nearest: up to 3, only where there is no candidate."""

    candidates: tuple[Candidate, ...]
    nearest: tuple[Nearest, ...]


def recognise(shapes: Shapes, architecture: str | None = None) -> Recognition:
    """The architectures that have weights of these names and shapes; K, input and image size are read from them.

    architecture: try this name alone. What weights do not show, this cannot see: networks that differ in
    strides, padding or activations have equal state dicts and are all candidates.
    """
    views = list(_views(shapes))
    named = [Architecture(architecture, 1).name] if architecture else []
    tried: list[Candidate | Nearest] = []
    for choose in (lambda _: named,) if named else (_with_weights_of, _with_names_of):
        for whose, plain in views:
            view = {name: shapes[original] for name, original in plain.items()}
            for name in choose(view):
                tried += [_attempt(name, layout, whose, view, plain) for layout in layouts(name)]
        candidates = {(c.architecture.name, c.layout): c for c in tried if isinstance(c, Candidate)}
        if candidates:
            return Recognition(tuple(sorted(candidates.values(), key=_likelihood)), ())
    nearest: dict[str, Nearest] = {}
    for miss in sorted((n for n in tried if isinstance(n, Nearest)), key=_distance):
        nearest.setdefault(miss.architecture, miss)
    return Recognition((), tuple(nearest.values())[:3])


def rename(state: Mapping[str, Tensor], candidate: Candidate) -> dict[str, Tensor]:
    """The weights under our names, in our shapes: what `load_state_dict` takes strictly.

    Batch norms without a count of batches get 0. `UserError` where a left-over scale is not 1 or an offset not 0.
    """
    left = set(state) - set(candidate.names.values())
    for name in sorted(n for n in left if not SURPLUS.search(n)):
        leaf = name.rpartition(".")[2].rpartition("_")[2]
        if leaf in ("gamma", "weight", "beta", "bias"):
            trivial = 1 if leaf in ("gamma", "weight") else 0
            if not bool((state[name] == trivial).all()):
                raise UserError(
                    f"{name[:LONGEST]} is not {trivial} throughout, and {candidate.architecture.name} has none; "
                    "choose another architecture."
                )
    wanted = network_shapes(*_key(candidate.architecture), candidate.image_size)
    return {
        name: state[candidate.names[name]].reshape(shape)
        if name in candidate.names
        else torch.zeros(shape, dtype=torch.long)
        for name, shape in wanted.items()
    }


def _with_weights_of(view: Shapes) -> list[str]:
    return [name for name in with_fingerprint(view) or _wide(view) if _installed(name)]


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
    for whose, rules in VIEWS:
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


def _attempt(
    name: str, layout: tuple[str, Rules], whose: str, view: Shapes, plain: Mapping[str, str]
) -> Candidate | Nearest:
    """Strict comparison of this view of the file with this architecture in this layout."""
    marked = network_shapes(name, MARK)
    theirs = {ours: apply(layout[1], ours) for ours in marked}
    seen = {ours: view.get(other, ()) for ours, other in theirs.items()}
    heads = [seen[n] for n, shape in marked.items() if len(shape) > 1 and shape[0] == MARK]
    stems = [seen[n] for n, shape in marked.items() if len(shape) == 4 and shape[1] == 3]
    classes = heads[-1][0] if heads and heads[-1] else MARK
    channels = stems[0][1] if stems and len(stems[0]) == 4 else 3
    size = _image_size(name, marked, seen)
    architecture = Architecture(name, max(1, classes), max(1, channels))
    try:
        wanted = network_shapes(*_key(architecture), size)
    except (UserError, RuntimeError):
        # No such network, or sizes whose product is no number of bytes.
        wanted = marked
    missing = [t for o, t in theirs.items() if t not in view and not o.endswith("num_batches_tracked")]
    wrong = [
        f"{t[:LONGEST]} {view[t]} instead of {wanted[o]}"
        for o, t in theirs.items()
        if t in view and not _same(view[t], wanted[o])
    ]
    # The scale and offset of a batch norm that has none with us; `rename` sees whether they do anything.
    spare = {t.replace("running_mean", leaf) for t in theirs.values() for leaf in ("weight", "bias")}
    known = {*theirs.values(), *spare}
    left = [n for n in view if n not in known and not SURPLUS.search(n)]
    if missing or wrong or left:
        return Nearest(
            architecture=name,
            layout=whose or layout[0],
            missing=tuple(n[:LONGEST] for n in missing[:SHOWN]),
            left_over=tuple(n[:LONGEST] for n in left[:SHOWN]),
            shapes=tuple(wrong[:SHOWN]),
            num_missing=len(missing),
            num_left_over=len(left),
            num_shapes=len(wrong),
        )
    names = {ours: plain[t] for ours, t in theirs.items() if t in view}
    return Candidate(architecture, MappingProxyType(names), size, whose or layout[0])


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

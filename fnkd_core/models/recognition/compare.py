"""A file compared with one architecture: what keeps it from being that, or where each of its weights belongs."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from fnkd_core.errors import UserError
from fnkd_core.models.architecture import Architecture
from fnkd_core.models.index import SURPLUS, Shapes
from fnkd_core.models.recognition.folding import is_conv_bias, norms_after
from fnkd_core.models.recognition.heads import new_heads
from fnkd_core.models.recognition.layouts import Rules, apply
from fnkd_core.models.recognition.shapes import MARK, _image_size, _same, head_by_name, network_shapes, shapes_of

SHOWN, LONGEST = 5, 100
"""Keys listed for a near miss, and characters of each: a file's names are not ours to trust."""


@dataclass(frozen=True)
class Candidate:
    """One network that these weights load into strictly.

    names: our name -> the file's. image_size: pixels, where the weights fix it, else None. layout: whose names
    these are, for people; `BY_ORDER` where the names say nothing and weights were told by their shapes, in order.
    biases: our running mean -> the file's bias of the convolution before it, where our convolution has none.
    without_bias: our linear layers that have none in the file. scale: the file's name for a cosine head's.
    """

    architecture: Architecture
    names: Mapping[str, str]
    image_size: int | None
    layout: str
    biases: Mapping[str, str] = field(default_factory=dict)
    without_bias: tuple[str, ...] = ()
    scale: str | None = None


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


def best_attempt(
    name: str, layout: tuple[str, Rules], whose: str, view: Shapes, plain: Mapping[str, str]
) -> Candidate | Nearest:
    """With the architecture's own head, else with one that somebody put in its place."""
    own = attempt(Architecture(name, MARK), layout, whose, view, plain)
    if isinstance(own, Candidate) or not (head := head_by_name(name)):
        return own
    for new in new_heads(head, network_shapes(name, MARK), lambda n: apply(layout[1], n), view):
        found = attempt(Architecture(name, MARK, replaced=new.replaced), layout, whose, view, plain, new.names)
        if isinstance(found, Candidate):
            return found
    return own


def attempt(
    architecture: Architecture,
    layout: tuple[str, Rules],
    whose: str,
    view: Shapes,
    plain: Mapping[str, str],
    head_names: Mapping[str, str] = MappingProxyType({}),
) -> Candidate | Nearest:
    """Strict comparison of this view of the file with this architecture in this layout.

    architecture: how many classes and channels it has is read from the file. head_names: ours -> theirs where a head is
    called otherwise than the layout says.
    """
    name, replaced = architecture.name, architecture.replaced
    marked = network_shapes(name, MARK, replaced=replaced)
    head = head_by_name(name, replaced)
    theirs = {ours: head_names.get(ours) or apply(layout[1], ours) for ours in marked}
    seen = {ours: view.get(other, ()) for ours, other in theirs.items()}
    stems = [seen[n] for n, shape in marked.items() if len(shape) == 4 and shape[1] == 3]
    classes = (seen.get(f"{head}.weight") or (MARK,))[0]
    channels = stems[0][1] if stems and len(stems[0]) == 4 else 3
    size = _image_size(name, marked, seen)
    architecture = dataclasses.replace(architecture, num_classes=max(1, classes), in_channels=max(1, channels))
    try:
        wanted = shapes_of(architecture, size)
    except (UserError, RuntimeError):
        # No such network, or sizes whose product is no number of bytes.
        wanted = marked
    without_bias = tuple(o for o, t in theirs.items() if t not in view and _is_linear_bias(o, marked) and o in wanted)
    absent = {o for o, t in theirs.items() if t not in view and not o.endswith("num_batches_tracked")}
    missing = [theirs[o] for o in wanted if o in absent and o not in without_bias]
    wrong = [
        f"{t[:LONGEST]} {view[t]} instead of {wanted[o]}"
        for o, t in theirs.items()
        if t in view and o in wanted and not _same(view[t], wanted[o])
    ]
    # The scale and offset of a batch norm that has none with us; `rename` sees whether they do anything.
    spare = {t.replace("running_mean", leaf) for t in theirs.values() for leaf in ("weight", "bias")}
    scale = theirs[f"{head}.weight"].removesuffix("weight") + "scale" if head else ""
    scale = scale if view.get(scale, (0,)) == () and f"{head}.bias" in absent else ""
    known = {*theirs.values(), *spare, scale}
    left = [n for n in view if n not in known and not SURPLUS.search(n)]
    biases = _folded(architecture, size, theirs, left, view) if left and not missing and not wrong else {}
    left = [n for n in left if n not in biases.values()]
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
    return Candidate(
        architecture,
        MappingProxyType({ours: plain[t] for ours, t in theirs.items() if t in view}),
        size,
        whose or layout[0],
        MappingProxyType({ours: plain[t] for ours, t in biases.items()}),
        without_bias,
        plain[scale] if scale else None,
    )


def _is_linear_bias(name: str, shapes: Shapes) -> bool:
    module, _, leaf = name.rpartition(".")
    return leaf == "bias" and len(shapes.get(f"{module}.weight", ())) == 2


def _folded(
    architecture: Architecture, size: int | None, theirs: Mapping[str, str], left: list[str], view: Shapes
) -> dict[str, str]:
    """Our running mean -> their bias of the convolution before it, for the biases among what is left over."""
    ours = {other: name for name, other in theirs.items()}
    found = {}
    for bias in left:
        conv = module_of(ours.get(f"{module_of(bias)}.weight", ""))
        norm = norms_after(architecture, size).get(conv) if conv and is_conv_bias(bias, view) else None
        if norm is not None and view[bias] == view.get(theirs.get(f"{norm}.running_mean", "")):
            found[f"{norm}.running_mean"] = bias
    return found


def module_of(name: str) -> str:
    """The module that a weight belongs to."""
    return name.rpartition(".")[0]

"""Which head a file has where somebody replaced the network's own, from its names and shapes. No torch."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from fnkd_core.models.index import SURPLUS, Shapes

Leaves = dict[str, tuple[int, ...]]


@dataclass(frozen=True)
class NewHead:
    """replaced: as in `Architecture`; () where the layer is the network's own by another name. names: ours -> theirs.

    The activation of a hidden layer does not show in a file: `relu` stands wherever there is room for one.
    """

    replaced: tuple[str, ...]
    names: dict[str, str]


def new_heads(head: str, own: Shapes, theirs: Callable[[str], str], view: Shapes) -> Iterator[NewHead]:
    """The heads that the file may have in the place of ours, each put in a module further out than the one before.

    head: our head's module. own: our names and shapes. theirs: from our name to the file's. view: the file's.
    """
    parts = head.split(".")
    for place in (".".join(parts[:i]) for i in range(len(parts), 0, -1)):
        inside = {name: shape for name, shape in own.items() if name.startswith(f"{place}.")}
        width = next((shape[1] for shape in inside.values() if len(shape) == 2), None)
        before = theirs(f"{place}.")
        modules: dict[str, Leaves] = {}
        for name, shape in view.items():
            if name.startswith(before) and not SURPLUS.search(name):
                module, _, leaf = name.removeprefix(before).rpartition(".")
                modules.setdefault(module, {})[leaf] = shape
        if width is None or (found := _layers(modules, width)) is None:
            continue
        order, words = found
        names = {
            f"{f'{place}.{i}' if words else place}.{leaf}": f"{before}{module}.{leaf}" if module else f"{before}{leaf}"
            for i, module in zip(_places(words), order, strict=True)
            for leaf in modules[module]
        }
        if words or not all(name.startswith(f"{head}.") for name in inside):
            yield NewHead((place, *words), names)
        else:
            yield NewHead((), {f"{head}.{name.rpartition('.')[2]}": other for name, other in names.items()})


def _places(words: Sequence[str]) -> list[int]:
    """Where layers with weights stand among the words, and last the head."""
    with_weights = ("linear", "batchnorm", "layernorm")
    return [i for i, word in enumerate(words) if word.startswith(with_weights)] + [len(words)]


def _layers(modules: dict[str, Leaves], width: int) -> tuple[list[str], tuple[str, ...]] | None:
    """The modules in order, and the layers before the head in words; None where they are no head for this width."""
    numbered = all(module.isdecimal() for module in modules)
    order = sorted(modules, key=int) if numbered else list(modules)
    words: list[str] = []
    waiting, kind = False, ""
    for i, module in enumerate(order):
        layer = _layer(modules[module], width)
        if layer is None:
            return None
        kind, width = layer
        # An activation has a number and no weights: it stands where a number is left out, once after a linear layer.
        room = i > 0 and int(module) > int(order[i - 1]) + 1 if numbered else kind == "linear"
        if waiting and room:
            words.append("relu")
            waiting = False
        if kind != "linear":
            words.append(kind)
        elif i < len(order) - 1:
            words.append(f"linear {width}")
            waiting = True
    return (order, tuple(words)) if kind == "linear" else None


def _layer(leaves: Leaves, width: int) -> tuple[str, int] | None:
    """(kind, width of what comes out) of a layer that takes features of this width; None for any other."""
    weight = leaves.get("weight", ())
    if {"weight"} <= set(leaves) <= {"weight", "bias", "scale"} and len(weight) in (2, 4):
        fits = weight[1:] in ((width,), (width, 1, 1)) and leaves.get("bias", weight[:1]) == weight[:1]
        return ("linear", weight[0]) if fits and leaves.get("scale", ()) == () else None
    if any(shape != (width,) for shape in leaves.values()):
        return None
    kinds = {"bias weight": "layernorm", "bias running_mean running_var weight": "batchnorm"}
    kind = kinds.get(" ".join(sorted(leaves)))
    return (kind, width) if kind else None

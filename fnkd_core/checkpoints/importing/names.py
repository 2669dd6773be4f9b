"""Names of weights without what was put before and beside them: wrappers, losses, metrics, normalisation."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from torch import Tensor

from fnkd_core.checkpoints.importing.formats import PARTS, shown

# What DataParallel, torch.compile, Lightning modules and the like put before most names or all. `network.` and
# `encoder.` are not among them: there are architectures most of whose own names begin so.
PREFIXES = ("module", "_orig_mod", "model", "net", "backbone", "base_model", "_module", "_forward_module")
LISTED = 4
"""So many names of what was let go are shown."""

_MEASURES = re.compile(
    r"(train|val|valid|test)_\w+|(\w+_)?(criterion|loss|loss_fn|losses|metrics?|acc|accuracy|auroc|confmat)(_\w+)?",
    re.I,
)
"""Modules of this name are losses and metrics."""
_NORMALISATION = re.compile(r"(?:(?P<layer>.+)\.)?(?:_|new_|image_|pixel_)?(?P<value>mean|std)")


@dataclass
class Names:
    """state: the network's names and tensors. prefixes: taken off, outermost first. let_go: names of what is none of
    the network's. mean, std: per channel, white is 1, of the normalisation `layer`; empty without one."""

    state: dict[str, Tensor]
    prefixes: list[str] = field(default_factory=list)
    let_go: list[str] = field(default_factory=list)
    layer: str = ""
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()


def plain_names(state: Mapping[str, Tensor]) -> Names:
    """The network's own names in a state dict, and what else was in it. Something always remains."""
    names = Names(dict(state))
    _take_normalisation(names)
    _let_go(names, [k for k in names.state if _MEASURES.fullmatch(k.partition(".")[0])])
    while prefix := _wrapper(names.state):
        outside = [k for k in names.state if not k.startswith(prefix)]
        gone = _not_of_a_network({k: names.state[k] for k in outside})
        bare = [k.removeprefix(prefix) for k in names.state if k not in gone]
        if len(set(bare)) < len(bare):
            break
        _let_go(names, gone)
        names.prefixes.append(prefix)
        names.state = {k.removeprefix(prefix): v for k, v in names.state.items()}
        _let_go(names, [k for k in names.state if _MEASURES.fullmatch(k.partition(".")[0])])
    return names


def most_common_prefix(state: Mapping[str, Tensor]) -> str:
    """What most names begin with, up to the first dot; "" where there is nothing. It may belong to the architecture."""
    counts = Counter(k.partition(".")[0] + "." for k in state if "." in k)
    first, count = next(iter(counts.most_common(1)), ("", 0))
    return first if 2 * count > len(state) and len({k.removeprefix(first) for k in state}) == len(state) else ""


def without_common_prefix(state: Mapping[str, Tensor]) -> dict[str, Tensor] | None:
    """The state without what most of its names begin with; None where there is nothing.

    The tensors are the same ones.
    """
    prefix = most_common_prefix(state)
    return {k.removeprefix(prefix): v for k, v in state.items()} if prefix else None


def twins(state: Mapping[str, Tensor]) -> list[str]:
    """First parts of names under which the same network stands twice or more, each time in a third of all names.

    An average beside the network it is of, a momentum encoder, a teacher of the student's kind. [] where none does.
    """
    inside: dict[str, list[tuple[str, tuple[int, ...]]]] = {}
    for key, value in state.items():
        first, _, rest = key.partition(".")
        inside.setdefault(first, []).append((rest, tuple(value.shape)))
    large = {first: sorted(names) for first, names in inside.items() if 3 * len(names) >= len(state) and len(names) > 1}
    return [first for first in large if list(large.values()).count(large[first]) > 1]


def _wrapper(state: Mapping[str, Tensor]) -> str:
    """A prefix that is a wrapper's: a known one of most names, or any of all names that leaves modules' names."""
    prefix = most_common_prefix(state)
    word = prefix.rstrip(".")
    if not prefix or word in PARTS:
        return ""
    every = all(k.startswith(prefix) and "." in k.removeprefix(prefix) for k in state)
    return prefix if word in PREFIXES or every else ""


def _not_of_a_network(state: Mapping[str, Tensor]) -> list[str]:
    """Names in modules without a matrix of weights that are not norms: counters, tables, classes' weights in a loss."""
    modules: dict[str, dict[str, Tensor]] = {}
    for key, value in state.items():
        modules.setdefault(key.partition(".")[0], {})[key] = value
    return [
        key
        for module in modules.values()
        if not any(v.dim() >= 2 and v.is_floating_point() for v in module.values())
        and not {"weight", "bias"} <= {k.rpartition(".")[2] for k in module}
        for key in module
    ]


def _let_go(names: Names, keys: list[str]) -> None:
    if keys and len(keys) < len(names.state):
        names.let_go += keys
        names.state = {k: v for k, v in names.state.items() if k not in set(keys)}


def _take_normalisation(names: Names) -> None:
    """Take out layers that hold the mean and standard deviation of images and nothing else; the first counts."""
    layers: dict[str, dict[str, str]] = {}
    for key in names.state:
        if match := _NORMALISATION.fullmatch(key):
            layers.setdefault(match["layer"] or "", {})[match["value"]] = key
    for layer, keys in layers.items():
        beside = {f"{layer}.{own}" if layer else own for own in ("weight", "bias", "running_mean")}
        if len(keys) < 2 or beside & names.state.keys() or len(names.state) == 2:
            continue
        mean, std = (_channels(names.state[keys[value]]) for value in ("mean", "std"))
        if mean and max(mean) > 1 and min(std, default=0) > 1:
            mean, std = tuple(m / 255 for m in mean), tuple(s / 255 for s in std)
        if len(mean) == len(std) > 0 and all(0 <= m <= 1 for m in mean) and all(0 < s <= 1 for s in std):
            if not names.mean:
                names.layer, names.mean, names.std = shown(layer or "mean, std"), mean, std
            names.state = {k: v for k, v in names.state.items() if k not in keys.values()}


def _channels(value: Tensor) -> tuple[float, ...]:
    """A value for each channel of an image; () where it is no such tensor."""
    plain = value.is_floating_point() and 0 < value.numel() <= 4 and not value.is_meta
    return tuple(float(v) for v in value.detach().float().flatten()) if plain else ()

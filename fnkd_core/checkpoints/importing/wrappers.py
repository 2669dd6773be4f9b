"""The weights in what people put around them: training states, distillers, wrappers of modules."""

from __future__ import annotations

import math
from argparse import Namespace
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from fnkd_core.checkpoints.importing.formats import MAX_TENSORS, PARTS, check_name, shown
from fnkd_core.checkpoints.importing.names import LISTED, plain_names, twins
from fnkd_core.checkpoints.importing.standins import Dropped
from fnkd_core.checkpoints.importing.tree import Network, Tree, is_average
from fnkd_core.errors import UserError, require

OPTIONS = ("opt", "args", "hyper_parameters", "config", "cfg")
MAX_FACTS = 64
MAX_CLASSES = 50_000
FEW = 4
"""Beside a network of so many named modules or more, a dictionary with fewer is none."""

_NAMES_OF_CLASSES = ("class_to_idx", "idx_to_class", "classes", "class_names", "label2id", "id2label", "label_names")


@dataclass
class Peeled:
    """state: names and tensors in the file's order. wrapper: what lay around them. facts: scalars beside them.

    notes: level and text of what was let go and decided. classes: names in the order of the outputs, where the file
    has them under `classes_from`. layer, mean, std: of a normalisation layer in front of the network.
    """

    state: dict[str, Tensor]
    wrapper: str = ""
    facts: dict[str, str | float | int] = field(default_factory=dict)
    ema: bool = False
    notes: list[tuple[str, str]] = field(default_factory=list)
    classes: list[str] = field(default_factory=list)
    classes_from: str = ""
    layer: str = ""
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()


def peel(loaded: object, name: str, *, prefer_ema: bool = False, part: str | None = None) -> Peeled:
    """The weights in what a file held. name: the file's, for errors.

    part: which network, where there are several: its path in the tree, a key or a word of a key of that, or
    what its names begin with; of a distiller the student is the default. `UserError` where there are no weights, not
    the part that was asked for, or several that might be meant.
    """
    tree = Tree()
    tree.search(loaded)
    notes: list[tuple[str, str]] = []
    network = _chosen(_networks(tree, name, notes), name, prefer_ema, part, notes)
    require(
        len(network.state) <= MAX_TENSORS,
        f"{name} has {len(network.state)} tensors, at most {MAX_TENSORS} are read; save the network alone.",
    )
    for key in network.state:
        check_name(key, name)
    if tree.dropped:
        notes.append(("good", f"Left behind, nothing of it was run or kept: {_listed(sorted(tree.dropped))}."))
    level = network.levels[-1]
    strange = [
        f"{shown(str(k), 60)} ({v.name if isinstance(v, Dropped) else type(v).__name__})"
        for k, v in level.items()
        if isinstance(v, Dropped | dict | list | tuple | set)
    ]
    if strange:
        notes.append(("warning", f"Left out of the weights, for they are no tensors: {_listed(strange)}."))
    facts: dict[str, str | float | int] = {}
    for around in network.levels:
        facts |= {k: v for k, v in plain_facts(around).items() if k not in facts and k not in network.state}
    peeled = Peeled(network.state, facts=dict(list(facts.items())[:MAX_FACTS]), ema=network.ema, notes=notes)
    wrapper = [*network.path, *_plain(peeled)]
    _take_part(peeled, name, None if part is None or network.called(part) else part, prefer_ema, wrapper)
    peeled.wrapper = ", ".join(wrapper)
    peeled.classes_from, peeled.classes = next(class_names(network.levels), ("", []))
    return peeled


def _networks(tree: Tree, name: str, notes: list[tuple[str, str]]) -> list[Network]:
    """What may be meant by the network in this file, without heads and tables of numbers beside it."""
    if not tree.networks:
        problem = f"{name} holds no state_dict of tensors"
        if tree.dropped:
            problem += f", but {_listed(sorted(tree.dropped))}, of which nothing is run or read"
        elif tree.optimizer:
            problem = f"{name} holds an optimizer's state and no network"
        raise UserError(f"{problem}; save the network's state_dict.")
    matrices = [n for n in tree.networks if any(v.dim() > 1 and v.is_floating_point() for v in n.state.values())]
    found = matrices or tree.networks
    large = [n for n in found if n.modules >= FEW] or found
    if beside := [f"{n.name} ({len(n.state)})" for n in found if n not in large]:
        notes.append(("good", f"Tensors beside the network were not taken: {_listed(beside)}."))
    return large


def _chosen(
    networks: list[Network], name: str, prefer_ema: bool, part: str | None, notes: list[tuple[str, str]]
) -> Network:
    """The one network that is meant. `UserError` that names them where several might be."""
    if part is not None:
        best = max(network.called(part) for network in networks)
        networks = [n for n in networks if n.called(part) == best]
    averaged, plain = [n for n in networks if n.ema], [n for n in networks if not n.ema]
    left = (averaged or plain) if prefer_ema else (plain or averaged)
    same = [n for n in left if n is left[0] or n.equals(left[0])]
    if len(same) == len(left) > 1:
        notes.append(
            ("good", f"The same weights stand in the file {len(same)} times: {_listed([n.name for n in same])}.")
        )
    elif len(left) > 1:
        names = [f"{n.name} ({len(n.state)} tensors)" for n in left]
        raise UserError(
            f"{name} holds {len(left)} networks: {_listed(names)}; choose one as the part (--part {left[0].name})."
        )
    if left[0].ema and not prefer_ema and part is None:
        notes.append(("warning", "The file has averaged (EMA) weights alone; they were taken."))
    return left[0]


def _plain(peeled: Peeled) -> list[str]:
    """Make the names plain, note what was let go, and say which prefixes were taken off."""
    names = plain_names(peeled.state)
    peeled.state = names.state
    if names.let_go:
        text = f"Let go, for they are no part of a network that classifies: {_listed(names.let_go)}."
        peeled.notes.append(("good", text))
    if names.mean:
        peeled.layer, peeled.mean, peeled.std = names.layer, names.mean, names.std
    return [f"prefix {prefix}" for prefix in names.prefixes]


def _take_part(peeled: Peeled, name: str, part: str | None, prefer_ema: bool, wrapper: list[str]) -> None:
    """Take one network out of several under one another's names: what is asked for, the student, no average.

    `UserError` where there is no such part, or several might be meant.
    """
    present = [p for p in PARTS if any(k.startswith(f"{p}.") for k in peeled.state)]
    several = present or twins(peeled.state)
    asked = part is not None and any(k.startswith(f"{part}.") for k in peeled.state)
    require(
        part is None or asked,
        f"{name} holds no {shown(str(part), 40)}; leave the part out"
        + (f", or ask for {several[0]}." if several else "."),
    )
    if part is not None:
        taken = part
    elif not several:
        return
    elif present:
        taken = present[0]
    else:
        fitting = [p for p in several if is_average(p) == prefer_ema]
        require(
            len(fitting) == 1,
            f"{name} holds {len(several)} networks: {_listed(several)}; choose one as the part (--part {several[0]}).",
        )
        taken = fitting[0]
    wrapper.append(f"prefix {taken}.")
    others = [p for p in several if p != taken]
    if part is None and others:
        text = f"The file holds {_listed(others)} too; {taken} was taken (--part {others[0]} takes the other)."
        peeled.notes.append(("warning", text))
    peeled.ema |= is_average(taken)
    peeled.state = {k.removeprefix(f"{taken}."): v for k, v in peeled.state.items() if k.startswith(f"{taken}.")}
    wrapper += _plain(peeled)


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - LISTED} more" if len(names) > LISTED else ""
    return ", ".join(shown(name) for name in names[:LISTED]) + more


def class_names(levels: tuple[Mapping[Any, Any], ...]) -> Iterator[tuple[str, list[str]]]:
    """Class names in the order of the outputs, with the key under which they stand: the innermost first."""
    for level in reversed(levels):
        beside = [vars(v) if isinstance(v, Namespace) else v for k, v in level.items() if k in OPTIONS]
        for place in (level, *(v for v in beside if isinstance(v, dict))):
            for key in _NAMES_OF_CLASSES:
                if names := in_order(place.get(key)):
                    yield key, names


def in_order(value: object) -> list[str]:
    """Class names in the order of the outputs: of a list, or a dict from names to numbers or back; [] otherwise."""
    if isinstance(value, dict):
        pairs = [(v, k) if isinstance(v, int) else (int(k), v) for k, v in value.items() if _numbered(k, v)]
        value = [name for _, name in sorted(pairs)] if [i for i, _ in sorted(pairs)] == list(range(len(value))) else ()
    if not isinstance(value, list | tuple) or not 2 <= len(value) <= MAX_CLASSES:
        return []
    plain = all(isinstance(name, str) and 0 < len(name) <= 200 and name.isprintable() for name in value)
    return list(value) if plain and len(set(value)) == len(value) else []


def _numbered(key: object, value: object) -> bool:
    if isinstance(value, int):
        return isinstance(key, str)
    return isinstance(value, str) and (
        isinstance(key, int) or (isinstance(key, str) and key.isdecimal() and len(key) < 9)
    )


def plain_facts(level: Mapping[Any, Any], before: str = "") -> dict[str, str | float | int]:
    """The plain scalars of a dict, and of the options in it, each of a size that people read."""
    found: dict[str, str | float | int] = {}
    for key, value in level.items():
        if isinstance(value, Namespace):
            value = vars(value)
        if isinstance(value, dict) and key in OPTIONS and not before:
            found |= plain_facts(value, f"{key}.")
            continue
        if isinstance(value, Tensor) and value.dim() == 0 and not value.is_meta:
            value = value.item()
        readable = (
            (isinstance(value, str) and len(value) <= 200 and value.isprintable())
            or (isinstance(value, int) and abs(value) < 1 << 63)
            or (isinstance(value, float) and math.isfinite(value))
        )
        if readable and isinstance(key, str) and 0 < len(before + key) <= 64 and key.isprintable():
            found[before + key] = value
    return dict(list(found.items())[:MAX_FACTS])

"""The weights in what people put around them: training states, distillers, wrappers of modules."""

from __future__ import annotations

import math
from argparse import Namespace
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from fnkd_core.checkpoints.importing.formats import MAX_TENSORS, PARTS, check_name
from fnkd_core.errors import UserError, require

EMA = ("state_dict_ema", "model_ema", "params_ema")
WEIGHTS = ("state_dict", "model", "net", "network", "params")
OPTIONS = ("opt", "args", "hyper_parameters")
# What DataParallel, torch.compile, Lightning modules and the like put before every name.
PREFIXES = ("module.", "_orig_mod.", "model.", "net.", "network.", "backbone.")
MAX_DEPTH = 8
MAX_FACTS = 64


@dataclass
class Peeled:
    """state: names and tensors in the file's order. wrapper: what lay around them. facts: scalars beside them."""

    state: dict[str, Tensor]
    wrapper: str = ""
    facts: dict[str, str | float | int] = field(default_factory=dict)
    ema: bool = False


def peel(loaded: object, name: str, *, prefer_ema: bool = False, part: str | None = None) -> Peeled:
    """The weights in what a file held. name: the file's, for errors.

    part: the student (default) or the teacher, where both were saved as one distiller. `UserError` where there
    are no weights, or not the part that was asked for.
    """
    around: list[str] = []
    facts: dict[str, str | float | int] = {}
    ema = False
    level = loaded
    for _ in range(MAX_DEPTH):
        inner = _inner(level, EMA + WEIGHTS if prefer_ema else WEIGHTS + EMA)
        if inner is None or not isinstance(level, dict):
            break
        facts = plain_facts(level) | facts
        ema |= inner in EMA
        around.append(inner)
        level = level[inner]
    problem = f"{name} holds no state_dict of tensors; save the network's state_dict."
    if not isinstance(level, dict):
        raise UserError(problem)
    state = {k: v for k, v in level.items() if isinstance(v, Tensor)}
    strange = [k for k, v in level.items() if k not in state and not isinstance(v, str | int | float)]
    require(bool(state) and len(state) <= MAX_TENSORS and not strange, problem)
    facts = plain_facts({k: v for k, v in level.items() if k not in state}) | facts
    for key in state:
        check_name(key, name)
    state = _without_prefixes(state, around)
    present = [p for p in PARTS if any(k.startswith(f"{p}.") for k in state)]
    require(
        part is None or part in present,
        f"{name} holds no {part}; leave the part out" + (f", or ask for {present[0]}." if present else "."),
    )
    if present:
        taken = part or present[0]
        around.append(f"prefix {taken}.")
        state = {k.removeprefix(f"{taken}."): v for k, v in state.items() if k.startswith(f"{taken}.")}
        state = _without_prefixes(state, around)
    return Peeled(state, ", ".join(around), facts, ema)


def _inner(level: object, keys: tuple[str, ...]) -> str | None:
    if not isinstance(level, dict):
        return None
    for key in keys:
        inner = level.get(key)
        if isinstance(inner, dict) and any(isinstance(v, Tensor | dict) for v in inner.values()):
            return key
    return None


def _without_prefixes(state: dict[str, Tensor], around: list[str]) -> dict[str, Tensor]:
    # AveragedModel counts its updates beside the module it wraps.
    if "n_averaged" in state and all(k == "n_averaged" or k.startswith("module.") for k in state):
        state = {k: v for k, v in state.items() if k != "n_averaged"}
    while prefix := next((p for p in PREFIXES if state and all(k.startswith(p) for k in state)), None):
        around.append(f"prefix {prefix}")
        state = {k.removeprefix(prefix): v for k, v in state.items()}
    return state


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

"""The networks among the objects that a file held: dictionaries of names to tensors, wherever they lie."""

from __future__ import annotations

import re
from argparse import Namespace
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from fnkd_core.checkpoints.importing.formats import shown
from fnkd_core.checkpoints.importing.standins import Dropped, StandIn

MAX_DEPTH = 8
MAX_VALUES = 200_000
"""So many dictionaries and lists are looked into."""
_EMA = re.compile(r"(.*_)?(ema|swa|averaged)(_.*)?", re.I)
"""Under such keys lie averages over the training."""
_NO_NETWORK = re.compile(
    r"(.*_)?[Oo]ptim(izers?)?(_.*|[A-Z\d]\w*)?|(.*_)?(lr_)?(schedulers?|scaler|rng|callbacks|loops)(_.*)?"
)

Levels = tuple[Mapping[Any, Any], ...]


@dataclass(frozen=True)
class Network:
    """One dictionary of names to tensors. path: its keys in the tree. levels: the dictionaries down to it."""

    path: tuple[str, ...]
    levels: Levels
    state: dict[str, Tensor]

    @property
    def name(self) -> str:
        """How `--part` calls it."""
        return shown(".".join(self.path), 120) or "."

    @property
    def ema(self) -> bool:
        """Whether these are averages over the training."""
        return any(map(is_average, self.path))

    @property
    def modules(self) -> int:
        """How many names have a module's name in them."""
        return sum("." in key for key in self.state if isinstance(key, str))

    def called(self, part: str) -> int:
        """How well this is what `part` means: 3 by its path, 2 by a key, 1 by a word of a key, 0 not."""
        if part == self.name:
            return 3
        return 2 if part in self.path else int(any(part in key.split("_") for key in self.path))

    def equals(self, other: Network) -> bool:
        """Whether both hold the same values. What claims more than it holds is never the same."""
        return self.state.keys() == other.state.keys() and all(
            _held(v) and _held(other.state[k]) and v.dtype == other.state[k].dtype and v.equal(other.state[k])
            for k, v in self.state.items()
        )


def is_average(key: str) -> bool:
    """Whether what stands under this key is an average over the training."""
    return _EMA.fullmatch(key) is not None


def _held(value: Tensor) -> bool:
    dense = not value.is_nested and value.layout == torch.strided and value.device.type == "cpu"
    return dense and value.numel() * value.element_size() <= value.untyped_storage().nbytes()


@dataclass
class Tree:
    """What a search found: networks in the file's order, names of what was dropped, whether there is an optimizer."""

    networks: list[Network] = field(default_factory=list)
    dropped: set[str] = field(default_factory=set)
    optimizer: bool = False
    _looked_into: int = 0

    def search(self, value: object, path: tuple[str, ...] = (), levels: Levels = ()) -> None:
        """Look through these objects. Optimizers have tensors too, and are no networks."""
        if isinstance(value, StandIn | Dropped):
            self.dropped.add(value.name)
        value = vars(value) if isinstance(value, Namespace) else value
        if self._looked_into > MAX_VALUES or len(path) > MAX_DEPTH or any(value is level for level in levels):
            return
        items: Iterable[tuple[Any, Any]] = ()
        if isinstance(value, dict):
            if "param_groups" in value and "state" in value:
                self.optimizer = True
                return
            state = {k: v for k, v in value.items() if isinstance(v, Tensor)}
            levels = (*levels, value)
            if any(isinstance(k, str) and v.is_floating_point() and v.dim() for k, v in state.items()):
                self.networks.append(Network(path, levels, state))
            items = value.items()
        elif isinstance(value, list | tuple | set):
            items = enumerate(value)
        else:
            return
        self._looked_into += 1
        for key, item in items:
            if isinstance(key, str | int) and not _NO_NETWORK.fullmatch(str(key)[:80]):
                self.search(item, (*path, str(key)), levels)
            elif isinstance(item, dict):
                self.optimizer = True

"""Heads that others put in the place of a network's own: layers and, last, the linear layer that is the head."""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

from fnkd_core.errors import UserError
from fnkd_core.models.architecture import Architecture

MODULES: dict[str, Callable[[int], nn.Module]] = {
    "batchnorm": nn.BatchNorm1d,
    "layernorm": nn.LayerNorm,
    "relu": lambda _: nn.ReLU(),
    "gelu": lambda _: nn.GELU(),
    "tanh": lambda _: nn.Tanh(),
    "none": lambda _: nn.Identity(),
}
"""A word of `Architecture.replaced` -> what makes the layer for features of this width."""


def replace_head(network: nn.Module, architecture: Architecture) -> nn.Module:
    """The network with the head that its architecture says was put in; as it is where none was.

    `UserError` where the network has no such place.
    """
    if not architecture.replaced:
        return network
    place, *words = architecture.replaced
    parent, _, name = place.rpartition(".")
    try:
        own = network.get_submodule(place)
    except AttributeError:
        own = nn.Identity()
    width = next((module.in_features for module in own.modules() if isinstance(module, nn.Linear)), None)
    if not place or width is None:
        raise UserError(f"{architecture.name} has no linear layer in {place!r}; correct the card's architecture.")
    layers: list[nn.Module] = []
    for word in words:
        kind, _, wanted = word.partition(" ")
        if kind == "linear":
            layers.append(nn.Linear(width, int(wanted)))
            width = int(wanted)
        else:
            layers.append(MODULES[kind](width))
    head = nn.Linear(width, architecture.num_classes)
    setattr(network.get_submodule(parent), name, nn.Sequential(*layers, head) if layers else head)
    return network

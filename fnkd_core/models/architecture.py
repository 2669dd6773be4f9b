"""Which network a checkpoint is: a record that cards hold and `build` reads. No torch."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

from fnkd_core.errors import UserError, require, unknown

CIFAR_DEPTHS = (8, 20, 32, 44, 56, 110)
CIFAR_RESNETS = tuple(f"cifar_resnet{depth}{version}" for version in ("", "_v2") for depth in CIFAR_DEPTHS)
TORCHVISION = "torchvision/"

Head = Literal["linear", "cosine"]


@dataclass(frozen=True)
class Architecture:
    """name: `cifar_resnet20`, `cifar_resnet20_v2` or `torchvision/<model>`. num_classes: K outputs.

    head: `linear` is v = W f + b; `cosine` is v = scale * cos(f, W_k).
    """

    name: str
    num_classes: int
    in_channels: int = 3
    head: Head = "linear"
    scale: float | None = None

    def __post_init__(self) -> None:
        require(
            isinstance(self.name, str) and (self.name in CIFAR_RESNETS or self.name.startswith(TORCHVISION)),
            f"Unknown architecture {self.name!r}. Available: {', '.join(CIFAR_RESNETS)}, torchvision/<model>.",
        )
        for field in ("num_classes", "in_channels"):
            value = getattr(self, field)
            require(isinstance(value, int) and value >= 1, f"{field} must be an integer >= 1, got {value!r}.")
        if self.head not in get_args(Head):
            raise unknown("head", self.head, get_args(Head))
        require(
            (self.head == "cosine") == (self.scale is not None),
            f"scale belongs to the cosine head and only to it, got head {self.head!r} with scale {self.scale!r}.",
        )

    def to_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Architecture:
        """`UserError` for a key that is missing or not known."""
        known = [f.name for f in dataclasses.fields(cls)]
        for key in values:
            if key not in known:
                raise unknown("key of an architecture", key, known)
        for key in ("name", "num_classes"):
            if key not in values:
                raise UserError(f"The architecture lacks {key!r}.")
        return cls(**values)

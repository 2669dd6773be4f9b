"""Which network a checkpoint is: a record that cards hold and `build` reads. No torch."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

from fnkd_core.errors import UserError, require, unknown
from fnkd_core.models.index import indexed_names

CIFAR_DEPTHS = (8, 14, 20, 32, 44, 56, 110)
CIFAR_VERSIONS = ("", "_a", "_a_late", "_v2", "_v2_bn")
CIFAR_RESNETS = (
    *(f"cifar_resnet{depth}{version}" for version in CIFAR_VERSIONS for depth in CIFAR_DEPTHS),
    *(f"cifar_resnet{depth}x4" for depth in (8, 32)),
)
WIDE_RESNETS = tuple(f"wrn_{depth}_{width}" for depth in (16, 28, 40) for width in (1, 2, 4, 8, 10))
CIFAR_VGGS = (
    *(f"cifar_vgg{depth}" for depth in (8, 11, 13, 16, 19)),
    *(f"cifar_vgg{depth}_max{hidden}" for hidden in ("", 512, 4096) for depth in (11, 13, 16, 19)),
)
CIFAR_MOBILE = ("cifar_mobilenet_v2", "cifar_shufflenet_v1", "cifar_shufflenet_v2")
STEM = "cifar_stem_"
CIFAR_STEMS = tuple(
    STEM + name
    for name in (
        *(f"resnet{depth}" for depth in (18, 34, 50, 101, 152)),
        *(f"mobilenet_v2_x{width}" for width in ("0_5", "0_75", "1_0", "1_4")),
        *(f"shufflenet_v2_x{width}" for width in ("0_5", "1_0", "1_5", "2_0")),
    )
)
ZOO = (*CIFAR_RESNETS, *WIDE_RESNETS, *CIFAR_VGGS, *CIFAR_MOBILE, *CIFAR_STEMS)
"""The networks for small images. `_a`: shortcuts without parameters; `_a_late`: and a stage's last block changes its
shape, not the next one's first; `_v2`: pre-activation; `_v2_bn`: Gluon's v2, which
normalises its input; `x4`: four times as wide; `_max`: max-pooled to the end, with two hidden layers of the width that
follows; `cifar_stem_`: torchvision's networks with a stem that keeps the image's size."""
TORCHVISION, TIMM = "torchvision/", "timm/"

Head = Literal["linear", "cosine"]
ACTIVATIONS = ("relu", "gelu", "tanh", "none")
LAYER = re.compile(rf"linear [1-9]\d{{0,5}}|batchnorm|layernorm|{'|'.join(ACTIVATIONS)}")
"""A layer before a head that somebody put in place of the network's own."""


def list_architectures() -> list[str]:
    """The zoo, and what the index has of torchvision and timm, neither of which is imported."""
    return [*ZOO, *indexed_names(TORCHVISION), *indexed_names(TIMM)]


def unknown_architecture(name: str) -> UserError:
    """A `UserError` that names the networks which may be meant: those of this name in the libraries, or the nearest."""
    names = list_architectures()
    meant = [known for known in names if known.removeprefix(STEM).rpartition("/")[2] == name]
    if meant:
        which = " or ".join([", ".join(meant[:-1]), meant[-1]][len(meant) < 2 :])
        return UserError(f"Unknown architecture {name!r}: it can be {which}; write it so.")
    return unknown("architecture", name, names, "fnkd models")


def require_known(name: str) -> None:
    """`UserError` where no network can be called so. What libraries of a later version add is left to them."""
    if not is_zoo(name) and not name.startswith((TORCHVISION, TIMM)):
        raise unknown_architecture(name)


def is_zoo(name: str) -> bool:
    """Whether it is one of the zoo's own networks. Wide residual networks have any depth 6n + 4 and any width."""
    wide = re.fullmatch(r"wrn_(\d{2,3})_([1-9]\d?)", name)
    return name in ZOO or (wide is not None and int(wide[1]) % 6 == 4)


@dataclass(frozen=True)
class Architecture:
    """name: one of the zoo, any `wrn_<6n+4>_<width>`, `torchvision/<model>` or `timm/<model>`. num_classes: K outputs.

    head: `linear` is v = W f + b; `cosine` is v = scale * cos(f, W_k). replaced: the module that others put a head of
    their own in the place of, and the layers there before the head, as in ("fc", "linear 256", "relu"): they belong to
    the body; () is the network as it is published.
    """

    name: str
    num_classes: int
    in_channels: int = 3
    head: Head = "linear"
    scale: float | None = None
    replaced: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        require(isinstance(self.name, str), f"An architecture's name must be text, got {self.name!r}.")
        require_known(self.name)
        for field in ("num_classes", "in_channels"):
            value = getattr(self, field)
            require(isinstance(value, int) and value >= 1, f"{field} must be an integer >= 1, got {value!r}.")
        if self.head not in get_args(Head):
            raise unknown("head", self.head, get_args(Head))
        require(
            (self.head == "cosine") == (self.scale is not None),
            f"scale belongs to the cosine head and only to it, got head {self.head!r} with scale {self.scale!r}.",
        )

        require(
            not self.replaced or all(LAYER.fullmatch(layer) for layer in self.replaced[1:]),
            f"replaced must be a module's name and layers of {LAYER.pattern}, got {list(self.replaced)}.",
        )

    def to_dict(self) -> dict[str, Any]:
        """What a card holds; of a network as it is published, the same as before others' heads were known."""
        values = dataclasses.asdict(self)
        replaced = values.pop("replaced")
        return values | ({"replaced": list(replaced)} if replaced else {})

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
        replaced = values.get("replaced", ())
        require(
            isinstance(replaced, list | tuple) and all(isinstance(word, str) for word in replaced),
            f"replaced must be a list of words, got {replaced!r}.",
        )
        return cls(**{**values, "replaced": tuple(replaced)})

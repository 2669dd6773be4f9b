"""Names and shapes of an architecture's weights, and what a file's shapes say of it, without allocating any."""

from __future__ import annotations

import functools
import math
from types import MappingProxyType
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from fnkd_core.models.architecture import TIMM, TORCHVISION, Architecture
from fnkd_core.models.index import Shapes
from fnkd_core.models.zoo import build_network

MARK = 991
"""A number of classes that no layer has by chance: it shows where the head is."""


@functools.lru_cache(maxsize=256)
def network_shapes(
    name: str, num_classes: int, in_channels: int = 3, image_size: int | None = None, replaced: tuple[str, ...] = ()
) -> Shapes:
    """Names and shapes of an architecture's state dict, in order; nothing of its size is allocated."""
    state = without_memory(Architecture(name, num_classes, in_channels, replaced=replaced), image_size).state_dict()
    return MappingProxyType({key: tuple(value.shape) for key, value in state.items()})


def without_memory(architecture: Architecture, image_size: int | None = None) -> nn.Module:
    """The network with weights that have shapes and no values."""
    size = (image_size, image_size) if image_size else None
    try:
        with torch.device("meta"), _Undrawn():
            return build_network(architecture, size)
    except NotImplementedError:
        # torchvision's RegNets compute their widths with tensors, so only their weights can be without values.
        with _WeightsOnMeta(), _Undrawn():
            return build_network(architecture, size)


class _Undrawn(TorchFunctionMode):
    """Here weights without values are given none: to draw them, torch would first import its compiler."""

    SET = (
        torch.Tensor.normal_, torch.Tensor.uniform_, torch.Tensor.erfinv_, torch.Tensor.mul_, torch.Tensor.add_,
        torch.Tensor.clamp_, torch.Tensor.fill_, torch.Tensor.zero_,
    )  # fmt: skip
    """In-place functions by which layers set their weights, `trunc_normal_` among them."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        return args[0] if func in self.SET and args[0].is_meta else func(*args, **(kwargs or {}))


class _WeightsOnMeta(TorchFunctionMode):
    """Here `torch.empty`, with which layers make their weights, allocates nothing."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        return func(*args, **{**(kwargs or {}), **({"device": "meta"} if func is torch.empty else {})})


def shapes_of(architecture: Architecture, image_size: int | None) -> Shapes:
    """`network_shapes` of this record; a cosine head has no bias."""
    size, replaced = image_size, architecture.replaced
    shapes = network_shapes(architecture.name, architecture.num_classes, architecture.in_channels, size, replaced)
    if architecture.head == "linear":
        return shapes
    bias = f"{head_by_name(architecture.name, replaced)}.bias"
    return {name: shape for name, shape in shapes.items() if name != bias}


def head_by_name(name: str, replaced: tuple[str, ...] = ()) -> str:
    """The module of an architecture's last layer whose outputs are as many as the classes; "" where there is none."""
    marked = network_shapes(name, MARK, replaced=replaced)
    weights = [n for n, shape in marked.items() if n.endswith(".weight") and len(shape) > 1 and shape[0] == MARK]
    return weights[-1].removesuffix(".weight") if weights else ""


def _same(shape: tuple[int, ...], other: tuple[int, ...]) -> bool:
    """Equal, or a 1x1 convolution and the linear layer that it is."""
    long, short = sorted((shape, other), key=len, reverse=True)
    return shape == other or (len(long) == 4 and len(short) == 2 and long == (*short, 1, 1))


def _image_size(name: str, marked: Shapes, seen: Shapes) -> int | None:
    """Pixels, where this architecture's weights know them: its own, or what longer position embeddings say."""
    own = _own_image_size(name)
    if own is None:
        return None
    for key, shape in marked.items():
        other = seen[key]
        if "pos_embed" in key and len(shape) == len(other) == 3 and shape != other:
            # A square grid of patches, after up to 8 tokens that have no place.
            for extra in range(9):
                grid, theirs = math.isqrt(max(0, shape[1] - extra)), math.isqrt(max(0, other[1] - extra))
                if grid**2 == shape[1] - extra and theirs**2 == other[1] - extra and own % max(1, grid) == 0:
                    return theirs * own // grid
    return own


def _own_image_size(name: str) -> int | None:
    if name.startswith(TIMM):
        from timm.models import get_pretrained_cfg

        config = get_pretrained_cfg(name.removeprefix(TIMM))
        return config.input_size[-1] if config.fixed_input_size else None
    return 224 if name.startswith((f"{TORCHVISION}vit_", f"{TORCHVISION}maxvit")) else None

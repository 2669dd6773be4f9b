"""Weights that are kept as several tensors, multiplied out; and what a batch norm takes in of what stands before it."""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from fnkd_core.errors import UserError
from fnkd_core.models.architecture import Architecture
from fnkd_core.models.index import Shapes
from fnkd_core.models.recognition.shapes import without_memory


def _masked(original: Tensor, mask: Tensor) -> Tensor:
    return original * mask.to(original.dtype)


def _weight_norm(magnitude: Tensor, direction: Tensor) -> Tensor:
    """magnitude * direction / its norm, over the dimensions in which there is one magnitude."""
    shared = [d for d in range(direction.dim()) if magnitude.dim() == 0 or magnitude.shape[d] == 1]
    norm = torch.linalg.vector_norm(direction.float(), dim=shared, keepdim=True) if shared else direction.float().abs()
    return (magnitude.float() * direction.float() / norm).to(direction.dtype)


def _spectral_norm(original: Tensor, u: Tensor, v: Tensor) -> Tensor:
    """The weight divided by its largest singular value, as the two vectors that were kept tell it."""
    matrix = original.float().flatten(1)
    return (original.float() / torch.dot(u.float(), matrix @ v.float())).to(original.dtype)


PARTS = (
    ("pruned", _masked, ("{}_orig", "{}_mask")),
    ("weight norm", _weight_norm, ("{}_g", "{}_v")),
    ("weight norm", _weight_norm, ("parametrizations.{}.original0", "parametrizations.{}.original1")),
    ("spectral norm", _spectral_norm, ("{}_orig", "{}_u", "{}_v")),
    ("spectral norm", _spectral_norm, ("parametrizations.{}.original", "parametrizations.{}.0._u",
                                       "parametrizations.{}.0._v")),
)  # fmt: skip
"""What was done, how the weight follows from the tensors that are kept, and their names where {} is the weight's."""


def multiplied_out(state: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, int]]:
    """The state with each weight as one tensor, in the order of the first of its parts; and what was done how often.

    Pruning, weight norm and spectral norm of PyTorch, as hooks and as parametrizations.
    Each has the shape that its layer takes. `UserError` where parts of one do not fit each other.
    """
    done: dict[str, int] = {}
    weights: dict[str, Tensor] = {}
    parts: dict[str, str] = {}
    for what, whole, names in PARTS:
        pattern = re.compile(r"((?:.*\.)?)" + re.escape(names[0]).replace(r"\{\}", r"(\w+?)"))
        for key in state:
            match = pattern.fullmatch(key)
            keys = [match[1] + name.format(match[2]) for name in names] if match else []
            if not match or not all(k in state and k not in parts for k in keys):
                continue
            weight = match[1] + match[2]
            try:
                weights[weight] = whole(*(state[k] for k in keys))
            except (RuntimeError, IndexError):
                raise UserError(
                    f"{key[:100]} and {keys[1][:100]} do not fit each other; save the weights with the {what} removed."
                ) from None
            parts |= dict.fromkeys(keys, weight)
            done[what] = done.get(what, 0) + 1
    whole_state: dict[str, Tensor] = {}
    for key, value in state.items():
        weight = parts.get(key, key)
        whole_state.setdefault(weight, weights.get(weight, value))
    return whole_state, done


class _Readers(TorchFunctionMode):
    """Counts what reads each of these tensors to make another of it."""

    def __init__(self) -> None:
        super().__init__()
        self.tensors: list[Tensor] = []
        self.counts: dict[int, int] = {}

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        found = func(*args, **(kwargs or {}))
        if isinstance(found, Tensor | tuple | list):
            for value in (*args, *(kwargs or {}).values()):
                for tensor in value if isinstance(value, tuple | list) else (value,):
                    if isinstance(tensor, Tensor):
                        self.counts[id(tensor)] = self.counts.get(id(tensor), 0) + 1
        return found


@functools.lru_cache(maxsize=64)
def norms_after(architecture: Architecture, image_size: int | None) -> Mapping[str, str]:
    """For each convolution, the batch norm that alone reads what it puts out; found by running without values.

    A bias there does what a lower running mean of the batch norm does. Empty where the network cannot be run so.
    """
    network = without_memory(architecture, image_size).eval()
    for size in (image_size,) if image_size else (32, 224):
        images = torch.empty(2, architecture.in_channels, size, size, device="meta")
        try:
            return MappingProxyType(_norms_after(network, images))
        except Exception:
            continue
    return MappingProxyType({})


def _norms_after(network: nn.Module, images: Tensor) -> dict[str, str]:
    outputs: dict[int, str] = {}
    pairs: dict[str, tuple[str, int]] = {}
    readers = _Readers()
    handles = []
    for name, module in network.named_modules():
        if isinstance(module, nn.Conv2d):

            def after(_: Any, inputs: Any, output: Tensor, name: str = name) -> None:
                # Kept, so that no later tensor has its id.
                readers.tensors.append(output)
                # Nor what was read of an earlier one that had it.
                readers.counts.pop(id(output), None)
                outputs[id(output)] = name

            handles.append(module.register_forward_hook(after))
        elif isinstance(module, nn.BatchNorm2d):

            def before(_: Any, inputs: tuple[Tensor, ...], name: str = name) -> None:
                if conv := outputs.get(id(inputs[0])):
                    pairs[conv] = (name, id(inputs[0]))

            handles.append(module.register_forward_pre_hook(before))
    try:
        with torch.no_grad(), readers:
            network(images)
    finally:
        for handle in handles:
            handle.remove()
    return {conv: norm for conv, (norm, output) in pairs.items() if readers.counts.get(output) == 1}


def without_biases(shapes: Shapes) -> Shapes:
    """The shapes without the biases of convolutions that stand before a batch norm in the file."""
    names = list(shapes)
    norms = {name.rpartition(".")[0] for name in names if name.endswith("running_mean")}
    following = [name.rpartition(".")[0] for name in (*names[1:], "")]
    return {
        name: shape
        for (name, shape), module in zip(shapes.items(), following, strict=False)
        if not (is_conv_bias(name, shapes) and module in norms)
    }


def is_conv_bias(name: str, shapes: Shapes) -> bool:
    """Whether it is the bias of a convolution."""
    module, _, leaf = name.rpartition(".")
    return leaf == "bias" and len(shapes.get(f"{module}.weight", ())) == 4

"""Weights by name, made as a network asks for them."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

K = 7


class Weights(dict[str, Tensor]):
    """Published name -> float64 weight, drawn where it is first used.

    gluon: None for PyTorch's names, a prefix for Gluon's names, "" for Gluon's names by structure.
    """

    def __init__(self, gluon: str | None = None) -> None:
        super().__init__()
        self.gluon, self.generator = gluon, torch.Generator().manual_seed(1)

    def draw(self, layer: str, leaf: str, shape: tuple[int, ...], low: float, high: float) -> Tensor:
        key = f"{layer}.{leaf}"
        if self.gluon:
            key = f"{'aux' if 'running' in leaf else 'arg'}:{self.gluon}{layer}_{leaf}"
        if key not in self:
            self[key] = low + (high - low) * torch.rand(shape, generator=self.generator, dtype=torch.float64)
        return self[key]

    def conv(
        self, layer: str, x: Tensor, out: int, size: int = 3, stride: int = 1, groups: int = 1, bias: bool = False
    ) -> Tensor:
        shape = (out, x.shape[1] // groups, size, size)
        bound = (6 / (shape[1] * size * size)) ** 0.5
        weight = self.draw(layer, "weight", shape, -bound, bound)
        offset = self.draw(layer, "bias", (out,), -0.1, 0.1) if bias else None
        return F.conv2d(x, weight, offset, stride, size // 2, groups=groups)

    def norm(self, layer: str, x: Tensor, affine: bool = True) -> Tensor:
        c = (x.shape[1],)
        mean, var = self.draw(layer, "running_mean", c, -0.2, 0.2), self.draw(layer, "running_var", c, 0.8, 1.5)
        names = ("weight", "bias") if self.gluon is None else ("gamma", "beta")
        scale = self.draw(layer, names[0], c, 0.5, 1.2) if affine else None
        offset = self.draw(layer, names[1], c, -0.2, 0.3) if affine else None
        return F.batch_norm(x, mean, var, scale, offset)

    def linear(self, layer: str, x: Tensor, out: int) -> Tensor:
        bound = x.shape[1] ** -0.5
        weight = self.draw(layer, "weight", (out, x.shape[1]), -bound, bound)
        return F.linear(x, weight, self.draw(layer, "bias", (out,), -bound, bound))

    def conv_norm(self, conv: str, norm: str, x: Tensor, out: int, *sizes: int) -> Tensor:
        return self.norm(norm, self.conv(conv, x, out, *sizes))


Source = Callable[[Weights, Tensor], Tensor]

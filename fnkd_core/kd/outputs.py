"""What a classifier says about N samples."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


def at_least_float32(x: Tensor) -> Tensor:
    """`x` in float32, or in float64 where it is that: norms and softmax lose too much in half precision.

    The shape stays.
    """
    return x if x.dtype.itemsize == 8 else x.float()


@dataclass(frozen=True)
class Outputs:
    """Penultimate features and logits of N samples; everything else is computed from them.

    features: (N, D), the input f of the last linear layer. logits: (N, K), v = W f + b.
    bias: (K,), b of that layer, or None where it has none.
    """

    features: Tensor
    logits: Tensor
    bias: Tensor | None = None

    @property
    def norms(self) -> Tensor:
        """(N,) Euclidean norm ||f|| of each sample's own feature vector, at least float32."""
        return at_least_float32(self.features).norm(dim=1)

    @classmethod
    def of_norms(cls, norms: Tensor, logits: Tensor, bias: Tensor | None = None) -> Outputs:
        """Outputs of which only the norms (N,) of the features were kept: each feature is its norm on one axis."""
        return cls(norms[:, None], logits, bias)

    def __len__(self) -> int:
        return self.logits.shape[0]

    def detach(self) -> Outputs:
        """The same outputs without gradient."""
        bias = None if self.bias is None else self.bias.detach()
        return Outputs(self.features.detach(), self.logits.detach(), bias)

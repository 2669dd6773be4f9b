"""The curves of a store, by torch on the device of the logits; see `fnkd_core.stores.curves`."""

from __future__ import annotations

import torch
from torch import Tensor

from fnkd_core.stores.curves import GRID

AT_ONCE = {"cpu": 2**18}
"""Numbers that are worked on together: on a processor what its cache holds."""
ELSEWHERE = 2**25


def softened(logits: Tensor, bias: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Entropy (nats) and top probability of softmax(v / T) over `GRID`, each (N, G) float16, for logits (N, K).

    With a bias (K,) the feature is softened instead: softmax((v - b) / T + b). The same as `temperature_curves`, to
    float16.
    """
    v = logits.float()
    grid = torch.from_numpy(GRID).to(v.device)
    entropy = torch.empty(len(v), len(grid), dtype=torch.float16, device=v.device)
    top = torch.empty_like(entropy)
    step = max(1, AT_ONCE.get(v.device.type, ELSEWHERE) // (len(grid) * v.shape[1]))
    for i in range(0, len(v), step):
        z = v[i : i + step]
        if bias is None:
            z = (z - z.amax(1, keepdim=True))[:, None, :] / grid[:, None]
        else:
            z = (z - bias)[:, None, :] / grid[:, None]
            z += bias
            z -= z.amax(2, keepdim=True)
        p = z.exp()
        total = p.sum(2)
        # H = log Z - E[z] needs no logarithm of a probability that has become 0.
        entropy[i : i + step] = total.log() - p.mul_(z).sum(2) / total
        top[i : i + step] = 1 / total
    return entropy, top

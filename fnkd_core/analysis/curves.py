"""Entropy and top probability of every sample over a grid of temperatures.

Any rule's T_i is then a look-up: T, ||f||/tau and t*std(v) alike, which is what lets a slider move
distributions of thousands of samples in the browser. No torch.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

GRID = np.geomspace(0.1, 100.0, 65).astype(np.float32)
"""(65,) temperatures, equally spaced in log T, ten octaves."""


def temperature_curves(
    logits: NDArray[np.floating], bias: NDArray[np.floating] | None = None, grid: NDArray[np.floating] = GRID
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Entropy (nats) and top probability of softmax(v / T), each (N, G) for logits (N, K) and grid (G,).

    With a bias (K,) the feature is softened instead: softmax((v - b) / T + b), as the released code does.
    """
    v = logits.astype(np.float32)
    offset = np.zeros(v.shape[1], np.float32) if bias is None else bias.astype(np.float32)
    centred = v - offset
    entropy = np.empty((len(v), len(grid)), np.float32)
    top = np.empty_like(entropy)
    for g, t in enumerate(grid):
        z = centred / t + offset
        z -= z.max(axis=1, keepdims=True)
        p = np.exp(z)
        total = p.sum(axis=1)
        # H = log Z - E[z] needs no logarithm of a probability that has become 0.
        entropy[:, g] = np.log(total) - (p * z).sum(axis=1) / total
        top[:, g] = 1 / total
    return entropy, top


def softmax(logits: NDArray[np.floating]) -> NDArray[np.float64]:
    """(..., K) softmax over the last axis, in float64."""
    z = np.asarray(logits, np.float64)
    p = np.exp(z - z.max(axis=-1, keepdims=True))
    return p / p.sum(axis=-1, keepdims=True)

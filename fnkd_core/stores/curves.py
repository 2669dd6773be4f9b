"""Entropy and top probability of every sample over a grid of temperatures.

Any rule's T_i is then a look-up: T, ||f||/tau and t*std(v) alike, which is what lets a slider move
distributions of thousands of samples in the browser. No torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

GRID = np.geomspace(0.1, 100.0, 129).astype(np.float32)
"""(129,) temperatures, equally spaced in log T, ten octaves."""
CURVES = ("entropy", "top_probability")
"""What of each sample is kept at every temperature of the grid."""


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


def on_curve(curve: NDArray[np.floating], grid: NDArray[np.floating], temperatures: NDArray[np.floating]) -> Any:
    """(N,) each sample's curve (N, G) at its own temperature (N,), linear in log T; held at the grid's ends."""
    x = np.interp(np.log(temperatures), np.log(grid), np.arange(len(grid)))
    low = np.minimum(x.astype(int), len(grid) - 2)
    rows = np.arange(len(curve))
    a, b = curve[rows, low].astype(np.float64), curve[rows, low + 1].astype(np.float64)
    return a + (x - low) * (b - a)


def feature_norm_temperatures(norms: NDArray[np.floating], values: Mapping[str, Any]) -> NDArray[np.float64]:
    """(N,) ||f||/tau, or max(1, ||f||/tau) under the released variant. norms: (N,); values: tau and variant."""
    floor = 1.0 if values["variant"] == "released" else 1e-6
    return np.maximum(np.asarray(norms, np.float64) / values["tau"], floor)

"""A logit in its factors: v_k = ||f|| ||W_k|| cos(theta_k) + b_k, and what each of them decides."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fnkd_core.analysis.targets import AT_ONCE, part_of
from fnkd_core.checkpoints.library import Entry
from fnkd_core.errors import require
from fnkd_core.stores.store import Store


@dataclass(frozen=True)
class Factors:
    """weights: (K,) ||W_k||. cos_label, cos_other: (n,) cosines with the label's row, and with the nearest other one.

    accuracy: what is left out -> the accuracy then. changed: the share of samples whose prediction it changes.
    """

    weights: NDArray[np.float64]
    cos_label: NDArray[np.float64]
    cos_other: NDArray[np.float64]
    accuracy: dict[str, float]
    changed: dict[str, float]


def weight_norms(entry: Entry) -> NDArray[np.float64]:
    """(K,) ||W_k|| of a checkpoint's head. `UserError` where its logits are no products with these."""
    from fnkd_core.checkpoints.io import load_checkpoint  # torch, only when it is looked at

    classifier, card = load_checkpoint(entry.path)
    require(
        card.architecture.get("head") != "cosine",
        f"{entry.name} has a cosine head: its logits are scale times cosine, whatever ||f|| and ||W|| are; choose a "
        "model with a linear head.",
    )
    norms: NDArray[np.float64] = classifier.head.weight.detach().double().norm(dim=1).numpy()
    return norms


def cosines(store: Store, weights: NDArray[np.float64], rows: slice | NDArray[np.int64]) -> NDArray[np.float64]:
    """(n, K) cosine of each sample's feature with each row of the head; 0 where one of them is 0."""
    v = np.asarray(store.logits[rows], np.float64)
    if store.bias is not None:
        v = v - store.bias
    size = store.samples["norm"].to_numpy(np.float64)[rows][:, None] * weights
    return np.divide(v, size, out=np.zeros_like(v), where=size > 0)


def sample_factors(store: Store, weights: NDArray[np.float64], sample: int, count: int = 6) -> pd.DataFrame:
    """A row for each of a sample's largest logits and its label: class, v, ||f||, ||W||, cos, angle in degrees, b."""
    v, label = store.logits[sample], int(store.samples["label"].iat[sample])
    order = np.argsort(-v, kind="stable")[:count].tolist()
    if label not in order:
        order[-1] = label
    cos = cosines(store, weights, np.array([sample]))[0][order]
    return pd.DataFrame(
        {
            "class": [store.classes[k] for k in order],
            "logit": v[order].astype(float),
            "‖f‖": float(store.samples["norm"].iat[sample]),
            "‖W‖": weights[order],
            "cos θ": cos,
            "θ in degrees": np.degrees(np.arccos(cos.clip(-1, 1))),
            "bias": 0.0 if store.bias is None else store.bias[order].astype(float),
        }
    )


def factors(store: Store, weights: NDArray[np.float64]) -> Factors:
    """What the parts of the logits decide, over all samples, or the part of them that `part_of` draws."""
    rows = part_of(len(store.samples), len(weights))
    every = np.arange(len(store.samples)) if rows is None else rows
    labels = store.samples["label"].to_numpy()[every]
    names = ("nothing", "the bias", "‖W‖", "‖W‖ and the bias")
    right, moved = dict.fromkeys(names, 0), dict.fromkeys(names, 0)
    own, other = np.empty(len(every)), np.empty(len(every))
    bias = np.zeros(len(weights)) if store.bias is None else store.bias.astype(np.float64)
    step = max(1, AT_ONCE // len(weights))
    for first in range(0, len(every), step):
        block = every[first : first + step]
        place, of = slice(first, first + len(block)), labels[first : first + len(block)]
        cos = cosines(store, weights, block)
        f = store.samples["norm"].to_numpy(np.float64)[block][:, None]
        parts = (f * weights * cos + bias, f * weights * cos, f * weights.mean() * cos + bias, cos)
        predictions = [part.argmax(axis=1) for part in parts]
        for name, prediction in zip(names, predictions, strict=True):
            right[name] += int((prediction == of).sum())
            moved[name] += int((prediction != predictions[0]).sum())
        at = np.arange(len(block))
        own[place] = cos[at, of]
        cos[at, of] = -np.inf
        other[place] = cos.max(axis=1)
    count = len(every)
    return Factors(weights, own, other, {n: right[n] / count for n in names}, {n: moved[n] / count for n in names})

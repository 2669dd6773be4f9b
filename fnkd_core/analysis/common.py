"""What samples have in common: their classes against all, and their mean picture."""

from __future__ import annotations

import io

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image

from fnkd_core.stores.store import Store

MEAN_SIDE, MEAN_OF = 96, 500
"""Pixels a side of a mean picture, and of how many samples at most it is the mean."""


def class_shares(store: Store, ids: NDArray[np.integer]) -> pd.DataFrame:
    """A row a class that these have: class, num_samples, share of these, share_of_all, and times: their ratio.

    The most over-represented first. ids: (M,).
    """
    labels, count = store.samples["label"].to_numpy(), len(store.classes)
    here, everywhere = np.bincount(labels[ids], minlength=count), np.bincount(labels, minlength=count)
    own = np.flatnonzero(here)
    share, of_all = here[own] / max(len(ids), 1), everywhere[own] / len(labels)
    table = pd.DataFrame({
        "class": [store.classes[k] for k in own], "num_samples": here[own], "share": share, "share_of_all": of_all,
        "times": share / of_all,
    })  # fmt: skip
    return table.sort_values(["times", "num_samples"], ascending=False, kind="stable", ignore_index=True)


def mean_picture(store: Store, ids: NDArray[np.integer], seed: int = 0) -> tuple[bytes, int]:
    """The mean of these samples' pictures as a PNG, each scaled to a square, and of how many it is.

    Of more than `MEAN_OF` these are drawn by the seed.
    """
    chosen = np.asarray(ids)
    if len(chosen) > MEAN_OF:
        chosen = np.sort(np.random.default_rng(seed).choice(chosen, MEAN_OF, replace=False))
    whole = np.zeros((MEAN_SIDE, MEAN_SIDE, 3))
    for sample in chosen.tolist():
        with Image.open(io.BytesIO(store.thumbnail(sample))) as picture:
            square = picture.convert("RGB").resize((MEAN_SIDE, MEAN_SIDE), Image.Resampling.BILINEAR)
        whole += np.asarray(square, np.float64)
    buffer = io.BytesIO()
    Image.fromarray(np.rint(whole / max(len(chosen), 1)).astype(np.uint8)).save(buffer, "PNG")
    return buffer.getvalue(), len(chosen)

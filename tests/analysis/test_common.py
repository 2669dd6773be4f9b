"""Class shares, mean picture and representatives are those of plain counts and means."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from fnkd_core.analysis import common
from fnkd_core.analysis.common import class_shares, mean_picture
from fnkd_core.data import load_split
from fnkd_core.stores.store import Store


def test_shares_are_counts_over_counts_and_the_most_over_represented_is_first(teacher_store: Store) -> None:
    samples = teacher_store.samples
    ids = np.flatnonzero(samples["norm"].to_numpy() < 11)
    table = class_shares(teacher_store, ids)
    assert table["num_samples"].sum() == len(ids) and table["share"].sum() == pytest.approx(1)
    assert table["times"].is_monotonic_decreasing
    first = table.iloc[0]
    of_class = samples["label"] == int(first["class"])
    assert first["share"] == pytest.approx(of_class.to_numpy()[ids].mean())
    assert first["share_of_all"] == pytest.approx(of_class.mean())
    assert first["times"] == pytest.approx(first["share"] / first["share_of_all"])


def test_the_mean_picture_is_the_mean_of_the_pictures(teacher_store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(common, "MEAN_SIDE", 8)
    ids = np.array([3, 40, 200])
    picture, count = mean_picture(teacher_store, ids)
    expected = load_split("digits", "test").images[ids, 0].double().mean(0)
    shown = np.asarray(Image.open(io.BytesIO(picture)).convert("L")).astype(float)
    assert count == 3 and np.abs(shown - expected.numpy()).max() <= 1
    monkeypatch.setattr(common, "MEAN_OF", 2)
    assert mean_picture(teacher_store, ids)[1] == 2 and mean_picture(teacher_store, ids) == mean_picture(
        teacher_store, ids
    )

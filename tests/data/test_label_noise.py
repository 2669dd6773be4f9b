"""Few labels and wrong ones: as many as asked for, drawn by the seed."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fnkd_core.data import load_split
from fnkd_core.data.label_noise import few_labels, flip_labels
from fnkd_core.errors import UserError


def test_few_labels_are_as_many_of_each_class_and_the_seed_draws_them() -> None:
    whole = load_split("digits", "train")
    some = few_labels(whole, 10, seed=3)
    assert some.labels.bincount().tolist() == [10] * 10
    place = {key: i for i, key in enumerate(whole.keys)}
    index = [place[key] for key in some.keys]
    assert index == sorted(index)
    assert torch.equal(some.images, whole.images[index])
    assert torch.equal(some.labels, whole.labels[index])
    assert some.keys == few_labels(whole, 10, seed=3).keys
    assert some.keys != few_labels(whole, 10, seed=4).keys
    assert few_labels(whole, 10_000, seed=3).keys == whole.keys


@given(st.floats(0, 0.9), st.integers(0, 5))
def test_uniform_noise_replaces_its_share_of_labels_by_other_classes(rate: float, seed: int) -> None:
    whole = load_split("digits", "train")
    noisy = flip_labels(whole, rate, "uniform", (), seed)
    assert int((noisy.labels != whole.labels).sum()) == round(rate * len(whole.labels))
    assert int(noisy.labels.min()) >= 0 and int(noisy.labels.max()) <= 9
    assert torch.equal(noisy.images, whole.images)


def test_noise_between_similar_classes_stays_within_them() -> None:
    whole = load_split("digits", "train")
    similar = ((), (7,), (), (5, 8), (), (3, 8), (), (1,), (3, 5), ())
    noisy = flip_labels(whole, 0.5, "similar", similar, 0)
    changed = noisy.labels != whole.labels
    assert all(int(b) in similar[int(a)] for a, b in zip(whole.labels[changed], noisy.labels[changed], strict=True))
    can = torch.tensor([bool(s) for s in similar])[whole.labels]
    assert int(changed.sum()) == round(0.5 * int(can.sum()))
    with pytest.raises(UserError, match="digits has no similar classes to confuse"):
        flip_labels(whole, 0.5, "similar", ((),) * 10, 0)

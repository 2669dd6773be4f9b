"""Which output stands for which class is found from names, and from what the outputs say of labelled images."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fnkd_core.checkpoints.importing.matching import dead_outputs, match_by_images, match_by_name


def says(order: np.ndarray, labels: np.ndarray, num_outputs: int, accuracy: float, seed: int = 0) -> np.ndarray:
    """Probabilities of a network whose output order[k] stands for class k and that is right this often."""
    generator = np.random.default_rng(seed)
    p = generator.random((len(labels), num_outputs)) * 0.1
    right = generator.random(len(labels)) < accuracy
    chosen = np.where(right, order[labels], order[generator.integers(0, len(order), len(labels))])
    p[np.arange(len(labels)), chosen] += 5
    return p / p.sum(1, keepdims=True)


@given(seed=st.integers(0, 1000), num_classes=st.integers(3, 20), accuracy=st.floats(0.6, 1.0))
def test_a_permutation_of_the_outputs_is_found(seed: int, num_classes: int, accuracy: float) -> None:
    generator = np.random.default_rng(seed)
    order = np.roll(np.arange(num_classes), 1 + seed % (num_classes - 1))
    labels = np.repeat(np.arange(num_classes), 40)
    generator.shuffle(labels)
    p = says(order, labels, num_classes, accuracy, seed)
    found = match_by_images(p.argmax(1), labels, num_classes, num_classes)
    assert list(found.order) == list(order) and found.moved == num_classes
    assert found.matched == pytest.approx((p.argmax(1) == order[labels]).mean())
    assert found.as_is == pytest.approx((p.argmax(1) == labels).mean())


@given(seed=st.integers(0, 1000), accuracy=st.floats(0.0, 1.0))
def test_outputs_in_order_stay_so_however_bad_the_network_is(seed: int, accuracy: float) -> None:
    labels = np.repeat(np.arange(10), 30)
    found = match_by_images(says(np.arange(10), labels, 10, accuracy, seed).argmax(1), labels, 10, 10)
    assert found.moved == 0 and found.matched == found.as_is


def test_two_classes_that_changed_places_are_found_among_a_hundred() -> None:
    labels = np.repeat(np.arange(100), 10)
    order = np.arange(100)
    order[[41, 87]] = order[[87, 41]]
    found = match_by_images(says(order, labels, 100, 0.8).argmax(1), labels, 100, 100)
    assert list(found.order) == list(order) and found.moved == 2


def test_the_outputs_that_are_used_are_found_among_more() -> None:
    labels = np.repeat(np.arange(5), 20)
    p = says(np.arange(5) + 7, labels, 12, 0.9)
    p[:, :7] = 1e-4
    found = match_by_images(p.argmax(1), labels, 12, 5)
    assert list(found.order) == [7, 8, 9, 10, 11]
    assert list(dead_outputs(p)) == [0, 1, 2, 3, 4, 5, 6]


def test_names_match_whatever_joins_their_words_and_only_if_all_do() -> None:
    classes = ["aquarium_fish", "Sweet pepper", "bee"]
    assert list(match_by_name(["bee", "aquarium fish", "sweet-pepper"], classes)) == [1, 2, 0]  # type: ignore[arg-type]
    assert match_by_name(["bee", "aquarium fish", "pepper"], classes) is None
    assert match_by_name(["bee", "Bee", "aquarium fish", "sweet pepper"], classes) is None

"""The usual normalisation of data that are known by their classes."""

from __future__ import annotations

import random

from fnkd_core.data.sources.cifar import CIFAR10, FINE, NORMAL_10, NORMAL_100
from fnkd_core.data.sources.published import MEAN, STD
from fnkd_core.data.sources.usual import normalisation


def test_classes_that_are_known_are_normalised_as_usual_wherever_they_lie() -> None:
    shuffled = random.Random(0).sample(FINE, len(FINE))
    assert normalisation([name.replace("_", " ") for name in shuffled], 3) == NORMAL_100
    assert normalisation(CIFAR10, 3) == NORMAL_10
    birds = [f"{k:03d}.Black_footed_Albatross" for k in range(1, 201)]
    assert normalisation(birds, 3) == (MEAN, STD)
    for others in (FINE[:99], birds[:9], ["cat", "dog"]):
        assert normalisation(others, 3) == ((0.5,) * 3, (0.25,) * 3)
    assert normalisation(FINE, 1) == ((0.5,), (0.25,))

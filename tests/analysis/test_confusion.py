"""The target that the page shows is the one that is trained with; groups come from what the model confuses."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fnkd_core.analysis.confusion import alsd_target, confused_groups, confusion
from fnkd_core.data.similar import siblings
from fnkd_core.errors import UserError
from fnkd_core.kd.targets import SmoothedSimilar
from fnkd_core.stores.store import Store


@given(
    groups=st.lists(st.sampled_from(["a", "b", None]), min_size=3, max_size=8),
    e1=st.floats(0, 0.5),
    e2=st.floats(0, 0.5),
)
def test_the_target_is_the_one_of_the_method(groups: list[str | None], e1: float, e2: float) -> None:
    similar = siblings(groups)
    k = len(groups)
    trained = SmoothedSimilar(e1, e2, similar)(torch.arange(k), torch.zeros(k, k, dtype=torch.float64))
    shown = np.stack([alsd_target(label, similar[label], k, e1, e2) for label in range(k)])
    assert np.allclose(shown, trained.numpy(), atol=1e-12)


def planted(groups: list[list[int]], num_classes: int) -> Any:
    """A model that is unsure within each group alone."""
    generator = np.random.default_rng(0)
    labels = np.repeat(np.arange(num_classes), 20)
    logits = generator.normal(0, 0.3, (len(labels), num_classes))
    logits[np.arange(len(labels)), labels] += 6
    for members in groups:
        rows = np.isin(labels, members)
        logits[np.ix_(rows, members)] += 3
    classes = [f"c{k}" for k in range(num_classes)]
    return SimpleNamespace(classes=classes, logits=logits, samples=pd.DataFrame({"label": labels}))


def test_planted_confusions_become_the_groups() -> None:
    found = confused_groups(planted([[0, 3, 5, 6], [1, 4]], 8), 4)
    assert found == tuple(
        "c0 + c3 + c5 + 1 more" if k in (0, 3, 5, 6) else "c1 + c4" if k in (1, 4) else None for k in range(8)
    )


def test_the_teacher_s_groups_are_mutual_and_as_many_as_asked_for(teacher_store: Store) -> None:
    rows = confusion(teacher_store)
    assert np.allclose(rows.sum(1), 1) and (rows.argmax(1) == np.arange(10)).all()
    for wanted in (2, 5, 9):
        groups = confused_groups(teacher_store, wanted)
        assert len({g for g in groups if g}) + groups.count(None) == wanted
    with pytest.raises(UserError, match="num_groups must be 2 to 9, one less than the classes, got 10"):
        confused_groups(teacher_store, 10)

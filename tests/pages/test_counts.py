"""Where a chart draws a part of the samples, counts are still of all of them, and the page says how many it draws."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from fnkd_core.analysis.tables import side_by_side
from fnkd_core.analysis.targets import Source
from fnkd_core.plots import norms
from fnkd_core.stores.store import Store
from fnkd_core.ui.arrange import Ends
from fnkd_core.ui.components import temperature_lab
from fnkd_core.ui.two_models import selected
from tests.pages.tools import sentences


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Charts that draw a hundred points of the digits' 360."""
    monkeypatch.setattr(norms, "MOST_POINTS", 100)
    monkeypatch.setattr(temperature_lab, "MOST_SAMPLES", 100)


def traces(app: AppTest, key: str) -> list[Any]:
    chart = next(e for e in app.get("plotly_chart") if e.proto.id.endswith(f"-{key}"))
    return list(json.loads(chart.proto.spec)["data"])


def counted(names: list[str]) -> int:
    """The sum of the numbers in brackets."""
    return sum(int(name.rpartition("(")[2].rstrip(")").replace(",", "")) for name in names)


@pytest.mark.parametrize(("page", "key"), [("norms", "scatter"), ("compare", "norms")])
def test_a_scatter_of_a_part_counts_all_samples_and_says_how_many_it_draws(
    opened: Callable[..., AppTest], few: None, page: str, key: str
) -> None:
    app = opened(page)
    assert not app.exception
    shown = traces(app, key)
    assert counted([trace["name"] for trace in shown]) == 360
    assert "Drawn: 100 of 360." in sentences(app)


@pytest.mark.parametrize("page", ["norms", "compare"])
def test_a_scatter_of_all_samples_says_nothing_of_it(opened: Callable[..., AppTest], page: str) -> None:
    assert "Drawn:" not in sentences(opened(page))


def test_the_lab_says_how_many_samples_it_draws(few: None, teacher_store: Store) -> None:
    data = temperature_lab.lab_data({"teacher": Source(teacher_store)})["models"]["teacher"]
    assert data["drawn"].startswith("Drawn: 100 of 360.")


def test_a_box_on_compare_selects_all_samples_in_it_and_a_click_one(teacher_store: Store, fn_store: Store) -> None:
    both = side_by_side(teacher_store, fn_store)
    low, high = both["norm_a"].mean() * 0.9, both["norm_a"].mean() * 1.1
    inside = both[both["norm_a"].between(low, high)]
    box = {"x": [1.1, 0.9], "y": [-5.0, 5.0]}
    found = selected({"box": [box], "points": [{"customdata": 3}]}, both)
    assert list(found["id"]) == list(inside["id"]) and 0 < len(found) < 360
    assert list(selected({"box": [], "points": [{"customdata": 3}, {"customdata": [5]}]}, both)["id"]) == [3, 5]
    assert selected({"points": []}, both).empty


def test_a_half_of_the_gallery_that_holds_nothing_says_none(teacher_store: Store) -> None:
    low, high = Ends(teacher_store, np.zeros(1, np.int32)).panels(0, 24)
    assert (low["count"], high["count"], high["items"]) == (1, 0, [])

"""What depends on stores alone is made once for all sessions, and anew for other stores and choices."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from fnkd_core.plots.norms import norm_against
from fnkd_core.stores.store import Store
from fnkd_core.ui import charts, distribution, geometry, stores, verdicts
from tests.pages.tools import labelled


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Counts what is made, by what it is."""
    stores._kept.clear()
    counts: Counter[str] = Counter()
    kept = stores.kept

    def counting(what: str, make: Callable[[], Any], *of: Store | Hashable) -> Any:
        def counted() -> Any:
            counts[what] += 1
            return make()

        return kept(what, counted, *of)

    for module in (stores, distribution, geometry, verdicts):
        monkeypatch.setattr(module, "kept", counting)
    return counts


def test_a_second_session_makes_no_figure_again_and_another_choice_does(
    opened: Callable[..., AppTest], made: Counter[str]
) -> None:
    first = opened("norms")
    of_both = {"verdict", "aurocs", "summary"}
    assert {"distribution", "deciles", "against", "by class", "geometry", "angles", "nearest"} < set(made)
    assert all(count == 1 + (what in of_both) for what, count in made.items())
    once = dict(made)
    assert not first.exception and not opened("norms").exception
    assert dict(made) == once
    labelled(first.selectbox, "Against").select("entropy")  # type: ignore[attr-defined]
    first.run()
    assert dict(made) == once | {"against": 2}
    other = opened("norms", teacher="digits-ce")
    assert not other.exception
    again = {"against": 3} | dict.fromkeys(of_both, 3)  # the student's are there
    assert dict(made) == {what: again.get(what, 2) for what in once}


def test_what_is_kept_is_told_apart_by_store_name_and_choice(teacher_store: Store, fn_store: Store) -> None:
    stores._kept.clear()
    asked = [
        ("a", (teacher_store,)), ("a", (fn_store,)), ("b", (teacher_store,)), ("a", (teacher_store, fn_store)),
        ("a", (fn_store, teacher_store)), ("a", (teacher_store, "norm")), ("a", (teacher_store, None)),
        ("a", (Store(teacher_store.path, "called otherwise"),)),
    ]  # fmt: skip
    for _ in range(2):
        got = [stores.kept(what, object, *of) for what, of in asked]
        assert len(set(map(id, got))) == len(asked)
    assert [id(stores.kept(what, object, *of)) for what, of in asked] == [id(one) for one in got]


def test_a_figure_that_is_drawn_again_is_sent_as_it_was_and_copied_once(
    teacher_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    figure = norm_against(teacher_store.samples, "margin", "margin", teacher_store.classes)
    whole, copies = figure.to_json(), Counter[str]()
    copied = type(figure).to_dict

    def counted(self: Any) -> Any:
        copies["made"] += 1
        return copied(self)

    monkeypatch.setattr(type(figure), "to_dict", counted)
    assert [charts.sent(figure).to_json() for _ in range(3)] == [whole] * 3 and copies["made"] == 1


def test_clicks_on_filters_put_out_nothing_that_is_kept_for_other_pages(teacher_store: Store) -> None:
    stores._kept.clear()
    made: list[str] = []
    for i in range(200):
        assert stores.kept("geometry", lambda: made.append("geometry") or 1, teacher_store) == 1
        assert stores.kept_of_filters("order", lambda i=i: made.append("order") or i, teacher_store, i) == i
        assert stores.kept_of_filters("order", lambda: made.append("again") or -1, teacher_store, i) == i
    assert Counter(made) == {"geometry": 1, "order": 200}

"""Each row of a comparison at its best, on Compare."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from fnkd_core.experiments.comparison import create_comparison
from fnkd_core.experiments.plan import plan
from fnkd_core.experiments.status import results
from tests.pages.tools import labelled, link_of, sentences

REACHED = {"ce lr=0.1": 0.4, "ce lr=0.2": 0.6, "lsd lr=0.1": 0.7, "lsd lr=0.2": 0.5}
CHOSEN = "Each row is shown at the lr best on validation"


@pytest.fixture
def finished(home: Any, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """A comparison whose runs have ended with these accuracies on validation; its id."""
    monkeypatch.setattr(
        "fnkd_core.ui.comparisons.results",
        lambda found: [
            one | {"state": "finished", "validation": REACHED[one["row"]], "accuracy": 0.5} for one in results(found)
        ],
    )

    def make(*at_best: str) -> str:
        cells = plan({"dataset": "digits", "epochs": 1}, ["ce", "lsd"], [0], {"lr": [0.1, 0.2]})
        return create_comparison(cells, "rates", at_best).id

    return make


@pytest.mark.parametrize("asked", [True, False])
def test_each_row_is_shown_at_its_best_where_the_comparison_asks_or_somebody_picks_it(
    opened: Callable[..., AppTest], finished: Callable[..., str], asked: bool
) -> None:
    app = opened("compare", what="methods", comparison=finished(*(["lr"] if asked else [])))
    assert list(app.dataframe[0].value["row"]) == (["ce lr=0.2", "lsd lr=0.1"] if asked else list(REACHED))
    assert (CHOSEN in sentences(app)) is asked
    assert link_of(app)["best"] == ("lr" if asked else "all")
    labelled(app.selectbox, "Each row").set_value("all" if asked else "lr")
    app.run()
    assert not app.exception
    assert list(app.dataframe[0].value["row"]) == (list(REACHED) if asked else ["ce lr=0.2", "lsd lr=0.1"])
    assert (CHOSEN in sentences(app)) is not asked


def test_the_link_says_which_and_another_comparison_is_shown_as_it_asks(
    opened: Callable[..., AppTest], finished: Callable[..., str]
) -> None:
    asks = finished("lr")
    cells = plan({"dataset": "digits", "epochs": 2}, ["ce", "lsd"], [0], {"lr": [0.1, 0.2]})
    plain = create_comparison(cells, "plain").id
    app = opened("compare", what="methods", comparison=plain, best="lr")
    assert list(app.dataframe[0].value["row"]) == ["ce lr=0.2", "lsd lr=0.1"]
    labelled(app.selectbox, "Each row").set_value("all")
    app.run()
    assert link_of(app)["best"] == "all"
    labelled(app.selectbox, "Comparison").set_value(asks)
    app.run()
    assert list(app.dataframe[0].value["row"]) == ["ce lr=0.2", "lsd lr=0.1"]
    assert link_of(app)["best"] == "lr"
    labelled(app.selectbox, "Comparison").set_value(plain)
    app.run()
    assert list(app.dataframe[0].value["row"]) == list(REACHED)
    app = opened("compare", what="methods", comparison=plain, best="tau")
    assert "This link has 'tau' for “Each row”, which is not here." in sentences(app)


def test_where_the_recipe_holds_nothing_out_the_form_says_that_nothing_is_chosen(
    opened: Callable[..., AppTest], home: Any
) -> None:
    app = opened("compare", what="methods")
    labelled(app.selectbox, "Question").set_value("own-best-rate")
    app.run()
    assert "No row is shown at its best" not in sentences(app)
    labelled(app.selectbox, "Recipe").set_value("crd240")
    app.run()
    assert "No row is shown at its best lr: nothing is held out to choose by." in sentences(app) and not app.error


def test_the_link_says_what_was_varied_along_what(opened: Callable[..., AppTest], finished: Callable[..., str]) -> None:
    grid = {"lr": [0.1, 0.2], "batch_size": [32, 64]}
    made = [plan({"dataset": "digits", "epochs": epochs}, ["ce", "lsd"], [0], grid) for epochs in (1, 2)]
    for cell in made[0]:
        REACHED.setdefault(cell.row, 0.5)
    varied, other = (create_comparison(cells, "varied").id for cells in made)
    plain = finished()

    def shown(app: AppTest) -> list[str]:
        assert not app.exception
        link = link_of(app)
        picked = [labelled(app.selectbox, name).value for name in ("Along", "Show")]
        assert [link["along"], link["over"]] == picked
        return picked

    app = opened("compare", what="methods", comparison=varied)
    assert shown(app) == ["lr", "ce batch_size"]
    labelled(app.selectbox, "Along").set_value("batch_size")
    app.run()
    labelled(app.selectbox, "Show").set_value("lsd lr")
    app.run()
    assert shown(app) == ["batch_size", "lsd lr"]
    link = link_of(app)
    app = opened("compare", **{name: link[name] for name in ("what", "comparison", "along", "over")})
    assert shown(app) == ["batch_size", "lsd lr"]
    labelled(app.selectbox, "Comparison").set_value(other)
    app.run()
    assert shown(app) == ["lr", "ce batch_size"] and not app.warning  # what was picked was picked for the one before
    app = opened("compare", what="methods", comparison=varied, along="lr", over="kd T")
    assert "This link has 'kd T' for “Show”, which is not here" in app.warning[0].value
    labelled(app.selectbox, "Comparison").set_value(plain)
    app.run()
    assert not app.exception and not [box for box in app.selectbox if box.label == "Show"]  # lr alone was varied

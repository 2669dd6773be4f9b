"""The Norms page says first what the norms tell, and selects samples by brush and by keyboard alike."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from fnkd_core.analysis.verdicts import verdict
from fnkd_core.stores.store import Store
from fnkd_core.ui import distribution
from fnkd_core.ui.distribution import Choice
from tests.pages.tools import counted, labelled, link_of, press, sentences, shown

BOTH = Choice("teacher", "model", "histogram", None)


@pytest.fixture
def stored(home: Path, opened: Callable[..., AppTest]) -> Path:
    """A home whose stores are there already."""
    return home


def spec(app: AppTest, key: str) -> dict[str, Any]:
    chart = next(e for e in app.get("plotly_chart") if e.proto.id.endswith(f"-{key}"))
    return dict(json.loads(chart.proto.spec))


def test_the_verdict_on_each_model_stands_first(
    opened: Callable[..., AppTest], stored: Path, teacher_store: Store, fn_store: Store
) -> None:
    app = opened("norms")
    assert not app.exception
    assert app.header[0].value == "Does the norm tell right from wrong?"
    assert [e.value for e in app.subheader[:2]] == ["Teacher: digits-teacher", "Student: digits-fn"]
    said = sentences(app)
    assert verdict(teacher_store).sentence in said and verdict(fn_store).sentence in said
    assert len(spec(app, "aurocs-teacher")["data"]) == len(spec(app, "aurocs-student")["data"]) == 5
    assert shown(counted(app)["ρ with std(v)"]) == f"{verdict(fn_store).with_std:+.2f}"


def test_what_stands_under_the_gallery_s_pictures_follows_from_the_verdict_on_the_model_shown(
    opened: Callable[..., AppTest], stored: Path, teacher_store: Store, fn_store: Store
) -> None:
    app = opened("gallery")
    assert verdict(teacher_store).caption in sentences(app) and "ambiguous ones" not in sentences(app)
    assert verdict(fn_store).caption in sentences(opened("gallery", model="student"))


def test_a_range_that_is_typed_is_drawn_offers_its_samples_and_says_whose_they_are(
    opened: Callable[..., AppTest], stored: Path, teacher_store: Store
) -> None:
    app = opened("norms")
    norms = teacher_store.samples["norm"]
    low, high = round(float(norms.quantile(0.1)), 2), round(float(norms.quantile(0.4)), 2)
    labelled(app.number_input, "‖f‖ from").set_value(low)  # type: ignore[attr-defined]
    labelled(app.number_input, "‖f‖ to").set_value(high)  # type: ignore[attr-defined]
    app.run()
    assert not app.exception
    count = int(norms.between(low, high).sum())
    assert f"**{count} samples** selected: ‖f‖ {low:.4g} to {high:.4g}, under Teacher digits-teacher, test split" in (
        sentences(app)
    )
    shape = spec(app, "distribution")["layout"]["shapes"][-1]
    assert (shape["x0"], shape["x1"]) == (low, high)
    next(b for b in app.button if b.label == "Clear").click()
    app.run()
    assert "selected:" not in sentences(app) and app.number_input[0].value is None


def test_one_end_alone_is_a_range_and_the_url_holds_it(opened: Callable[..., AppTest], stored: Path) -> None:
    app = opened("norms", norm="-inf~11", by="right / wrong")
    assert "selected: ‖f‖ up to 11, under" in sentences(app)
    assert spec(app, "distribution")["layout"]["shapes"][-1]["x1"] == 11


def test_of_a_class_alone_its_samples_are_selected(
    opened: Callable[..., AppTest], stored: Path, teacher_store: Store
) -> None:
    app = opened("norms", of="3", norm="11~inf")
    samples = teacher_store.samples
    count = int(((samples["label"] == 3) & (samples["norm"] >= 11)).sum())
    assert f"**{count} samples** selected of class 3: ‖f‖ from 11, under" in sentences(app)


def test_the_range_is_the_gallery_s_filter_too(
    opened: Callable[..., AppTest], stored: Path, teacher_store: Store
) -> None:
    app = opened("norms", norm="-inf~11")
    count = int((teacher_store.samples["norm"] <= 11).sum())
    assert f"**{count} samples** selected" in sentences(app) and link_of(app)["norm"] == "-inf~11"
    app.query_params.clear()
    app.switch_page("pages/gallery.py").run()
    assert not app.exception and f"{count} of 360 samples" in sentences(app)


@pytest.mark.parametrize("way", distribution.WAYS)
@pytest.mark.parametrize("form", distribution.FORMS)
def test_every_way_to_split_and_draw_it_shows_the_selection(
    opened: Callable[..., AppTest], stored: Path, way: str, form: str
) -> None:
    app = opened("norms", by=way, form=form, norm="11~12")
    assert not app.exception and not app.error
    shapes = spec(app, "distribution")["layout"]["shapes"]
    assert any((shape["x0"], shape["x1"]) == (11, 12) for shape in shapes)


def test_all_splits_that_are_extracted_are_drawn_together_and_the_others_are_named(
    opened: Callable[..., AppTest], stored: Path
) -> None:
    app = opened("norms", by="split")
    names = [trace["name"] for trace in spec(app, "distribution")["data"]]
    assert names == ["Teacher: digits-teacher, test (360)", "Student: digits-fn, test (360)"]
    assert "Not extracted yet, so not drawn: train" in sentences(app)
    labelled(app.button, "Extract").click()  # type: ignore[attr-defined]
    app.run()
    app.run()
    assert not app.exception
    names = [trace["name"] for trace in spec(app, "distribution")["data"]]
    assert [name.split(", ")[1].split(" ")[0] for name in names] == ["train", "train", "test", "test"]
    assert "Not extracted" not in sentences(app)
    labelled(app.sidebar.selectbox, "Student").select("digits-ce")  # type: ignore[attr-defined]
    app.run()
    assert "Not extracted yet, so not drawn: train" in sentences(app), "it was asked for of other models"


def test_a_brush_means_the_model_whose_hump_it_is_on(monkeypatch: pytest.MonkeyPatch) -> None:
    stores: Any = {"teacher": Samples(10.0), "student": Samples(4.0)}
    for span, choice, expected in (
        ((9.0, 11.0), BOTH, "teacher"),
        ((3.0, 5.0), BOTH, "student"),
        ((9.0, 11.0), Choice("student", "model", "ECDF", None), "teacher"),
        ((0.0, 20.0), Choice("student", "split", "ECDF", None), "student"),
        ((30.0, 40.0), BOTH, "teacher"),
    ):
        state: dict[str, Any] = {}
        monkeypatch.setattr(st, "session_state", state)
        distribution.brushed(box(*span), stores, choice)
        assert state == {"norm": span, "model": expected}


def test_a_brush_over_one_model_s_norms_keeps_that_model_and_no_box_changes_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stores: Any = {"teacher": Samples(10.0), "student": Samples(4.0)}
    state: dict[str, Any] = {}
    monkeypatch.setattr(st, "session_state", state)
    distribution.brushed(box(5.00049, 3.0), stores, Choice("teacher", "class", "histogram", None))
    assert state == {"norm": (3.0, 5.0)}
    state.clear()
    distribution.brushed(Selected([]), stores, BOTH)
    assert state == {}
    monkeypatch.setattr(distribution, "MANY", 9)
    distribution.brushed(
        Selected([{"x": [1.0, 7.0], "y": [6.0, 4.0]}]), stores, Choice("teacher", "class", "ECDF", None)
    )
    assert state == {"norm": (4.0, 6.0)}, "among very many classes the norms are on the other axis"


class Samples:
    """What a brush looks at of a store: norms around this one."""

    def __init__(self, middle: float) -> None:
        norms = np.random.default_rng(0).normal(middle, 0.5, 500)
        self.manifest = {"norm": {"sd": 0.5}}
        self.samples = pd.DataFrame({"norm": norms, "label": np.arange(500) % 10})


class Selected:
    def __init__(self, boxes: list[dict[str, list[float]]]) -> None:
        self.selection = {"box": boxes}


def box(low: float, high: float) -> Selected:
    return Selected([{"x": [high, low], "y": [0.0, 1.0]}])


def test_the_geometry_section_shows_nc1_to_nc3_the_angles_and_the_nearest_classes(
    opened: Callable[..., AppTest], stored: Path
) -> None:
    app = opened("norms")
    numbers = counted(app)
    assert float(numbers["NC1, within / between"]) > 0 and 0 < float(numbers["NC3, head with means"]) <= 1
    assert len(spec(app, "class-angles")["data"][0]["x"]) == 10
    nearest = next(table.value for table in app.dataframe if "nearest" in table.value)
    assert len(nearest) == 10 and nearest["angle nearest"].is_monotonic_increasing
    labelled(app.segmented_control, "Angles between class means").set_value("raw")  # type: ignore[attr-defined]
    app.run()
    assert not app.exception and "their mean" in sentences(app)


def test_without_its_head_nc3_is_left_out_and_that_is_said(
    opened: Callable[..., AppTest], stored: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fnkd_core.ui.geometry.head_weights", lambda *_: None)
    app = opened("norms", teacher="digits-kd")
    assert "NC3, head with means" not in counted(app) and "NC3 is left out" in sentences(app)


def test_many_features_are_read_only_when_asked_for(
    opened: Callable[..., AppTest], stored: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fnkd_core.ui.geometry.AT_ONCE", 10)
    app = opened("norms")
    assert not any(metric.label.startswith("NC1") for metric in app.metric)
    labelled(app.toggle, "Compute it").set_value(True)  # type: ignore[attr-defined]
    app.run()
    assert any(metric.label.startswith("NC1") for metric in app.metric)


@pytest.mark.parametrize("right", [True, False])
def test_where_all_are_right_or_all_wrong_the_pages_say_that_nothing_can_be_told(
    opened: Callable[..., AppTest], stored: Path, teacher_store: Store, right: bool
) -> None:
    path = stored / "stores" / teacher_store.path.name / "samples.parquet"
    pd.read_parquet(path).assign(correct=right).to_parquet(path, index=False, write_page_checksum=True)
    which = "right" if right else "wrong"
    app = opened("norms", student="none")
    assert not app.exception and f"All 360 samples are {which}, so nothing can tell right from wrong" in sentences(app)
    assert "Gain per decile" not in counted(app) and "ρ with std(v)" in counted(app)
    assert not any(e.proto.id.endswith("-aurocs-teacher") for e in app.get("plotly_chart"))
    app = opened("gallery", student="none")
    assert not app.exception and f"All samples are {which}, at either end." in sentences(app)


def test_a_brush_opens_all_that_it_selects_whatever_the_gallery_was_filtered_by(opened: Callable[..., AppTest]) -> None:
    app = opened("gallery", cls="3", entropy="0.1~0.5", norm="11~15")
    app.query_params.clear()
    app.switch_page("pages/norms.py").run()
    number = re.search(r"\*\*(\d+) samples\*\* selected", sentences(app))
    assert number
    press(app, "Open in the gallery")
    assert f"{number[1]} of 360 samples" in sentences(app)
    assert not {"cls", "entropy"} & set(link_of(app)) and "norm" in link_of(app)

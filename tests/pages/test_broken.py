"""One broken run, comparison, store, card or list never hides the others; it is said in one line, with a remedy."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from fnkd_core.checkpoints.library import find_checkpoint
from fnkd_core.data import dataset_info
from fnkd_core.experiments.comparison import create_comparison, list_comparisons
from fnkd_core.experiments.plan import plan
from fnkd_core.jobs.control import end_run
from fnkd_core.jobs.run import Run, create_run, list_runs
from fnkd_core.stores.extract import extracted
from fnkd_core.stores.store import Store
from fnkd_core.training.config import RunConfig
from tests.pages.tools import labelled, select, sentences
from tests.tools import copy_checkpoint

BASE: dict[str, Any] = {"dataset": "digits", "epochs": 1}
LINE = {
    "epoch": 1, "lr": 0.1, "loss": 1.0, "hard": 1.0, "soft": 0.0, "train_accuracy": 0.5,
    "evaluated_on": "validation", "accuracy": 0.5, "nll": 1.0, "ece": 0.1, "norm": 2.0,
    "seconds": 1.0, "samples_per_s": 9.0, "temperature": None, "agreement": None,
}  # fmt: skip


def spec(text: str) -> Callable[[Path], object]:
    return lambda folder: (folder / "spec.json").write_text(text)


def ended_without_spec(folder: Path) -> None:
    end_run(Run(folder), "finished")
    (folder / "spec.json").unlink()


def metrics(data: bytes) -> Callable[[Path], object]:
    def damage(folder: Path) -> None:
        end_run(Run(folder), "finished")
        (folder / "metrics.jsonl").write_bytes(data)

    return damage


DAMAGES: dict[str, Callable[[Path], object]] = {
    "no spec": lambda folder: (folder / "spec.json").unlink(),
    "a spec that is torn": spec("{"),
    "a spec of bytes": lambda folder: (folder / "spec.json").write_bytes(b"\xff\xfe\x00"),
    "a spec that is a list": spec("[]"),
    "a spec without settings": spec('{"config": {}}'),
    "settings of another kind": spec('{"config": {"method": 3, "student": 4, "dataset": [], "epochs": "x"}}'),
    "an end without a spec": ended_without_spec,
    "an end that says nothing": lambda folder: (folder / "end.json").write_text('{"status": ["x"]}'),
    "metrics of bytes": metrics(b"\xff\xfe\x00\n"),
    "metrics that are numbers": metrics(b"3\n4\n"),
    "metrics of something else": metrics(b'{"epoch": "one"}\n'),
    "metrics without a number": metrics((json.dumps(LINE | {"seconds": None}) + "\n").encode()),
}


@pytest.fixture(params=DAMAGES)
def torn(request: pytest.FixtureRequest, home: Path) -> Run:
    """A broken run beside two good ones, all of the same comparison."""
    cells = plan(BASE, ["ce", "lsd"], range(1), {})
    create_comparison(cells, "mine")
    for cell in cells:
        run = create_run(cell.config.to_dict())
        (run.path / "metrics.jsonl").write_text(json.dumps(LINE) + "\n")
        end_run(run, "finished")
    run = create_run(RunConfig(**(BASE | {"method": "he"})).to_dict())
    create_comparison(plan(BASE, ["ce", "lsd", "he"], range(1), {}), "torn")
    DAMAGES[request.param](run.path)
    return run


def delete(app: AppTest, torn: Run) -> None:
    labelled(app.button, "Delete for good").click()
    app.run()
    assert not app.exception and not app.error
    assert len(list_runs()) == 2 and not torn.path.exists()


def test_runs_shows_a_broken_run_beside_the_good_ones_and_deletes_it(opened: Callable[..., AppTest], torn: Run) -> None:
    app = opened("runs")
    assert not app.exception and not app.error
    states = dict(zip(app.dataframe[0].value["id"], app.dataframe[0].value["state"], strict=True))
    assert states.pop(torn.id) == "broken" and list(states.values()) == ["finished"] * 2
    select(app, *range(3))
    assert not app.exception and "What distinguishes them" in sentences(app)
    ids = list(app.dataframe[0].value["id"])
    select(app, ids.index(torn.id), next(i for i, name in enumerate(ids) if name != torn.id))
    assert "they have the same settings" not in sentences(app) and "can be read, too few" in sentences(app)
    select(app, list(app.dataframe[0].value["id"]).index(torn.id))
    assert not app.exception
    assert len(app.error) == 1 and "delete" in app.error[0].value and "\n" not in app.error[0].value
    delete(app, torn)


def test_distill_says_which_run_is_broken_and_deletes_it(opened: Callable[..., AppTest], torn: Run) -> None:
    app = opened("distill")
    assert not app.exception
    assert [e.value.startswith(f"**{torn.id}** is broken. ") for e in app.error] == [True]
    delete(app, torn)


def test_distill_leaves_out_a_run_that_was_damaged_after_it_had_been_listed(
    opened: Callable[..., AppTest], home: Path
) -> None:
    runs = [create_run(RunConfig(**(BASE | {"method": method})).to_dict()) for method in ("ce", "lsd")]
    for run in runs:
        (run.path / "metrics.jsonl").write_text(json.dumps(LINE) + "\n")
        end_run(run, "finished")
    assert "Ended lately" in sentences(opened("distill"))
    (runs[0].path / "metrics.jsonl").write_bytes(b"\xff\xfe\x00\n")
    app = opened("distill")
    assert not app.exception and "Ended lately" in sentences(app)


def test_compare_shows_a_comparison_s_other_runs(opened: Callable[..., AppTest], torn: Run) -> None:
    for comparison in list_comparisons():
        app = opened("compare", what="methods", comparison=comparison.id)
        assert not app.exception
        assert list(app.dataframe[0].value["row"]) == ["ce", "lsd"]


@pytest.mark.parametrize("damage", [name for name in DAMAGES if name.startswith("metrics")])
def test_compare_says_which_of_its_runs_is_broken_and_deletes_it(
    opened: Callable[..., AppTest], home: Path, damage: str
) -> None:
    (cell,) = plan(BASE, ["ce"], range(1), {})
    run = create_run(cell.config.to_dict())
    create_comparison([cell], "mine")
    DAMAGES[damage](run.path)
    app = opened("compare", what="methods")
    assert not app.exception
    assert [e.value.startswith("**ce, seed 0** is broken. ") for e in app.error] == [True]
    labelled(app.button, "Delete for good").click()
    app.run()
    assert not app.exception and not app.error and not list_runs()


@pytest.mark.parametrize("text", ["{", "[]", '{"cells": []}', '{"cells": [3]}', '{"cells": [{"row": "ce"}]}'])
def test_a_broken_comparison_is_one_line_and_can_be_deleted(
    opened: Callable[..., AppTest], home: Path, text: str
) -> None:
    cells = plan(BASE, ["ce"], range(1), {})
    (create_comparison(cells, "torn").path / "spec.json").write_text(text)
    create_comparison(cells, "whole")
    for name, is_torn in (("whole", False), ("torn", True)):
        chosen = next(c for c in list_comparisons() if c.id.startswith(name))
        app = opened("compare", what="methods", comparison=chosen.id)
        assert not app.exception
        assert [e.value.startswith(f"**{chosen.id}** is broken. ") for e in app.error] == [True] * is_torn
    labelled(app.button, "Delete for good").click()
    app.run()
    assert not app.exception and not app.error
    assert [c.id.partition("-")[0] for c in list_comparisons()] == ["whole"]


def test_a_damaged_store_is_a_sentence_that_hides_nothing_else_and_a_button_that_makes_it_anew(
    opened: Callable[..., AppTest], home: Path
) -> None:
    store = extracted(find_checkpoint("digits-teacher"), dataset_info("digits"), "test")
    extracted(find_checkpoint("digits-fn"), dataset_info("digits"), "test")
    for page in ("overview", "norms", "gallery", "soft_targets", "compare"):
        st.cache_resource.clear()
        os.truncate(store.path / "logits.npy", 500)
        app = opened(page)
        assert not app.exception
        assert [e.value for e in app.error] == [
            f"The store {store.path.name} is damaged (logits.npy is cut short); `fnkd stores prune` removes it, and it "
            "is extracted anew when it is next looked at."
        ]
        assert page != "overview" or ("Import a checkpoint" in sentences(app) and "Checkpoints" in sentences(app))
        labelled(app.button, "Extract anew").click()
        app.run()
        assert not app.exception and not app.error
        Store(store.path).check(deep=True)


@pytest.mark.parametrize("page", ["overview", "norms", "gallery", "map", "soft_targets"])
def test_of_two_models_the_one_whose_weights_are_others_is_said_and_the_other_one_is_shown(
    opened: Callable[..., AppTest], home: Path, page: str
) -> None:
    copy_checkpoint(home, "digits-fn", "theirs")
    whole = opened(page, teacher="digits-teacher", student="none")
    assert not whole.exception and not whole.error
    (home / "checkpoints" / "theirs.safetensors").write_bytes(b"no weights at all")
    app = opened(page, teacher="digits-teacher", student="theirs")
    assert not app.exception
    (error,) = app.error
    assert error.value.startswith("theirs: theirs.safetensors is not the file its card describes")
    assert len(app.get("plotly_chart")) == len(whole.get("plotly_chart"))
    assert "digits-teacher" in sentences(app) or page in ("gallery", "map", "soft_targets")


def test_damage_to_a_store_that_is_open_is_a_sentence_in_a_fragment_too(
    opened: Callable[..., AppTest], home: Path
) -> None:
    store = extracted(find_checkpoint("digits-teacher"), dataset_info("digits"), "test")
    st.cache_resource.clear()
    assert not opened("soft_targets").error
    os.truncate(store.path / "logits.npy", 500)
    app = opened("soft_targets")
    assert not app.exception
    assert [e.value.partition(";")[0] for e in app.error] == [
        f"The store {store.path.name} is damaged (logits.npy is cut short)"
    ]


def test_a_damaged_list_of_folders_is_a_line_in_the_sidebar_and_every_page_goes_on(
    opened: Callable[..., AppTest], home: Path
) -> None:
    (home / "data").mkdir()
    (home / "data" / "folders.json").write_text('{"mine": 3}')
    for page in ("overview", "runs", "distill"):
        app = opened(page)
        assert not app.exception and app.title
        assert [e.value for e in app.sidebar.error] == [
            f"{home}/data/folders.json is damaged (mine must be text or an object, got 3); correct it, or delete it "
            "and add the folders again."
        ]


def test_a_damaged_card_is_a_line_in_the_list_of_checkpoints(opened: Callable[..., AppTest], home: Path) -> None:
    copy_checkpoint(home, "digits-ce", "theirs")
    path = home / "checkpoints" / "theirs.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"metrics": {"last": "x"}}))
    app = opened("overview")
    assert not app.exception and not app.error
    table = next(d.value for d in app.dataframe if "why not here" in d.value)
    (said,) = table.loc[table["name"] == "theirs", "why not here"]
    assert said.startswith(f"{path} is damaged (metrics.last must be an object, got 'x')")

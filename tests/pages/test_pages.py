"""Every page runs, explains itself where there is nothing, and turns what a user can cause into a sentence."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from fnkd_core.data import add_folder
from fnkd_core.experiments.comparison import list_comparisons
from fnkd_core.experiments.plan import plan
from fnkd_core.experiments.presets import PRESETS
from fnkd_core.experiments.status import statuses_of
from fnkd_core.jobs import control
from fnkd_core.jobs.control import cancel, wait
from fnkd_core.jobs.run import create_run, list_runs
from fnkd_core.jobs.worker import work
from fnkd_core.kd.methods import METHODS
from fnkd_core.kd.objective import parameters
from fnkd_core.paths import project_dir
from fnkd_core.stores.store import Store
from fnkd_core.training.config import RunConfig
from fnkd_core.ui import two_models
from fnkd_core.ui.frame import default_models
from fnkd_core.ui.view import PAGES
from tests.pages.tools import labelled, make_folder, sentences
from tests.waiting import until

NAMES = [name for pages in PAGES.values() for name in pages]


@pytest.mark.parametrize("name", NAMES)
def test_a_page_runs_on_the_shipped_data_and_says_which_question_it_answers(
    opened: Callable[..., AppTest], name: str
) -> None:
    app = opened(name)
    assert not app.exception
    assert not app.error
    assert app.title[0].value == next(pages[name][0] for pages in PAGES.values() if name in pages)
    assert len(app.caption[0].value) > 20


@pytest.mark.parametrize("name", [n for n in NAMES if n not in ("distill", "runs", "compare", "classes")])
def test_without_a_model_a_page_says_to_choose_one(opened: Callable[..., AppTest], name: str) -> None:
    app = opened(name, teacher="none", student="none")
    assert not app.exception
    assert name in ("overview", "data") or "Pick a teacher or a student" in sentences(app)


@pytest.mark.parametrize("name", NAMES)
def test_one_model_alone_is_enough(opened: Callable[..., AppTest], name: str) -> None:
    app = opened(name, student="none")
    assert not app.exception
    assert not app.error


@pytest.mark.parametrize("name", NAMES)
def test_a_data_set_that_must_be_downloaded_is_only_offered(opened: Callable[..., AppTest], name: str) -> None:
    app = opened(name, dataset="cifar10")
    assert not app.exception
    assert not (project_dir() / "data" / "cifar-10-batches-py").exists()


@pytest.mark.parametrize("name", NAMES)
def test_a_broken_checkpoint_beside_good_ones_breaks_no_page_and_has_no_other_s_numbers(
    opened: Callable[..., AppTest], home: Path, name: str
) -> None:
    folder = home / "checkpoints"
    folder.mkdir()
    (folder / "torn.safetensors").write_bytes(b"\x00" * 100)
    (folder / "torn.json").write_text("{")
    card = json.loads((project_dir() / "checkpoints" / "digits-ce.json").read_text())
    (folder / "lying.json").write_text(json.dumps(card | {"name": "lying"}))
    (folder / "lying.safetensors").write_bytes((project_dir() / "checkpoints" / "digits-kd.safetensors").read_bytes())
    app = opened(name, student="lying")
    assert not app.exception
    if name in ("norms", "gallery", "soft_targets", "compare", "overview"):
        assert "not the file its card describes" in sentences(app)


@pytest.mark.parametrize("name", NAMES)
def test_data_without_any_checkpoint_leads_to_training(
    opened: Callable[..., AppTest], tmp_path: Path, home: Path, name: str
) -> None:
    add_folder("animals", str(make_folder(tmp_path / "animals")))
    app = opened(name, dataset="animals")
    assert not app.exception
    if name in ("norms", "gallery", "soft_targets"):
        assert "Train one here first" in sentences(app)


def test_a_folder_that_has_vanished_is_one_line_and_can_be_forgotten(
    opened: Callable[..., AppTest], tmp_path: Path, home: Path
) -> None:
    root = make_folder(tmp_path / "animals")
    add_folder("animals", str(root))
    root.rename(tmp_path / "gone")
    app = opened("norms", dataset="animals")
    assert not app.exception
    assert "The data set animals cannot be read: " in app.error[0].value and "is not a folder" in app.error[0].value
    labelled(app.button, "Forget animals").click().run()  # type: ignore[attr-defined]
    assert not app.exception and not app.error
    assert "The data set 'animals' is not here any more; another one is shown." in sentences(app)


@pytest.mark.parametrize("method", list(METHODS))
def test_the_form_has_a_field_for_every_parameter_of_every_method(opened: Callable[..., AppTest], method: str) -> None:
    app = opened("distill")
    next(s for s in app.selectbox if s.label == "Method").select(method)
    app.run()
    assert not app.exception
    assert not app.error
    labels = {e.label for kind in (app.number_input, app.selectbox, app.toggle, app.text_input) for e in kind}
    assert {p.name for p in parameters(method)} <= labels


def test_a_method_that_needs_a_teacher_says_so_where_none_is_chosen(opened: Callable[..., AppTest]) -> None:
    app = opened("distill", teacher="none")
    next(s for s in app.selectbox if s.label == "Method").select("kd")
    app.run()
    assert not app.exception
    assert "Choose a teacher" in app.error[0].value


def test_start_makes_a_run_with_the_form_s_values(opened: Callable[..., AppTest], home: Path) -> None:
    app = opened("distill")
    next(n for n in app.number_input if n.label == "Epochs").set_value(1)
    next(n for n in app.number_input if n.label == "tau").set_value(2.5)
    next(t for t in app.text_input if t.label == "Name").set_value("mine")
    app.run()
    next(b for b in app.button if b.label == "Start").click()
    app.run()
    assert not app.exception
    (run,) = list_runs()
    assert wait(run, 240) == "finished"
    assert run.config["parameters"]["tau"] == 2.5
    assert run.config["teacher"] == "digits-teacher"
    again = opened("runs")
    assert "mine" in again.dataframe[0].value["name"].tolist()
    assert f"mine-{run.id[-8:]}" in again.sidebar.selectbox[3].options


def test_runs_in_every_state_are_shown(opened: Callable[..., AppTest], home: Path) -> None:
    assert "No runs yet" in sentences(opened("runs"))
    config = RunConfig(epochs=1).to_dict()
    interrupted, cancelled, broken = (create_run(config) for _ in range(3))
    cancel(cancelled)
    (broken.path / "spec.json").write_text("{")
    failed = create_run(config)
    (failed.path / "end.json").write_text('{"status": "failed", "error": "It broke.", "traceback": null}')
    app = opened("runs")
    assert not app.exception
    states = dict(zip(app.dataframe[0].value["id"], app.dataframe[0].value["state"], strict=True))
    assert states == {
        interrupted.id: "interrupted", cancelled.id: "cancelled", broken.id: "broken", failed.id: "failed",
    }  # fmt: skip


def test_the_gallery_s_filters_come_from_the_url(opened: Callable[..., AppTest], home: Path) -> None:
    app = opened("gallery")
    next(s for s in app.selectbox if s.label == "Label").select("3")
    next(s for s in app.selectbox if s.label == "Outcome").select("wrong")
    app.run()
    assert not app.exception
    assert any("of 360 samples" in c.value or "No sample passes" in c.value for c in [*app.caption, *app.info])


def test_the_default_teacher_is_the_one_that_the_others_name(home: Path) -> None:
    from fnkd_core.checkpoints.library import list_checkpoints

    teacher, student = default_models(tuple(list_checkpoints()))
    assert teacher is not None and teacher.name == "digits-teacher"
    assert student is not None and student.name == "digits-fn"
    assert default_models(()) == (None, None)


def test_the_default_student_is_not_another_epoch_of_the_teachers_own_run(home: Path) -> None:
    from fnkd_core.checkpoints.library import find_checkpoint, students_of

    run = create_run(RunConfig(epochs=2, threads=1).to_dict())
    assert work(run.path) == 0
    last, best = students_of(run.path)
    other = find_checkpoint("digits-ce")
    assert other.card is not None
    weak = replace(other, card=replace(other.card, metrics={}))
    teacher, student = default_models((last, best, weak))
    assert teacher in (last, best) and student == weak


def test_compare_starts_a_matrix_shows_what_its_runs_say_and_opens_two_of_its_students(
    opened: Callable[..., AppTest],
) -> None:
    app = opened("compare", what="methods")
    labelled(app.multiselect, "Methods").set_value(["ce", "kd"])
    for label, value in (("Epochs", 1), ("Seeds", 3), ("Per class", 4)):
        labelled(app.number_input, label).set_value(value)
    app.run()
    assert "**6** runs, one after another" in sentences(app) and "lr 0.05" in sentences(app)
    labelled(app.button, "How long?").click()
    app.run()
    assert not app.exception and "At most about " in sentences(app)
    labelled(app.button, "Start").click()
    app.run()
    assert not app.exception and not app.error
    comparison = list_comparisons()[0]
    until(lambda: not comparison.working)
    app.run()
    assert not app.exception and not app.error
    # The same question asked on the command line is the same comparison: nothing is left to train.
    cells = plan(
        {"dataset": "digits", "teacher": "digits-teacher", "epochs": 1, "per_class": 4}, ["ce", "kd"], range(3)
    )
    assert [status.state for status in statuses_of(cells)] == ["finished"] * 6
    said = [table.value for table in app.dataframe]
    assert list(said[0]["row"]) == ["ce", "kd"] and list(said[0]["seeds"]) == ["3", "3"]
    assert float(said[1].loc["ce", "kd"]) + float(said[1].loc["kd", "ce"]) == pytest.approx(1, abs=0.011)
    assert "**6** runs, 6 of them done" in sentences(app)
    link = next(e for e in app.main if e.type == "link_button").proto.url
    query = {key: values[0] for key, values in parse_qs(link.removeprefix("?")).items()}
    app = opened("compare", **query)
    assert not app.exception
    assert [labelled(app.selectbox, name).value.split("-")[0] for name in ("First", "Second")] == ["ce", "kd"]
    for child in control._children:
        child.wait(240)


def test_a_matrix_that_cannot_be_is_a_sentence(opened: Callable[..., AppTest]) -> None:
    app = opened("compare", what="methods")
    labelled(app.text_input, "Grid").set_value("tau=x")
    app.run()
    assert [e.value for e in app.error] == ["tau in a grid must be a number, got 'x'."]
    app = opened("compare", what="methods", teacher="none")
    assert "learns from a teacher; none is given" in app.error[0].value
    assert not app.exception


@pytest.mark.parametrize("name", list(PRESETS))
def test_every_preset_says_its_question_and_how_many_runs_it_is(opened: Callable[..., AppTest], name: str) -> None:
    app = opened("compare", what="methods")
    labelled(app.selectbox, "Question").set_value(name)
    app.run()
    if PRESETS[name].recipe == "finetune":
        assert [e.value for e in app.error] == ["The recipe finetune needs init, such as --init NAME; give it too."]
        start = labelled(app.selectbox, "Start from")
        start.set_value(start.options[1])
        app.run()
    assert not app.exception and not app.error
    assert PRESETS[name].question in sentences(app)
    assert re.search(r"\*\*\d+\*\* runs, one after another", sentences(app))


def test_what_is_given_goes_before_what_a_question_varies_and_is_not_varied_by_the_grid_too(
    opened: Callable[..., AppTest],
) -> None:
    app = opened("compare", what="methods")
    labelled(app.selectbox, "Question").set_value("few-labels")
    labelled(app.number_input, "Seeds").set_value(1)
    app.run()
    assert "**12** runs" in sentences(app)
    labelled(app.number_input, "Per class").set_value(9)
    app.run()
    assert "**4** runs" in sentences(app) and "per_class is 9 as given; left empty, 5, 10, 50." in sentences(app)
    labelled(app.text_input, "Grid").set_value("per_class=3,6")
    app.run()
    assert [e.value for e in app.error] == ["per_class is varied by the grid, and given as 9; leave one out."]


def test_a_question_of_rows_lays_them_and_its_recipe_out_to_be_changed(opened: Callable[..., AppTest]) -> None:
    app = opened("compare", what="methods")
    labelled(app.number_input, "Seeds").set_value(1)
    labelled(app.selectbox, "Question").set_value("short-runs")
    app.run()
    assert not app.exception and not app.error
    rows = labelled(app.text_area, "Rows besides")
    assert rows.value.splitlines() == list(PRESETS["short-runs"].rows)
    assert labelled(app.selectbox, "Recipe").value == "short" and labelled(app.number_input, "Epochs").value == 15
    assert "As the recipe short, but for lr 0.1, 0.4 (there 0.2)." in sentences(app)
    planned = plan({"teacher": "digits-teacher"}, [], [0], rows=PRESETS["short-runs"].asked()[1], recipe="short")
    assert f"**{len(planned)}** runs" in sentences(app) and "lr 0.2 unless a row says another" in sentences(app)
    rows.set_value("dkd policy=norm lr=0.1,0.2\n\n  ce")
    app.run()
    assert "**3** runs" in sentences(app)
    labelled(app.multiselect, "Methods").set_value(["kd"])
    labelled(app.text_input, "Grid").set_value("T=2,4")
    app.run()
    assert "**5** runs" in sentences(app)
    labelled(app.text_area, "Rows besides").set_value("dkd policy")
    app.run()
    assert [e.value for e in app.error] == ["A grid is NAME=VALUE,VALUE, such as tau=1,2,4; got 'policy'."]
    labelled(app.selectbox, "Question").set_value("few-labels")
    app.run()
    assert labelled(app.selectbox, "Recipe").value == "quick" and labelled(app.number_input, "Epochs").value == 20
    labelled(app.selectbox, "Recipe").set_value("crd240")
    app.run()
    labelled(app.selectbox, "Question").set_value("teacher-size")
    app.run()
    assert labelled(app.selectbox, "Recipe").value == "crd240"  # which nobody's question brought


def test_what_only_one_model_gets_right_opens_in_the_gallery_with_those_samples_alone(
    opened: Callable[..., AppTest], teacher_store: Store, fn_store: Store
) -> None:
    app = opened("compare", a="digits-fn", b="digits-teacher")
    only_fn = fn_store.samples[fn_store.samples["correct"] & ~teacher_store.samples["correct"]]
    button = next(b for b in app.button if b.key == "open 1")
    assert button.label == f"Open all {len(only_fn)} in the gallery" and len(only_fn) > 0
    chosen = {"teacher": "digits-fn", "student": "digits-teacher", "model": "student", "outcome": "wrong"}
    app = opened("gallery", **chosen, other="right")
    assert not app.exception
    assert f"{len(only_fn)} of 360 samples" in sentences(app)


def test_images_that_one_of_two_models_gets_wrong_stand_in_the_order_of_the_norms_that_they_tell(
    opened: Callable[..., AppTest], monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: list[list[dict[str, Any]]] = []

    def tiles(panels: list[dict[str, Any]], *_: object, **__: object) -> None:
        shown.extend(one["items"] for one in panels)

    monkeypatch.setattr(two_models, "tiles", tiles)
    for a, b in (("digits-teacher", "digits-ce"), ("digits-ce", "digits-teacher")):
        opened("compare", a=a, b=b)
    for items in shown:
        norms = [float(one["norm"]) for one in items]
        assert norms == sorted(norms) and all(one["predicted"] for one in items)
    assert len(shown) == 4 and max(map(len, shown)) > 2


def test_images_in_files_are_trained_at_the_size_that_the_form_says(
    opened: Callable[..., AppTest], tmp_path: Path
) -> None:
    add_folder("animals", str(make_folder(tmp_path / "animals")))
    app = opened("distill", dataset="animals")
    assert not app.exception
    assert any(n.label == "Image size" for n in app.number_input)
    assert not any(n.label == "Image size" for n in opened("distill").number_input)


@pytest.mark.parametrize("colour", ["norm", "class", "outcome", "confidence", "entropy", "difference", "divergence"])
def test_the_map_has_every_sample_in_every_colour(opened: Callable[..., AppTest], colour: str) -> None:
    app = opened("map", colour=colour)
    assert not app.exception and not app.error and not app.warning
    figure = json.loads(app.get("plotly_chart")[0].proto.spec)
    sent = [trace["customdata"] for trace in figure["data"]]
    points = [np.frombuffer(base64.b64decode(one["bdata"]), one["dtype"]) for one in sent]
    assert sorted(np.concatenate(points)) == list(range(360))
    assert "All 360 samples." in sentences(app)

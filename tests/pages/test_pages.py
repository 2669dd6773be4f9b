"""Every page runs, explains itself where there is nothing, and turns what a user can cause into a sentence."""

from __future__ import annotations

import json
import pickle
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import parse_qs

import numpy as np
import pytest
import torch
from PIL import Image
from streamlit.testing.v1 import AppTest

from fnkd_core.analysis.store import Store
from fnkd_core.checkpoints.io import read_state
from fnkd_core.checkpoints.library import find_checkpoint
from fnkd_core.data import add_folder, dataset_info, default_similar, similar_classes
from fnkd_core.data.download import PUBLISHED, Archive, Published
from fnkd_core.data.similar import save_groups, saved_path
from fnkd_core.jobs import control
from fnkd_core.jobs.comparison import list_comparisons
from fnkd_core.jobs.control import cancel, wait
from fnkd_core.jobs.run import create_run, list_runs
from fnkd_core.kd.methods import METHODS, parameters
from fnkd_core.paths import project_dir, stores_dir
from fnkd_core.training.config import RunConfig
from fnkd_core.training.plan import PRESETS
from fnkd_core.ui.frame import PAGES, default_models
from tests.serving import FILE, Files, closed_port, md5

NAMES = [name for pages in PAGES.values() for name in pages]


@pytest.fixture
def opened(home: Path) -> Callable[..., AppTest]:
    """A page, opened as by its URL."""

    def open_page(name: str, **query: str) -> AppTest:
        app = AppTest.from_file(str(project_dir() / "app.py"), default_timeout=90)
        for key, value in query.items():
            app.query_params[key] = value
        app.run()
        if name != "overview":
            app.switch_page(f"pages/{name}.py").run()
        return app

    return open_page


def sentences(app: AppTest) -> str:
    """All that the page says in words."""
    kinds = (app.markdown, app.caption, app.info, app.error, app.warning, app.success, app.subheader, app.header)
    return "\n".join(str(element.value) for kind in kinds for element in kind)


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
    assert name == "overview" or "Pick a teacher or a student" in sentences(app)


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
def test_a_broken_checkpoint_beside_good_ones_breaks_no_page(
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


def test_the_overview_tells_accuracy_norms_and_whether_the_numbers_hold(opened: Callable[..., AppTest]) -> None:
    app = opened("overview")
    shown = {metric.label: metric.value for metric in app.metric}
    assert {"Accuracy", "Parameters", "Mean ‖f‖", "sd of ‖f‖"} <= set(shown)
    said = sentences(app)
    for check in (
        "Label space fits",
        "No dead outputs",
        "head(f) equals the logits",
        "Input normalisation in its card",
    ):
        assert said.count(check) == 2
    assert "They agree on" in said


def test_a_folder_added_on_the_overview_is_then_chosen(
    opened: Callable[..., AppTest], tmp_path: Path, home: Path
) -> None:
    root = make_folder(tmp_path / "animals")
    app = opened("overview")
    labelled(app.text_input, "Path of the folder").set_value(str(root))
    labelled(app.text_input, "Name").set_value("animals")
    next(b for b in app.button if b.label == "Add").click()
    app.run()
    assert not app.exception
    assert app.sidebar.selectbox[0].value == "animals"
    assert "Train one here first" in sentences(app) or "animals" in sentences(app)


def test_a_folder_that_is_none_is_one_line_on_the_page(opened: Callable[..., AppTest]) -> None:
    app = opened("overview")
    labelled(app.text_input, "Path of the folder").set_value("/nowhere/at/all")
    labelled(app.text_input, "Name").set_value("x")
    next(b for b in app.button if b.label == "Add").click()
    app.run()
    assert not app.exception
    assert "is not a folder" in app.error[0].value


@pytest.mark.parametrize("name", NAMES)
def test_data_without_any_checkpoint_leads_to_training(
    opened: Callable[..., AppTest], tmp_path: Path, home: Path, name: str
) -> None:
    add_folder("animals", str(make_folder(tmp_path / "animals")))
    app = opened(name, dataset="animals")
    assert not app.exception
    if name in ("norms", "gallery", "soft_targets"):
        assert "Train one here first" in sentences(app)


def test_a_folder_that_has_vanished_is_one_line(opened: Callable[..., AppTest], tmp_path: Path, home: Path) -> None:
    root = make_folder(tmp_path / "animals")
    add_folder("animals", str(root))
    root.rename(tmp_path / "gone")
    app = opened("overview", dataset="animals")
    assert not app.exception
    assert "is not a folder" in app.error[0].value


@pytest.mark.parametrize("method", list(METHODS))
def test_the_form_has_a_field_for_every_parameter_of_every_method(opened: Callable[..., AppTest], method: str) -> None:
    app = opened("distill")
    next(s for s in app.selectbox if s.label == "Method").select(method)
    app.run()
    assert not app.exception
    assert not app.error
    labels = {e.label for kind in (app.number_input, app.selectbox, app.toggle) for e in kind}
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
    assert wait(run, 90) == "finished"
    assert run.config["parameters"]["tau"] == 2.5
    assert run.config["teacher"] == "digits-teacher"
    again = opened("runs")
    assert "mine" in again.dataframe[0].value["name"].tolist()
    assert f"mine-{run.id[-4:]}" in again.sidebar.selectbox[3].options


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


def make_folder(root: Path) -> Path:
    """Two classes of six real little PNG files each, without splits."""
    generator = np.random.default_rng(0)
    for name in ("cat", "dog"):
        (root / name).mkdir(parents=True)
        for i in range(6):
            pixels = generator.integers(0, 255, (12, 12, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(root / name / f"{i}.png")
    return root


def labelled(elements: object, label: str) -> object:
    return next(e for e in elements if e.label == label)  # type: ignore[attr-defined]


def test_compare_starts_a_matrix_shows_what_its_runs_say_and_opens_two_of_its_students(
    opened: Callable[..., AppTest],
) -> None:
    app = opened("compare", what="Methods over seeds")
    labelled(app.multiselect, "Methods").set_value(["ce", "kd"])
    for label, value in (("Epochs", 1), ("Seeds", 2), ("Per class", 4)):
        labelled(app.number_input, label).set_value(value)
    app.run()
    assert "**4** runs. At most about" in sentences(app)
    labelled(app.button, "Start").click()
    app.run()
    assert not app.exception and not app.error
    comparison = list_comparisons()[0]
    end = time.monotonic() + 90
    while comparison.working:
        assert time.monotonic() < end, comparison.log_tail()
        time.sleep(0.1)
    app.run()
    assert not app.exception and not app.error
    said = [table.value for table in app.dataframe]
    assert list(said[0]["row"]) == ["ce", "kd"] and list(said[0]["seeds"]) == [2, 2]
    assert float(said[1].loc["ce", "kd"]) + float(said[1].loc["kd", "ce"]) == pytest.approx(1, abs=0.011)
    assert "**4** runs, 4 of them done" in sentences(app)
    link = next(e for e in app.main if e.type == "link_button").proto.url
    query = {key: values[0] for key, values in parse_qs(link.removeprefix("?")).items()}
    app = opened("compare", **query)
    assert not app.exception
    assert [labelled(app.selectbox, name).value.split("-")[0] for name in ("First", "Second")] == ["ce", "kd"]
    for child in control._children:
        child.wait(30)


def test_a_matrix_that_cannot_be_is_a_sentence(opened: Callable[..., AppTest]) -> None:
    app = opened("compare", what="Methods over seeds")
    labelled(app.text_input, "Grid").set_value("tau=x")
    app.run()
    assert [e.value for e in app.error] == ["tau in a grid must be a number, got 'x'."]
    app = opened("compare", what="Methods over seeds", teacher="none")
    assert "learns from a teacher; none is given" in app.error[0].value
    assert not app.exception


@pytest.mark.parametrize("name", list(PRESETS))
def test_every_preset_says_its_question_and_how_many_runs_it_is(opened: Callable[..., AppTest], name: str) -> None:
    app = opened("compare", what="Methods over seeds")
    labelled(app.selectbox, "Question").set_value(name)
    app.run()
    assert not app.exception and not app.error
    assert PRESETS[name].question in sentences(app)
    assert "** runs." in sentences(app)


def test_what_only_one_model_gets_right_opens_in_the_gallery_with_those_samples_alone(
    opened: Callable[..., AppTest], teacher_store: Store, fn_store: Store
) -> None:
    app = opened("compare", a="digits-fn", b="digits-teacher")
    only_fn = fn_store.samples[fn_store.samples["correct"] & ~teacher_store.samples["correct"]]
    button = next(b for b in app.button if b.key == "open a")
    assert button.label == f"Open all {len(only_fn)} in the gallery" and len(only_fn) > 0
    app = opened("gallery", teacher="digits-fn", student="digits-teacher", outcome="right", other="wrong")
    assert not app.exception
    assert f"{len(only_fn)} of 360 samples" in sentences(app)


def test_a_published_data_set_that_is_not_there_is_one_line_and_another_can_be_chosen(
    opened: Callable[..., AppTest],
) -> None:
    app = opened("overview", dataset="cub200")
    assert not app.exception and "CUB-200-2011 is not on this machine yet." in app.info[0].value
    assert any(button.label == "Download CUB-200-2011 (1.2 GB)" for button in app.button)
    app = opened("overview", dataset="stanford_cars")
    assert not app.exception and "can no longer be downloaded" in app.info[0].value
    app.sidebar.selectbox[0].select("digits").run()
    assert not app.exception and not app.error


def test_broken_images_are_left_out_where_the_form_says_so(opened: Callable[..., AppTest], tmp_path: Path) -> None:
    root = make_folder(tmp_path / "animals")
    (root / "cat" / "0.png").write_bytes(b"torn")
    app = opened("overview")
    next(t for t in app.text_input if t.label == "Path of the folder").input(str(root))
    next(t for t in app.text_input if t.label == "Name").input("animals")
    next(t for t in app.toggle if t.label == "Leave out broken images").set_value(True)
    next(b for b in app.button if b.label == "Add").click()
    app.run()
    assert not app.exception and not app.error
    assert any("Left out: 1 unreadable image(s)" in m.value for m in app.markdown)


def test_images_in_files_are_trained_at_the_size_that_the_form_says(
    opened: Callable[..., AppTest], tmp_path: Path
) -> None:
    add_folder("animals", str(make_folder(tmp_path / "animals")))
    app = opened("distill", dataset="animals")
    assert not app.exception
    assert any(n.label == "Image size" for n in app.number_input)
    assert not any(n.label == "Image size" for n in opened("distill").number_input)


def counted(app: AppTest) -> dict[str, str]:
    return {metric.label: metric.value for metric in app.metric}


def test_similar_classes_shows_the_data_set_s_own_groups_and_what_they_do(opened: Callable[..., AppTest]) -> None:
    app = opened("classes", dataset="cifar100")
    assert not app.exception and not app.error
    assert counted(app) == {"Groups": "20", "Grouped": "100", "Alone": "0"}
    assert labelled(app.selectbox, "Groups from").value == "superclass"
    assert "`auto` means superclasses for CIFAR-100" in sentences(app)
    assert "A(apple) has **4 classes**. The label keeps **0.900**" in sentences(app)
    labelled(app.selectbox, "Groups from").set_value("none")
    app.run()
    assert counted(app)["Alone"] == "100"
    assert "`auto` still means superclasses" in sentences(app)
    assert "apple** stands alone, so aLSD is LSD with ε₁ + ε₂ = 0.1" in sentences(app)
    app = opened("classes", dataset="cifar100", labels="coarse")
    assert not app.exception and not app.error


def edit(app: AppTest, groups: dict[str, str]) -> None:
    """Types groups beside classes."""
    (table,) = app.data_editor
    rows = {str(name): i for i, name in enumerate(table.value["class"])}
    changes = {"edited_rows": {rows[name]: {"group": group} for name, group in groups.items()}}
    app.session_state[table.key] = changes | {"added_rows": [], "deleted_rows": []}
    app.run()


def test_edited_groups_are_saved_become_auto_and_can_be_given_up(opened: Callable[..., AppTest]) -> None:
    app = opened("classes")
    info = dataset_info("digits")
    edit(app, {"4": "closed", "9": "closed", "1": "stroke"})
    assert not app.exception and not app.error
    assert counted(app) == {"Groups": "1", "Grouped": "2", "Alone": "8"}
    assert default_similar(info) == "none"
    labelled(app.button, "Save").click()
    app.run()
    assert not app.exception and not app.error
    assert similar_classes(info, "auto")[4] == (9,) and default_similar(info) == "saved"
    assert "`auto` means your saved groups" in sentences(app)
    assert labelled(app.selectbox, "Groups from").value == "saved"
    app = opened("classes")
    assert counted(app)["Groups"] == "1"
    labelled(app.button, "Delete for good").click()
    app.run()
    assert not app.exception and not saved_path(info).exists()
    assert counted(app)["Groups"] == "0" and "`auto` means no groups" in sentences(app)


def test_edits_that_are_not_saved_outlive_a_visit_to_another_page(opened: Callable[..., AppTest]) -> None:
    app = opened("classes")
    edit(app, {"4": "closed", "9": "closed"})
    app.switch_page("pages/runs.py").run()
    app.switch_page("pages/classes.py").run()
    assert not app.exception
    assert counted(app)["Groups"] == "1"
    assert app.data_editor[0].value["group"].tolist()[:2] == ["closed", "closed"]


def test_an_uploaded_table_fills_the_editor_and_a_wrong_one_is_a_sentence(opened: Callable[..., AppTest]) -> None:
    app = opened("classes")
    app.file_uploader[0].set_value(("mine.csv", b"class,group\n3,round\n8,round\n", "text/csv"))
    app.run()
    assert not app.exception and not app.error
    assert labelled(app.selectbox, "Groups from").value == "mine.csv" and counted(app)["Groups"] == "1"
    app.file_uploader[0].set_value(("wrong.csv", b"class,group\nfox,round\n", "text/csv"))
    app.run()
    assert not app.exception
    assert [e.value for e in app.error] == ["wrong.csv names classes that the data set lacks: fox; mend or delete it."]
    assert counted(app)["Groups"] == "1"


def test_the_teacher_s_confusions_are_suggested_where_its_outputs_are(
    opened: Callable[..., AppTest], home: Path
) -> None:
    app = opened("classes")
    stores_dir().rename(home / "elsewhere")
    app.run()
    assert "digits-teacher has no outputs on the test split yet" in sentences(app)
    (home / "elsewhere").rename(stores_dir())
    app.run()
    labelled(app.slider, "Groups, with those of one class").set_value(8)
    app.run()
    labelled(app.button, "Fill the table").click()
    app.run()
    assert not app.exception and not app.error
    shown = counted(app)
    assert int(shown["Groups"]) + int(shown["Alone"]) == 8
    assert labelled(app.selectbox, "Groups from").value == "Confused by digits-teacher"
    assert default_similar(dataset_info("digits")) == "none"


def test_saved_groups_that_were_spoilt_are_a_sentence_and_can_be_deleted(opened: Callable[..., AppTest]) -> None:
    info = dataset_info("digits")
    save_groups(info, ("a",) * 10).write_text("class,group\nfox,a\n")
    app = opened("classes")
    assert not app.exception
    assert "names classes that the data set lacks: fox; mend or delete it" in app.error[0].value
    labelled(app.button, "Delete for good").click()
    app.run()
    assert not app.exception and not app.error and default_similar(info) == "none"


def test_a_download_on_a_page_shows_its_problem_resumes_and_goes_on(
    opened: Callable[..., AppTest], home: Path, file_server: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    def published_at(url: str) -> None:
        archives = (Archive(url, md5(FILE), "toy/a.bin"),)
        monkeypatch.setitem(PUBLISHED, "mnist", Published(len(FILE), ("toy/a.bin",), lambda datasets: archives))

    published_at(f"http://127.0.0.1:{closed_port()}/a.bin")
    app = opened("distill", dataset="mnist")
    assert labelled(app.button, "Start").disabled
    labelled(app.button, "Download MNIST (0 MB)").click()
    app.run()
    assert not app.exception
    assert "connect to the network and fetch again" in app.error[0].value
    published_at(file_server.url("a.bin"))
    file_server.cut = 1000
    labelled(app.button, "Download MNIST (0 MB)").click()
    app.run()
    assert "cut after 0 MB of 0 MB" in app.error[0].value
    file_server.cut = None
    labelled(app.button, "Resume download of MNIST (0 MB of 0 MB are here)").click()
    app.run()
    assert not app.exception and not app.error
    assert file_server.asked[-1] == "bytes=1000-"
    assert (home / "data" / "toy" / "a.bin").read_bytes() == FILE
    assert not labelled(app.button, "Start").disabled


def test_a_checkpoint_imported_on_the_overview_says_what_was_found_and_is_then_chosen(
    opened: Callable[..., AppTest], tmp_path: Path
) -> None:
    torch.save({"state_dict": read_state(find_checkpoint("digits-ce").path)}, tmp_path / "theirs.pth")
    app = opened("overview")
    labelled(app.button, "Import").click()
    app.run()
    assert [e.value for e in app.error] == ["No file is given; write its path, or upload it."]
    labelled(app.text_input, "Path of the file").set_value(str(tmp_path / "theirs.pth"))
    labelled(app.text_input, "Input mean").set_value("0.3, x")
    labelled(app.button, "Import").click()
    app.run()
    assert "The mean must be numbers" in app.error[0].value
    labelled(app.text_input, "Input mean").set_value("")
    labelled(app.button, "Import").click()
    app.run()
    assert not app.exception and not app.error
    said = sentences(app)
    assert "**theirs** is in the library" in said and "Recognised as cifar_resnet8" in said
    labelled(app.button, "Use as student").click()
    app.run()
    assert not app.exception
    assert labelled(app.sidebar.selectbox, "Student").value == "theirs"
    assert "Imported from theirs.pth (torch zip, state_dict)." in sentences(app)


def test_a_file_that_is_no_checkpoint_is_one_line_on_the_overview(
    opened: Callable[..., AppTest], tmp_path: Path
) -> None:
    (tmp_path / "bad.pth").write_bytes(pickle.dumps(print, 2))
    app = opened("overview")
    labelled(app.text_input, "Path of the file").set_value(str(tmp_path / "bad.pth"))
    labelled(app.button, "Import").click()
    app.run()
    assert not app.exception
    assert len(app.error) == 1 and app.error[0].value.startswith("bad.pth ")

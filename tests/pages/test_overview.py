"""Overview: whether the numbers hold, adding data, importing checkpoints."""

from __future__ import annotations

import pickle
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from streamlit.testing.v1 import AppTest

from fnkd_core.checkpoints.io import read_state
from fnkd_core.checkpoints.library import find_checkpoint
from fnkd_core.data import add_folder, dataset_info
from fnkd_core.data.download import fetch as fetching
from fnkd_core.data.download.addresses import PUBLISHED, Archive, Published
from fnkd_core.jobs.control import cancel
from fnkd_core.jobs.queue import hand_in, unchanged
from fnkd_core.jobs.run import create_run
from fnkd_core.stores.store import open_store
from fnkd_core.stores.teacher_outputs import list_teacher_outputs, teacher_outputs
from fnkd_core.training.config import RunConfig
from fnkd_core.ui.view import PAGES
from tests.pages.tools import labelled, link_of, make_folder, sentences
from tests.serving import FILE, Files, closed_port, md5
from tests.tools import copy_checkpoint


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


@pytest.mark.parametrize("name", [name for pages in PAGES.values() for name in pages])
def test_no_page_fetches_data_unasked_and_three_of_them_offer_it(
    opened: Callable[..., AppTest], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    monkeypatch.setattr(fetching, "fetch", lambda name, root=None: iter(asked.append(name) or ()))
    app = opened(name, dataset="mnist", split="train")
    assert not app.exception and not app.error and not asked
    offered = [button.label for button in app.button if button.label.startswith("Download MNIST (")]
    assert len(offered) == (name in ("overview", "data", "distill"))
    assert "is read. Its images are below." not in sentences(app)


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
    assert any("Left out: 1 unreadable image" in m.value for m in app.markdown)


def test_a_download_on_a_page_shows_its_problem_resumes_and_goes_on(
    opened: Callable[..., AppTest], home: Path, file_server: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    def published_at(url: str) -> None:
        archives = (Archive(url, md5(FILE), "toy/a.bin"),)
        monkeypatch.setitem(PUBLISHED, "mnist", Published(len(FILE), ("toy/a.bin",), lambda datasets: archives))

    published_at(f"http://127.0.0.1:{closed_port()}/a.bin")
    app = opened("distill", dataset="mnist")
    assert labelled(app.button, "Start").disabled
    labelled(app.button, "Download MNIST (3 kB)").click()
    app.run()
    assert not app.exception
    assert "connect to the network and fetch again" in app.error[0].value
    published_at(file_server.url("a.bin"))
    file_server.cut = 1000
    labelled(app.button, "Download MNIST (3 kB)").click()
    app.run()
    assert "cut after 1 kB of 3 kB" in app.error[0].value
    file_server.cut = None
    labelled(app.button, "Resume download of MNIST (1 kB of 3 kB are here)").click()
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


def test_an_imported_checkpoint_of_other_data_is_chosen_with_its_data(
    opened: Callable[..., AppTest], tmp_path: Path
) -> None:
    add_folder("animals", str(make_folder(tmp_path / "animals")))
    torch.save(read_state(find_checkpoint("digits-ce").path), tmp_path / "theirs.pth")
    app = opened("overview", dataset="animals")
    labelled(app.selectbox, "Classes of").set_value("digits")
    labelled(app.text_input, "Path of the file").set_value(str(tmp_path / "theirs.pth"))
    labelled(app.button, "Import").click()
    app.run()
    labelled(app.button, "Use as teacher").click()
    app.run()
    assert not app.exception and not app.warning
    link = link_of(app)
    assert (link["dataset"], link["teacher"]) == ("digits", "theirs")


def test_what_a_card_does_not_say_of_accuracy_is_said_where_its_outputs_are_kept(
    opened: Callable[..., AppTest], home: Path
) -> None:
    copy_checkpoint(home, "digits-kd", "mine", metrics={})
    table = opened("overview", teacher="mine", student="digits-ce").dataframe[0].value.set_index("name")["accuracy"]
    assert table["mine"] == pytest.approx(table["digits-kd"], abs=1e-4)
    copy_checkpoint(home, "digits-fn", "unseen", metrics={})
    store = open_store(find_checkpoint("unseen"), dataset_info("digits"), "test")
    assert store is not None
    shutil.rmtree(store.path)
    table = opened("overview", teacher="mine", student="digits-ce").dataframe[0].value.set_index("name")["accuracy"]
    assert np.isnan(table["unseen"]) and not np.isnan(table["mine"])


def test_import_waits_for_an_upload_to_be_whole(opened: Callable[..., AppTest], tmp_path: Path) -> None:
    torch.save(read_state(find_checkpoint("digits-ce").path), tmp_path / "theirs.pth")
    app = opened("overview")
    assert not labelled(app.button, "Import").disabled
    app.segmented_control(key="import where").set_value("Upload").run()
    assert labelled(app.button, "Import").disabled
    app.file_uploader[0].set_value(("theirs.pth", (tmp_path / "theirs.pth").read_bytes(), "")).run()
    assert not labelled(app.button, "Import").disabled
    labelled(app.button, "Import").click().run()
    assert not app.exception and not app.error
    assert "**theirs** is in the library" in sentences(app)


def test_of_several_networks_in_a_file_the_one_that_is_named_as_the_part_comes_in(
    opened: Callable[..., AppTest], tmp_path: Path
) -> None:
    one, two = (read_state(find_checkpoint(name).path) for name in ("digits-ce", "digits-kd"))
    torch.save({"nets": {"first": one, "second": two}}, tmp_path / "both.pth")
    app = opened("overview")
    labelled(app.text_input, "Path of the file").set_value(str(tmp_path / "both.pth"))
    labelled(app.button, "Import").click()
    app.run()
    assert "holds 2 networks: nets.first" in app.error[0].value and "choose one as the part" in app.error[0].value
    labelled(app.text_input, "Part").set_value(" nets.second ")
    labelled(app.button, "Import").click()
    app.run()
    assert not app.exception and not app.error
    assert "Imported from both.pth (torch zip, nets, second)." in sentences(app)


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


def test_teachers_outputs_go_at_a_press_unless_a_run_may_read_them(opened: Callable[..., AppTest]) -> None:
    kept = teacher_outputs(find_checkpoint("digits-teacher").identity, {"images": "some"}, 8, 10, "some images")
    kept.claim([str(i) for i in range(8)])
    waiting = create_run(RunConfig(epochs=1).to_dict())
    with unchanged():
        hand_in(waiting)
    app = opened("overview")
    assert "Teachers' outputs on training images take" in sentences(app)
    app.button(key="forget teacher outputs").click()
    app.run()
    assert [error.value for error in app.error if "may read what teachers have said" in error.value]
    assert list_teacher_outputs() == [kept.path] and not app.exception
    cancel(waiting)
    app.button(key="forget teacher outputs").click()
    app.run()
    assert list_teacher_outputs() == [] and not app.error and not app.exception
    assert "Teachers' outputs" not in sentences(app)

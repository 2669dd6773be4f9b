"""The Gallery's orders, pages and open sample; what is on a page is what a plain sort gives."""

from __future__ import annotations

import base64
import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from streamlit.testing.v1 import AppTest

from fnkd_core.analysis.divergence import between_rules
from fnkd_core.analysis.targets import Source
from fnkd_core.checkpoints.library import find_checkpoint
from fnkd_core.data import add_folder, dataset_info, load_split
from fnkd_core.data.selections import add_to, find_selection
from fnkd_core.stores.curves import softmax
from fnkd_core.stores.extract import extracted
from fnkd_core.stores.store import Store
from fnkd_core.training.config import RunConfig
from fnkd_core.training.loop import train
from fnkd_core.ui.arrange import ByClass, Ends, Sorted
from fnkd_core.ui.sample import class_rows, distributions
from tests.pages.tools import labelled, link_of, press, sentences


def shown(app: AppTest) -> dict[str, Any]:
    """What the component is given."""
    return components(app)[0]


def components(app: AppTest) -> list[dict[str, Any]]:
    """What each gallery on the page is given."""
    given = [json.loads(element.proto.json) for element in app.get("bidi_component")]
    return [one for one in given if "panels" in one]


def ids(app: AppTest) -> list[list[int]]:
    return [[item["id"] for item in panel["items"]] for panel in shown(app)["panels"]]


def test_the_ends_are_those_of_the_norm_and_every_sample_has_one_cell_alone(teacher_store: Store) -> None:
    order = np.argsort(teacher_store.samples["norm"].to_numpy(), kind="stable").astype(np.int32)
    ends = Ends(teacher_store, order[:101])
    low, high = ends.panels(0, ends.num_cells)
    assert [item["id"] for item in low["items"]] == order[:51].tolist() and low["count"] == 51
    assert [item["id"] for item in high["items"]] == order[100:50:-1].tolist() and high["count"] == 50
    for place in range(101):
        cell = ends.cell_of(place)
        assert int(order[place]) in [item["id"] for half in ends.panels(cell, cell + 1) for item in half["items"]]


@pytest.mark.parametrize("kind", ["sorted", "classes"])
def test_a_sample_is_in_the_cell_that_its_place_says(teacher_store: Store, kind: str) -> None:
    order = np.argsort(teacher_store.samples["norm"].to_numpy(), kind="stable").astype(np.int32)
    labels = teacher_store.samples["label"].to_numpy()
    groups = [order[labels[order] == k] for k in range(10)]
    arranged = Sorted(teacher_store, order, "norm", "") if kind == "sorted" else ByClass(teacher_store, groups)
    assert arranged.num_cells == (360 if kind == "sorted" else 10)
    for place in (0, 23, 24, 100, 359):
        sample, cell = int(arranged.ids[place]), arranged.cell_of(place)
        (panel,) = arranged.panels(cell, cell + 1)
        if kind == "sorted":
            assert [item["id"] for item in panel["items"]] == [sample]
        else:
            assert panel["title"] == teacher_store.classes[labels[sample]]


def test_a_class_s_row_has_its_lowest_and_its_highest_once_each(teacher_store: Store) -> None:
    for size, split in ((1, 1), (5, 3), (8, 4), (36, 4)):
        group = np.arange(size, dtype=np.int32)
        (row,) = ByClass(teacher_store, [group]).panels(0, 1)
        items = [item["id"] for item in row["items"]]
        assert row["split"] == split and len(set(items)) == len(items) == min(size, 8)
        assert items[0] == 0 and items[-1] == size - 1


def test_sorting_by_a_column_and_a_percentile_goes_to_its_place(opened: Callable[..., AppTest]) -> None:
    app = opened("gallery", show="sorted", sort="entropy")
    entropies = [item["more"][0] for item in shown(app)["panels"][0]["items"]]
    values = [float(text.removeprefix("entropy ")) for text in entropies]
    rows = shown(app)["rows"]
    assert values == sorted(values) and (rows["first"], rows["last"], rows["length"]) == (0, len(values), 360)
    labelled(app.number_input, "Go to percentile").set_value(100.0)  # type: ignore[attr-defined]
    app.run()
    assert not app.exception and link_of(app)["at"] == "360"
    rows = shown(app)["rows"]
    assert rows["go"]["cell"] == 359 and rows["first"] < 359 and rows["last"] == 360
    # The order changed: it is begun anew. What it is looked at with leaves it at its place.
    labelled(app.selectbox, "Order").set_value("highest first").run()  # type: ignore[attr-defined]
    assert shown(app)["rows"]["go"]["cell"] == 0 and "at" not in link_of(app)
    app = opened("gallery", show="sorted", at="200")
    labelled(app.selectbox, "Density").set_value("compact").run()  # type: ignore[attr-defined]
    assert shown(app)["rows"]["go"]["cell"] == 199 and link_of(app)["at"] == "200"


def test_what_the_browser_asks_for_is_sent_and_no_more_than_is_there(opened: Callable[..., AppTest]) -> None:
    app = opened("gallery", show="sorted", at="900")
    assert link_of(app)["at"] == "360"
    go = shown(app)["rows"]["go"]
    for asked, sent in (
        ({"first": 100, "last": 140, "at": 121}, (100, 140)),
        ({"first": -5, "last": 10**9, "at": 7}, (0, 360)),
        ({"first": 100, "last": 90, "at": 101}, (52, 196)),
    ):
        app.session_state["rows in sight"] |= asked | {"go": go | {"cell": asked["at"] - 1}}
        app.session_state["at"] = asked["at"]
        app.run()
        rows = shown(app)["rows"]
        assert not app.exception and (rows["first"], rows["last"]) == sent
        # To where it is already, the browser is not told to go.
        assert rows["go"]["n"] == go["n"] and len(shown(app)["panels"][0]["items"]) == sent[1] - sent[0]


def test_a_link_opens_its_sample_among_the_others_and_another_number_is_said(opened: Callable[..., AppTest]) -> None:
    app = opened("gallery", sample="17")
    assert not app.exception
    sample = shown(app)["sample"]
    assert sample["id"] == 17 and any(17 in half for half in ids(app))
    assert {model["role"] for model in sample["models"]} == {"teacher", "student"}
    assert [len(group["items"]) for group in sample["neighbours"]] == [6, 6]
    app = opened("gallery", sample="360")
    assert not app.exception and shown(app)["sample"] is None
    assert any("samples 0 to 359" in warning.value for warning in app.warning)
    app = opened("gallery", sample="x1")
    assert not app.exception and shown(app)["sample"] is None and "cannot be read: 'x1'" in sentences(app)


def test_the_open_sample_is_walked_through_those_that_pass_alone(
    opened: Callable[..., AppTest], teacher_store: Store
) -> None:
    samples = teacher_store.samples
    order = samples[samples["label"] == 3].sort_values(["norm", "id"])["id"].tolist()
    app = opened("gallery", sample=str(order[4]), cls="3")
    sample = shown(app)["sample"]
    assert (sample["previous"], sample["next"]) == (order[3], order[5])
    assert sample["place"] == f"5 of {len(order)}"
    assert [chip["text"] for chip in shown(app)["chips"]] == ["Label 3"]
    outside = int(samples.index[samples["label"] != 3][0])
    sample = shown(opened("gallery", sample=str(outside), cls="3"))["sample"]
    assert (sample["previous"], sample["next"]) == (None, None)
    assert sample["place"] == f"Not among the {len(order)} that pass"


def test_both_models_stand_on_the_same_rows_and_the_rest_is_what_is_missing(
    teacher_store: Store, fn_store: Store
) -> None:
    values: dict[str, float | str] = {"t": 4.0, "tau": 3.0, "lambda": 3.0, "variant": "paper"}
    said = {"teacher": distributions(teacher_store, 5, values), "student": distributions(fn_store, 5, values)}
    label = int(teacher_store.samples["label"].iat[5])
    found = class_rows(said, teacher_store.classes, label, top=2)
    names = [row["name"] for row in found["rows"]]
    best = {teacher_store.classes[k] for s in (teacher_store, fn_store) for k in np.argsort(-s.logits[5])[:2]}
    assert set(names) == best | {teacher_store.classes[label]}
    assert found["rest"] is not None
    for rule in range(3):
        for model in range(2):
            total = sum(row["values"][rule][model] for row in found["rows"]) + found["rest"]["values"][rule][model]
            assert total == pytest.approx(1)
        assert found["most"][rule] == max(max(row["values"][rule]) for row in found["rows"])
    at_four = softmax(teacher_store.logits[5] / 4)
    assert found["rows"][0]["values"][1][0] == pytest.approx(at_four[teacher_store.classes.index(names[0])])
    assert class_rows(said, teacher_store.classes, label, top=10)["rest"] is None


def test_one_model_alone_has_a_panel(opened: Callable[..., AppTest]) -> None:
    app = opened("gallery", sample="3", student="none")
    assert not app.exception and [model["role"] for model in shown(app)["sample"]["models"]] == ["teacher"]
    assert "360 of 360 samples." in sentences(app)


def test_those_that_pass_are_saved_shown_alone_exported_and_handed_to_distill(opened: Callable[..., AppTest]) -> None:
    app = opened("gallery", split="train", cls="3", outcome="wrong")
    count = len(shown(app)["panels"][0]["items"]) + len(shown(app)["panels"][1]["items"])
    (add,) = (button for button in app.button if button.label.startswith("Add the "))
    assert add.label == f"Add the {count} that pass"
    add.click().run()
    assert not app.exception
    held = find_selection("tagged-digits-train")
    assert len(held.keys) == count and held.made == f"{count} by Label 3, Outcome wrong"
    assert sorted(shown(app)["tagged"]) == sorted(id for half in ids(app) for id in half)
    labelled(app.text_input, "Note").set_value("look again").run()  # type: ignore[attr-defined]
    assert find_selection("tagged-digits-train").note == "look again"
    labelled(app.button, "Reset filters").click().run()  # type: ignore[attr-defined]
    assert "1,437 of 1,437 samples." in sentences(app)
    labelled(app.toggle, "Show these alone").set_value(True).run()  # type: ignore[attr-defined]
    assert f"{count} of 1,437 samples." in sentences(app)
    assert [chip["text"] for chip in shown(app)["chips"]] == ["Selection alone"]
    assert {button.label for button in app.get("download_button")} == {"CSV", "Parquet", "List of files"}
    assert "Train with its labels" not in {button.label for button in app.button}
    labelled(app.selectbox, "Class").set_value(7).run()  # type: ignore[attr-defined]
    labelled(app.button, "Give it to those that pass").click().run()  # type: ignore[attr-defined]
    assert find_selection("tagged-digits-train").labels == dict.fromkeys(held.keys, 7)
    assert f"{count} of 1,437 samples, {count} with a new label" in sentences(app)
    given = {"label": "7", "by": "tagged-digits-train"}
    assert [item["new"] for half in shown(app)["panels"] for item in half["items"]] == [given] * count
    labelled(app.button, "Train with its labels").click().run()  # type: ignore[attr-defined]
    assert labelled(app.selectbox, "New labels from").value == "tagged-digits-train"  # type: ignore[attr-defined]
    app.switch_page("pages/gallery.py").run()
    labelled(app.button, "Weigh all by norm").click().run()  # type: ignore[attr-defined]
    assert labelled(app.number_input, "Weight by norm").value == 1  # type: ignore[attr-defined]
    app.switch_page("pages/gallery.py").run()
    labelled(app.button, "Train without these").click().run()  # type: ignore[attr-defined]
    assert not app.exception
    app.switch_page("pages/distill.py").run()
    assert not app.exception and not app.error
    assert labelled(app.selectbox, "Leave out").value == "tagged-digits-train"  # type: ignore[attr-defined]
    assert labelled(app.selectbox, "Train only on").value == ""  # type: ignore[attr-defined]
    assert labelled(app.selectbox, "New labels from").value == "tagged-digits-train"  # type: ignore[attr-defined]


def test_the_chosen_selection_stays_chosen_while_other_pages_and_splits_are_looked_at(
    opened: Callable[..., AppTest],
) -> None:
    info = dataset_info("digits")
    add_to("mine", info, "test", load_split(info, "test").keys[:5], "")
    app = opened("gallery")
    labelled(app.selectbox, "Selection").set_value("mine").run()  # type: ignore[attr-defined]
    labelled(app.toggle, "Show these alone").set_value(True).run()  # type: ignore[attr-defined]
    app.switch_page("pages/norms.py").run()
    app.switch_page("pages/gallery.py").run()
    assert not app.exception and link_of(app)["selection"] == "mine"
    assert labelled(app.selectbox, "Selection").value == "mine"  # type: ignore[attr-defined]
    for split, chosen in (("train", "tagged-digits-train"), ("test", "mine")):
        labelled(app.sidebar.selectbox, "Split").set_value(split).run()  # type: ignore[attr-defined]
        assert labelled(app.selectbox, "Selection").value == chosen  # type: ignore[attr-defined]


def test_a_note_is_written_by_who_changes_it_and_by_nobody_who_only_has_it_on_the_screen(
    opened: Callable[..., AppTest],
) -> None:
    app, other = opened("gallery"), opened("gallery")
    next(button for button in app.button if button.label.startswith("Add the ")).click().run()
    other.run()
    labelled(app.text_input, "Note").set_value("mine").run()  # type: ignore[attr-defined]
    labelled(other.selectbox, "Outcome").set_value("wrong").run()  # type: ignore[attr-defined]
    assert find_selection("tagged-digits-test").note == "mine"
    assert labelled(other.text_input, "Note").value == "mine"  # type: ignore[attr-defined]
    labelled(other.button, "Delete for good").click().run()  # type: ignore[attr-defined]
    next(button for button in other.button if button.label.startswith("Add the ")).click().run()
    app.run()
    assert find_selection("tagged-digits-test").note == "" and not app.exception and not other.exception


def test_a_server_that_only_shows_tags_nothing(opened: Callable[..., AppTest], monkeypatch: pytest.MonkeyPatch) -> None:
    opened("gallery")
    monkeypatch.setenv("FNKD_READONLY", "1")
    app = opened("gallery")
    assert not app.exception and shown(app)["tagged"] is None
    assert not any(button.label.startswith("Add the ") for button in app.button)


def test_what_the_first_ones_have_in_common_is_looked_at_when_it_is_asked_for(opened: Callable[..., AppTest]) -> None:
    app = opened("gallery")
    assert len(components(app)) == 1
    labelled(app.number_input, "Of the first").set_value(100)  # type: ignore[attr-defined]
    next(toggle for toggle in app.toggle if toggle.label.startswith("Look at")).set_value(True).run()
    assert not app.exception
    below = components(app)[1]
    assert [panel["title"] for panel in below["panels"]] == ["Representatives", "Nearest pairs"]
    assert [len(panel["items"]) for panel in below["panels"]] == [12, 24]
    assert app.dataframe[0].value["num_samples"].sum() == 100


def test_what_they_have_in_common_is_of_those_that_pass_now_when_the_other_model_has_changed(
    opened: Callable[..., AppTest], teacher_store: Store
) -> None:
    right = [
        int(extracted(find_checkpoint(name), dataset_info("digits"), "test").samples["correct"].sum())
        for name in ("digits-fn", "digits-ce")
    ]
    app = opened("gallery", other="right")
    next(toggle for toggle in app.toggle if toggle.label.startswith("Look at")).set_value(True).run()
    counts = []
    for student in ("digits-fn", "digits-ce"):
        labelled(app.sidebar.selectbox, "Student").set_value(student)  # type: ignore[attr-defined]
        app.run()
        counts.append(app.dataframe[0].value["num_samples"].sum())
        assert f"{counts[-1]} of 360 samples" in sentences(app)
    assert counts == right and len(set(right)) == 2 and not app.exception


def test_a_photograph_is_shown_itself_with_what_is_read_of_it_outlined(
    opened: Callable[..., AppTest], tmp_path: Path, home: Path
) -> None:
    for split in ("train", "test"):
        for name in ("cat", "dog"):
            folder = tmp_path / "photos" / split / name
            folder.mkdir(parents=True)
            for i in range(4):
                Image.new("RGB", (120, 80), (40 * i, 90, 200)).save(folder / f"{i}.jpg")
    add_folder("photos", str(tmp_path / "photos"))
    asked = RunConfig(dataset="photos", image_size=16, epochs=1, validation=0.0, batch_size=4, threads=1)
    for _ in train(asked, tmp_path / "run"):
        pass
    (home / "checkpoints").mkdir()
    for suffix in (".safetensors", ".json"):
        shutil.copy(tmp_path / "run" / f"model{suffix}", home / "checkpoints" / f"small{suffix}")
    app = opened("gallery", dataset="photos", sample="5")
    assert not app.exception
    sample = shown(app)["sample"]
    file = tmp_path / "photos" / "test" / "dog" / "1.jpg"
    assert sample["path"] == str(file)
    assert base64.b64decode(sample["picture"]["src"].partition(",")[2]) == file.read_bytes()
    assert sample["picture"]["src"].startswith("data:image/jpeg;")
    (read,) = sample["reads"]
    assert read["part"] == pytest.approx([20 / 120, 0, 80 / 120, 1])
    assert Image.open(io.BytesIO(base64.b64decode(read["src"].partition(",")[2]))).size == (16, 16)


def test_the_gallery_is_sorted_and_filtered_by_how_far_two_rules_lie_apart(
    opened: Callable[..., AppTest], teacher_store: Store
) -> None:
    values = Source(teacher_store).defaults() | {"t": 4.0, "tau": 2.0}
    expected = between_rules(Source(teacher_store), "t", "fn", values).astype(np.float32)
    lab = {"T": "4", "tau": "2", "rules": "t,fn", "pair": "t,fn"}
    app = opened("gallery", show="sorted", sort="divergence", order="highest first", **lab)
    assert not app.exception and not app.error
    assert "Jensen-Shannon divergence between the targets of" in sentences(app) and "T 4" in sentences(app)
    (found,) = ids(app)
    assert expected[found].tolist() == np.sort(expected)[::-1][: len(found)].tolist()
    least = float(np.sort(expected)[-10]) - 1e-7
    app = opened("gallery", show="sorted", sort="divergence", divergence=f"{least!r}~inf", **lab)
    assert "10 of 360 samples" in sentences(app)
    assert "10 of 360 samples" in sentences(opened("gallery", **link_of(app)))
    press(app, "Reset filters")
    assert "360 of 360 samples" in sentences(app) and "divergence" not in link_of(app)


def test_the_order_by_divergence_follows_the_other_model_where_a_rule_reads_both(
    opened: Callable[..., AppTest], teacher_store: Store, fn_store: Store
) -> None:
    app = opened("gallery", show="sorted", sort="divergence", order="highest first", rules="t,joint", pair="t,joint")
    info = dataset_info("digits")
    ce_store = extracted(find_checkpoint("digits-ce"), info, "test")
    for name, store in (("digits-fn", fn_store), ("digits-ce", ce_store)):
        labelled(app.sidebar.selectbox, "Student").set_value(name)  # type: ignore[attr-defined]
        app.run()
        source = Source(teacher_store, store)
        expected = between_rules(source, "t", "joint", source.defaults()).astype(np.float32)
        (found,) = ids(app)
        assert expected[found].tolist() == np.sort(expected)[::-1][: len(found)].tolist(), name


def test_a_link_with_an_open_sample_shows_the_targets_that_it_says(opened: Callable[..., AppTest]) -> None:
    names = [rule["name"] for rule in shown(opened("gallery", sample="3", T="8"))["sample"]["rules"]]
    assert names == ["T = 1", "T = 8", "τ/‖f‖"]


def test_from_and_to_narrow_by_the_column_that_orders(opened: Callable[..., AppTest], teacher_store: Store) -> None:
    entropy = teacher_store.samples["entropy"].to_numpy()
    middle = float(np.median(entropy))
    app = opened("gallery", show="sorted", sort="entropy")
    labelled(app.number_input, "From").set_value(middle).run()
    assert f"{int((entropy >= middle).sum())} of 360 samples" in sentences(app)
    assert link_of(app)["entropy"].endswith("~inf")

"""Similar classes: shown, edited, saved, given up."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from streamlit.testing.v1 import AppTest

from fnkd_core.analysis.costs import head_costs, head_rows, nearest
from fnkd_core.checkpoints.library import find_checkpoint
from fnkd_core.data import dataset_info, default_similar, similar_classes
from fnkd_core.data.similar import save_groups, saved_path
from fnkd_core.paths import stores_dir
from tests.pages.tools import counted, fields, labelled, press, sentences


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


def test_similar_classes_shows_what_wkd_pays_by_the_head_and_by_the_groups(opened: Callable[..., AppTest]) -> None:
    app = opened("classes")
    costs = head_costs(head_rows(find_checkpoint("digits-teacher")), 0, 1.0)
    first = nearest(costs, 0, 1)[0]
    assert f"By its head, mass of **0** costs least on **{first}**." in sentences(app)
    edit(app, {"0": "round", str(first): "round"})
    assert not app.exception and not app.error
    assert f"costs least on **{first}**; of its 1 nearest, 1 is of its group." in sentences(app)
    labelled(app.number_input, "Sharpness κ").set_value(3.0)
    app.run()
    assert not app.exception and not app.error
    app = opened("classes", teacher="none")
    assert not app.exception and "Choose a teacher in the sidebar to see the costs" in sentences(app)


def test_what_a_class_was_looked_at_with_is_what_distill_begins_with(opened: Callable[..., AppTest]) -> None:
    app = opened("classes")
    labelled(app.number_input, "Sharpness κ").set_value(3.0)
    app.run()
    press(app, "Distil with the head's costs")
    assert app.title[0].value == "Distill" and "costs and sharpness are from Similar classes." in sentences(app)
    found = fields(app, "wkd")
    assert (found["costs"], found["sharpness"]) == ("head", 3.0)
    app.switch_page("pages/classes.py").run()
    assert labelled(app.button, "Distil with the groups' costs").disabled, "there are none"
    edit(app, {"0": "round", "8": "round"})
    for label in ("Distil with the groups' costs", "Distil with these ε"):
        assert labelled(app.button, label).disabled, "a run would take others"
    press(app, "Save")
    labelled(app.number_input, "ε₂").set_value(0.07)
    app.run()
    app.session_state["set similar"] = "none"
    press(app, "Distil with these ε")
    assert app.title[0].value == "Distill"
    assert fields(app, "alsd") == {"epsilon_uniform": 0.05, "epsilon_similar": 0.07}
    assert labelled(app.selectbox, "Similar classes").value == "auto"
    app.switch_page("pages/classes.py").run()
    press(app, "Distil with the groups' costs")
    assert fields(app, "wkd")["costs"] == "similar"
    press(app, "Back to the defaults")
    assert fields(app, "wkd")["costs"] == "head"


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

"""Data: what a data set is before any model has seen it, and what can be done about what is broken in it."""

from __future__ import annotations

import ast
from collections.abc import Callable
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from fnkd_core.data import add_folder, dataset_info
from fnkd_core.paths import project_dir
from fnkd_core.ui.view import PAGES
from tests.pages.tools import counted, labelled, make_folder, press, select, sentences


@pytest.fixture
def animals(tmp_path: Path, home: Path) -> Path:
    """A folder that was added, one of whose images is cut off."""
    root = make_folder(tmp_path / "animals")
    whole = (root / "cat" / "0.png").read_bytes()
    (root / "cat" / "broken.png").write_bytes(whole[: len(whole) // 2])
    add_folder("animals", str(root))
    return root


def test_a_data_set_is_counted_by_split_and_by_class_without_any_model(opened: Callable[..., AppTest]) -> None:
    app = opened("data", teacher="none", student="none")
    assert not app.exception and not app.error
    assert counted(app) == {"Train": "1,437", "Test": "360", "Pixels": "8 × 8"}
    said = sentences(app)
    assert "the largest class has 1.05 times as many" in said and "360 of 360 samples of test" in said
    table = app.dataframe[0].value
    assert table["train"].sum() == 1437 and table["test"].sum() == 360


def test_the_class_and_the_page_of_its_pictures_stand_in_the_link(opened: Callable[..., AppTest]) -> None:
    app = opened("data", cls="3", split="train", page="2")
    assert labelled(app.selectbox, "Class").value == "3"  # type: ignore[attr-defined]
    assert "146 of 1,437 samples of train" in sentences(app)
    labelled(app.selectbox, "Class").set_value("all")  # type: ignore[attr-defined]
    app.run()
    assert "1,437 of 1,437 samples of train" in sentences(app) and not app.exception


def test_a_broken_image_is_named_on_its_page_and_left_out_by_a_button_beside_it(
    opened: Callable[..., AppTest], animals: Path
) -> None:
    app = opened("data", dataset="animals", split=_split_of_the_broken())
    assert "1 image of this page cannot be read: cat/broken.png" in app.error[0].value.replace("\\", "")
    before = dataset_info("animals")
    press(app, "Leave out broken images")
    app.run()
    assert not app.exception and not app.error
    after = dataset_info("animals")
    assert sum(after.sizes) == sum(before.sizes) - 1
    assert after.identities != before.identities
    assert "Leave out broken images" not in [button.label for button in app.button]


def _split_of_the_broken() -> str:
    from fnkd_core.data.catalogue import files_of

    info = dataset_info("animals")
    return next(s for s in info.splits if any("broken" in key for key in files_of(info, s).keys))  # type: ignore[union-attr]


def test_its_files_are_looked_at_when_that_is_asked_for_and_decoding_finds_those_that_are_cut_off(
    opened: Callable[..., AppTest], animals: Path
) -> None:
    app = opened("data", dataset="animals", split=_split_of_the_broken())
    assert len(app.error) == 1  # the broken one is on this page too
    press(app, "Decode every image")
    assert not app.exception and [b.label for b in app.button].count("Leave out broken images") == 2
    tables = [table.value for table in app.dataframe]
    assert any("PNG 13" in str(table) for table in tables)
    assert any("broken.png" in str(table) for table in tables)
    assert not app.exception
    press(app, "Leave out broken images")
    app.run()
    # What was looked at is not what the data are any more.
    assert not any("broken.png" in str(table.value) for table in app.dataframe) and not app.exception


def test_an_extraction_that_met_a_broken_image_offers_to_leave_it_out(
    opened: Callable[..., AppTest], animals: Path
) -> None:
    from fnkd_core.jobs.control import submit, wait
    from fnkd_core.training.config import RunConfig

    split = _split_of_the_broken()
    (animals / "cat" / "broken.png").rename(animals / "aside")
    run = submit(RunConfig(dataset="animals", method="ce", epochs=1, batch_size=4, threads=1, validation=0).to_dict())
    assert wait(run, 240) == "finished"
    (animals / "aside").rename(animals / "cat" / "broken.png")
    app = opened("gallery", dataset="animals", split=split)
    assert "cannot be read" in app.error[0].value
    press(app, "Leave out broken images")
    app.run()
    app.run()
    assert not app.exception and not app.error
    assert dataset_info("animals").unreadable == "skip"


def test_a_run_that_met_a_broken_image_offers_to_leave_it_out_and_goes_on(
    opened: Callable[..., AppTest], animals: Path
) -> None:
    from fnkd_core.jobs.control import submit, wait
    from fnkd_core.training.config import RunConfig

    run = submit(RunConfig(dataset="animals", method="ce", epochs=1, batch_size=4, threads=1, validation=0).to_dict())
    assert wait(run, 240) == "failed" and "cannot be read" in str(run.end)
    app = opened("runs")
    select(app, 0)
    press(app, "Leave out broken images")
    app.run()
    press(app, "Resume")
    assert not app.exception and wait(run, 240) == "finished"
    assert dataset_info("animals").unreadable == "skip"


def test_the_name_of_the_same_folder_is_given_again_to_choose_otherwise(animals: Path, tmp_path: Path) -> None:
    assert add_folder("animals", str(animals), "skip").unreadable == "skip"
    with pytest.raises(ValueError, match="already"):
        add_folder("animals", str(make_folder(tmp_path / "others")))


@pytest.mark.parametrize("page", [name for pages in PAGES.values() for name in pages])
def test_the_first_thing_that_a_page_does_is_to_ask_for_its_frame(page: str) -> None:
    body = ast.parse((project_dir() / "pages" / f"{page}.py").read_text()).body
    first = next(node for node in body[1:] if any(isinstance(part, ast.Call) for part in ast.walk(node)))
    assert ast.unparse(first).removeprefix("view = ").startswith(f"frame.page('{page}',")

"""The main ways through the dashboard, walked in a real browser."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from playwright.sync_api import Page, expect

from fnkd_core.checkpoints.io import read_state
from fnkd_core.checkpoints.library import find_checkpoint
from fnkd_core.jobs.control import cancel, submit, wait
from fnkd_core.jobs.run import list_runs
from fnkd_core.records import read_json
from fnkd_core.training.config import RunConfig
from fnkd_core.ui.view import PAGES
from tests.browser.conftest import PATIENCE_S, Server

pytestmark = pytest.mark.browser
TITLES = {"" if name == "overview" else name: title for pages in PAGES.values() for name, (title, _) in pages.items()}


@pytest.mark.parametrize("path", ["", "norms"])  # that each page has this way in is held by a test of its first line
def test_a_page_is_there_as_the_first_request_after_a_start(
    server: Server, page: Page, settled: Callable[[], None], path: str
) -> None:
    page.goto(f"{server.url}/{path}")
    expect(page.get_by_role("heading", name=TITLES[path], exact=True, level=1)).to_be_visible()
    settled()
    expect(page.get_by_test_id("stSidebar").get_by_text("Teacher", exact=True)).to_be_visible()


def test_the_choice_of_the_sidebar_survives_a_change_of_page_and_a_reload(
    shared: Server, page: Page, settled: Callable[[], None]
) -> None:
    page.goto(f"{shared.url}/norms?student=digits-kd")
    settled()
    student = page.get_by_role("combobox", name=re.compile("Student"))
    expect(student).to_have_value("digits-kd · shipped")
    page.get_by_role("link", name="Gallery").click()
    expect(page).to_have_url(re.compile(r"/gallery\?.*student=digits-kd"))
    page.reload()
    settled()
    expect(student).to_have_value("digits-kd · shipped")


def test_the_lowest_norm_image_opens_beside_the_others_with_its_classes_under_three_rules(
    shared: Server, page: Page, settled: Callable[[], None]
) -> None:
    page.goto(f"{shared.url}/gallery")
    lowest = page.get_by_role("region", name="Lowest norm").get_by_role("button").first
    expect(lowest).to_be_visible()
    norms = [float(x) for x in page.get_by_role("region", name="Lowest norm").locator(".norm").all_inner_texts()]
    assert norms == sorted(norms)
    lowest.focus()
    page.keyboard.press("Enter")
    opened = page.get_by_role("complementary", name="Sample")
    expect(opened).to_contain_text("T = 4")
    expect(opened).to_contain_text("τ/‖f‖")
    expect(opened).to_contain_text("Label:")
    expect(opened).to_contain_text("lowest of 360")
    expect(lowest).to_be_visible()


def test_a_box_in_the_plot_of_norms_opens_its_samples_in_the_gallery(
    shared: Server, page: Page, settled: Callable[[], None]
) -> None:
    page.goto(f"{shared.url}/norms")
    plot = page.locator(".st-key-scatter").get_by_test_id("stPlotlyChart")
    expect(plot).to_be_visible()
    settled()
    plot.scroll_into_view_if_needed()
    area = plot.locator(".nsewdrag").first.bounding_box()
    assert area
    page.mouse.move(area["x"] + 2, area["y"] + 2)
    page.mouse.down()
    page.mouse.move(area["x"] + area["width"] * 0.35, area["y"] + area["height"] - 2, steps=8)
    page.mouse.up()
    chosen = page.get_by_text(re.compile(r"\d+ samples selected"))
    expect(chosen).to_be_visible()
    number = re.search(r"([\d,]+) samples", chosen.inner_text())
    page.get_by_role("button", name="Open in the gallery").click()
    expect(page).to_have_url(re.compile(r"/gallery\?.*norm="))
    assert number
    expect(page.get_by_text(re.compile(rf"^{number[1]} of 360 samples"))).to_be_visible()


def test_a_distillation_started_on_the_page_ends_in_the_picker_even_if_the_server_is_killed(
    server: Server, page: Page, settled: Callable[[], None]
) -> None:
    page.goto(f"{server.url}/distill")
    epochs = page.get_by_role("spinbutton", name="Epochs")
    expect(epochs).to_be_visible()
    settled()
    epochs.fill("2")
    epochs.press("Enter")
    name = page.get_by_role("textbox", name="Name")
    name.fill("walked")
    name.press("Enter")
    expect(page).to_have_url(re.compile("walked"))  # so the server has the name
    expect(page.get_by_text("2 epochs of about 1,293 images")).to_be_visible()
    settled()
    page.get_by_role("button", name="Start").click()
    expect(page.get_by_test_id("stMain").locator("strong", has_text="walked")).to_be_visible()
    page.goto("about:blank")  # a page that loses its server complains, as it should
    server.kill()
    (run,) = list_runs()
    assert wait(run, PATIENCE_S) == "finished"
    server.start()
    page.goto(f"{server.url}/runs")
    expect(page.get_by_role("heading", name="The newest run")).to_be_visible()
    page.get_by_role("combobox", name=re.compile("Student")).click()
    expect(page.get_by_role("option", name=f"walked-{run.id[-8:]}", exact=True)).to_be_visible()


def test_a_finished_job_tells_its_accuracy_and_can_be_chosen_at_once(
    shared: Server, page: Page, settled: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FNKD_HOME", str(shared.home))
    page.goto(f"{shared.url}/distill")
    epochs = page.get_by_role("spinbutton", name="Epochs")
    expect(epochs).to_be_visible()
    settled()
    epochs.fill("2")
    epochs.press("Enter")
    expect(page.get_by_text("2 epochs of about 1,293 images")).to_be_visible()
    settled()
    page.get_by_role("button", name="Start").click()
    expect(page.get_by_text("The student is in the pickers.")).to_be_visible()
    page.get_by_role("button", name="Choose it as student").click()
    (run,) = list_runs()
    expect(page.get_by_role("combobox", name=re.compile("Student")).first).to_have_value(run.id)


def test_a_killed_training_is_shown_as_interrupted_and_resumes(
    shared: Server, page: Page, settled: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FNKD_HOME", str(shared.home))
    run = submit(RunConfig(epochs=200, name="long", threads=1).to_dict())
    page.goto(f"{shared.url}/distill")
    expect(page.get_by_text(re.compile("Epoch [3-9]"))).to_be_visible()
    before = len(run.metrics())
    os.kill(int(read_json(run.path / "started.json", dict[str, Any])["pid"]), signal.SIGKILL)
    expect(page.get_by_text("Its process ended without a word")).to_be_visible()
    page.get_by_role("button", name="Resume").click()
    expect(page.get_by_text(re.compile("Epoch .* left"))).to_be_visible()
    assert len(run.metrics()) >= before
    cancel(run)
    assert wait(run, PATIENCE_S) == "cancelled"
    assert len(run.metrics()) >= before


def test_groups_typed_into_the_table_are_saved(shared: Server, page: Page, settled: Callable[[], None]) -> None:
    page.goto(f"{shared.url}/classes")
    table = page.get_by_test_id("stDataFrame")
    expect(table).to_be_visible()
    settled()
    box = table.bounding_box()
    assert box is not None
    for row in (1, 2):  # its cells are drawn, not elements
        page.mouse.dblclick(box["x"] + 0.75 * box["width"], box["y"] + 31 * row + 15)
        cell = page.locator("#portal").get_by_role("textbox")
        cell.fill("round")
        cell.press("Enter")
        expect(cell).to_have_count(0)
    expect(page.get_by_text("Not in use yet")).to_be_visible()
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.get_by_text("means your saved groups")).to_be_visible()
    saved = (shared.home / "data" / "similar" / "digits-digits.csv").read_text()
    assert saved.startswith("class,group\n0,round\n1,round\n2,\n")


def test_an_uploaded_checkpoint_is_imported_and_used_as_teacher(
    shared: Server, page: Page, settled: Callable[[], None], tmp_path: Path
) -> None:
    state = read_state(find_checkpoint("digits-teacher").path)
    torch.save({"state_dict": {f"module.{k}": v for k, v in state.items()}}, tmp_path / "theirs.pth")
    assert (tmp_path / "theirs.pth").stat().st_size > 1e6
    page.goto(shared.url)
    settled()
    page.get_by_text("Upload", exact=True).first.click()
    page.locator("input[type=file]").set_input_files(tmp_path / "theirs.pth")
    settled()
    page.get_by_role("button", name="Import", exact=True).click()
    expect(page.get_by_text("is in the library")).to_be_visible()
    page.get_by_role("button", name="Use as teacher").click()
    expect(page.get_by_role("heading", name="Teacher: theirs")).to_be_visible()
    settled()

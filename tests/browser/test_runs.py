"""The table of runs in a real browser: rows are numbers there, and what is selected are runs."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from fnkd_core.files import write_text
from fnkd_core.jobs.control import end_run
from fnkd_core.jobs.run import create_run
from fnkd_core.training.config import RunConfig
from tests.browser.conftest import Server
from tests.pages.test_broken import LINE

pytestmark = pytest.mark.browser


def test_a_run_that_is_selected_stays_so_when_another_appears_above_it(
    shared: Server, page: Page, settled: Callable[[], None]
) -> None:
    def make(name: str) -> None:
        run = create_run(RunConfig(epochs=1, name=name).to_dict(), shared.home / "runs" / name)
        write_text(run.path / "metrics.jsonl", json.dumps(LINE) + "\n")
        end_run(run, "failed", "It broke.")

    for name in ("a-run", "b-run"):
        make(name)
    page.goto(f"{shared.url}/runs")
    table = page.get_by_test_id("stDataFrame").first

    def click_row(number: int, heading: str) -> None:
        """Its cells are drawn, not elements: a click before they are is lost, and they are told once they are."""
        settled()
        expect(table.get_by_test_id(f"glide-cell-1-{number - 1}")).to_be_attached()
        box = table.bounding_box()
        assert box is not None
        page.mouse.click(box["x"] + 12, box["y"] + 31 * number + 15)
        expect(page.get_by_role("heading", name=heading, exact=True)).to_be_visible()

    click_row(2, "a-run")
    make("c-run")  # as another process would: nothing is pressed here
    expect(table.get_by_test_id("glide-cell-1-2")).to_be_attached()  # a third row
    settled()  # while the page is drawn anew, the old one is still there
    curve = page.get_by_role("combobox", name="Curve")
    expect(curve).to_have_count(1)
    curve.click()
    page.get_by_role("option", name="training accuracy").click()
    settled()
    expect(page.get_by_role("heading", name="a-run", exact=True)).to_be_visible()
    click_row(1, "2 selected")
    settled()  # a popover that is opened before the page is whole is drawn anew, closed
    page.get_by_role("button", name="Delete", exact=True).click()
    named = page.get_by_test_id("stPopoverBody").get_by_role("listitem")
    expect(named).to_have_text(["c-run", "a-run"])
    page.get_by_role("button", name="Delete for good").click()
    expect(page.get_by_role("heading", name="The newest run")).to_be_visible()
    assert [path.name for path in (shared.home / "runs").iterdir()] == ["b-run"]

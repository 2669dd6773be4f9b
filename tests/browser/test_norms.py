"""Norms in a real browser: a brush on either hump and the fields beside it select alike, and the range stays drawn."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.browser.conftest import Server

pytestmark = pytest.mark.browser


def brush(page: Page, chart: Locator, first: float, last: float) -> None:
    """Drag over these shares of the plot's width, low in it and not over its whole height."""
    chart.scroll_into_view_if_needed()
    area = chart.locator(".nsewdrag").first.bounding_box()
    assert area
    height = area["y"] + area["height"] * 0.7
    page.mouse.move(area["x"] + area["width"] * first, height)
    page.mouse.down()
    page.mouse.move(area["x"] + area["width"] * last, height + 15, steps=8)
    page.mouse.up()


@pytest.fixture
def chart(shared: Server, page: Page, settled: Callable[[], None]) -> Locator:
    """The distribution of the two shipped models' norms: the student's are on the left."""
    page.goto(f"{shared.url}/norms")
    plot = page.locator(".st-key-distribution").get_by_test_id("stPlotlyChart")
    expect(plot.locator(".nsewdrag").first).to_be_visible()
    settled()
    return plot


def test_a_brush_selects_the_norms_of_the_model_whose_hump_it_is_on_and_stays_drawn(
    chart: Locator, page: Page, settled: Callable[[], None]
) -> None:
    said = page.get_by_text(re.compile(r"\d+ samples selected"))
    before = chart.locator(".shapelayer path").count()
    brush(page, chart, 0.1, 0.3)
    expect(said).to_contain_text("under Student digits-fn, test split")
    expect(page).to_have_url(re.compile(r"model=student.*norm=|norm=.*model=student"))
    expect(chart.locator(".shapelayer path")).to_have_count(before + 1)
    settled()
    brush(page, chart, 0.7, 0.9)
    expect(said).to_contain_text("under Teacher digits-teacher, test split")
    settled()
    page.get_by_role("button", name="Clear", exact=True).click()
    expect(said).to_have_count(0)
    expect(chart.locator(".shapelayer path")).to_have_count(before)


def test_it_can_be_brushed_however_it_is_drawn(chart: Locator, page: Page, settled: Callable[[], None]) -> None:
    said = page.get_by_text(re.compile(r"\d+ samples selected"))
    drawn = {
        "ECDF": chart.get_by_text("share up to this norm"),
        "right / wrong": chart.get_by_text(re.compile(r"^right \(\d+\)")),
        "split": chart.get_by_text(re.compile(r"teacher, test \(360\)")),
        "class": chart.locator(".boxlayer path.box").first,
    }
    for way, its_own in drawn.items():
        page.get_by_role("radio", name=way, exact=True).click()
        expect(its_own).to_be_visible()
        settled()
        brush(page, chart, 0.4, 0.6)
        expect(said).to_be_visible()
        expect(page.get_by_role("spinbutton", name="‖f‖ from")).not_to_have_value("")
        page.get_by_role("button", name="Clear", exact=True).click()
        expect(said).to_have_count(0)
        settled()


def test_the_fields_do_the_same_by_keyboard_and_open_those_samples_in_the_gallery(
    chart: Locator, page: Page, settled: Callable[[], None]
) -> None:
    low = page.get_by_role("spinbutton", name="‖f‖ from")
    low.focus()
    page.keyboard.type("11")
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile(r"norm=11(~|%7E)inf"))
    settled()
    page.get_by_role("spinbutton", name="‖f‖ to").focus()
    page.keyboard.type("12.5")
    page.keyboard.press("Enter")
    said = page.get_by_text(re.compile(r"\d+ samples selected: ‖f‖ 11 to 12\.5, under Teacher"))
    expect(said).to_be_visible()
    number = re.search(r"([\d,]+) samples", said.inner_text())
    settled()
    page.get_by_role("button", name="Open in the gallery").click()
    assert number
    expect(page.get_by_text(re.compile(rf"^{number[1]} of 360 samples"))).to_be_visible()

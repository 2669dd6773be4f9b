"""The Gallery is one scroll over all its order: rows come as they are scrolled to, and the place stands in the link."""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np
import pytest
from playwright.sync_api import Locator, Page, expect

from fnkd_core.stores.store import Store
from tests.browser.conftest import Held, Server

pytestmark = pytest.mark.browser

IN_SIGHT = """one => {
  const { top, bottom } = one.getBoundingClientRect();
  return [...one.querySelectorAll(".tile")].filter((tile) => {
    const box = tile.getBoundingClientRect();
    return box.bottom > top + 60 && box.top < bottom;
  }).map((one) => [Number(one.dataset.cell), Number(one.dataset.id)]);
}"""
FOCUSED = """cell => {
  let node = document.activeElement;
  while (node?.shadowRoot?.activeElement) node = node.shadowRoot.activeElement;
  return node?.dataset?.cell === String(cell);
}"""
COVERED = """one => {
  const frame = one.closest(".frame"), { rows } = frame, view = frame.grid.clientHeight - rows.heads.offsetHeight;
  return Math.floor(rows.top / rows.row) * rows.columns >= rows.first
    && Math.min(Math.ceil((rows.top + view) / rows.row) * rows.columns, rows.length) <= rows.beyond;
}"""


def in_sight(page: Page) -> dict[int, int]:
    """Cell -> number of the sample, of the tiles that can be seen."""
    return dict(page.locator(".scrolls").evaluate(IN_SIGHT))


def wait_for_rows(page: Page) -> None:
    """Wait until there is no room in sight without its tiles."""
    page.wait_for_function(COVERED, arg=page.locator(".scrolls").element_handle())


@pytest.fixture
def opened(shared: Server, page: Page, settled: Callable[[], None]) -> Callable[[str], None]:
    """Open the Gallery with this query, and wait until the tile of its place, which is "at", is there."""

    def open_it(query: str) -> None:
        place = re.search(r"at=(\d+)", query)
        page.goto(f"{shared.url}/gallery?{query}")
        expect(page.locator(f".tile[data-cell='{int(place[1]) - 1 if place else 0}']").first).to_be_visible()
        settled()

    return open_it


def place_field(page: Page) -> Locator:
    return page.get_by_role("spinbutton", name="Go to place")


def to_place(page: Page, number: int) -> None:
    place_field(page).fill(str(number))
    place_field(page).press("Enter")


def scroll(page: Page, by: int) -> None:
    """Scroll, and wait until the tiles rest where that leads."""
    scroller = page.locator(".scrolls")
    scroller.hover()
    before = scroller.evaluate("one => one.scrollTop")
    page.mouse.wheel(0, by)
    page.wait_for_function("([one, top]) => one.scrollTop === top", arg=[scroller.element_handle(), before + by])
    page.wait_for_function("one => !one.closest('.frame').rows.rest", arg=scroller.element_handle())


def test_all_of_an_order_is_met_in_one_scroll_and_few_tiles_are_there_at_once(
    opened: Callable[[str], None], page: Page, teacher_store: Store
) -> None:
    opened("show=sorted&size=128")
    tiles, scroller = page.locator(".tile"), page.locator(".scrolls")
    entries = page.evaluate("history.length")
    met = in_sight(page)
    most, heights = 0, set()
    scroller.hover()
    while 359 not in met:
        top = scroller.evaluate("one => Math.min(one.scrollTop + 300, one.scrollHeight - one.clientHeight)")
        page.mouse.wheel(0, 300)
        page.wait_for_function("([one, top]) => one.scrollTop >= top - 1", arg=[scroller.element_handle(), top])
        wait_for_rows(page)
        met |= in_sight(page)
        most = max(most, tiles.count())
        heights.add(scroller.evaluate("one => one.scrollHeight"))
    expected = np.argsort(teacher_store.samples["norm"].to_numpy(), kind="stable")
    assert [met[cell] for cell in range(360)] == expected.tolist()
    assert most < 200 and len(heights) <= 2  # a row that is taller than those before moves the end once
    expect(page.get_by_text(re.compile(r"^3\d\d to 360 of 360$"))).to_be_visible()
    expect(page).to_have_url(re.compile(r"at=3\d\d"))
    assert page.evaluate("history.length") == entries


def test_a_reload_comes_back_to_the_place_and_the_rows_above_it_are_there_when_they_are_scrolled_to(
    opened: Callable[[str], None], page: Page, settled: Callable[[], None]
) -> None:
    opened("size=128")
    tiles = page.locator(".tile")
    page.locator(".scrolls").hover()
    page.mouse.wheel(0, 1700)
    expect(page).to_have_url(re.compile(r"at=\d+"))
    wait_for_rows(page)
    # What stays in sight while others come is not drawn anew: nothing flickers.
    first, link = max(in_sight(page)), page.url
    tile = page.locator(f".tile[data-cell='{first}']").first
    tile.evaluate("one => { one.isTheOneBefore = true; }")
    page.mouse.wheel(0, 300)
    expect(page).not_to_have_url(link)
    settled()
    assert tile.evaluate("one => one.isTheOneBefore === true")
    wait_for_rows(page)
    before, link = in_sight(page), page.url
    page.reload()
    expect(tiles.first).to_be_visible()
    wait_for_rows(page)
    expect(page).to_have_url(link)
    after = in_sight(page)
    assert set(before) & set(after) and min(after) > 0
    page.locator(".scrolls").hover()
    page.mouse.wheel(0, -5000)
    expect(page.get_by_text(re.compile(r"^1 to \d+ of 180$")).first).to_be_visible()
    wait_for_rows(page)
    assert min(in_sight(page)) == 0
    expect(page).not_to_have_url(re.compile(r"[?&]at="))


def test_keys_lead_to_tiles_that_were_not_there_and_the_focus_stays_on_one(
    opened: Callable[[str], None], page: Page
) -> None:
    opened("show=sorted&size=128")
    tiles = page.locator(".tile")
    tiles.first.focus()
    page.keyboard.press("End")
    page.wait_for_function(FOCUSED, arg=359)
    expect(page.locator(".tile[data-cell='0']")).to_have_count(0)
    page.keyboard.press("Home")
    page.wait_for_function(FOCUSED, arg=0)
    page.keyboard.press("PageDown")
    page.wait_for_function("focused => !eval(focused)(0) && eval(focused)", arg=FOCUSED)
    columns = page.locator(".scrolls .grid").evaluate(
        "one => getComputedStyle(one).gridTemplateColumns.split(' ').length"
    )
    rows = 1
    while not page.evaluate(FOCUSED, rows * columns):
        rows += 1
    for step in range(1, 8):
        page.keyboard.press("ArrowDown")
        page.wait_for_function(FOCUSED, arg=(rows + step) * columns)
    # The focused tile is scrolled away: an arrow brings it back.
    page.locator(".scrolls").hover()
    page.mouse.wheel(0, 3000)
    expect(page.locator(f".tile[data-cell='{(rows + 7) * columns}']")).to_have_count(0)
    page.keyboard.press("ArrowDown")
    page.wait_for_function(FOCUSED, arg=(rows + 7) * columns)


def test_the_panel_walks_on_wherever_the_tiles_are_and_gives_the_focus_back_to_its_own(
    opened: Callable[[str], None], page: Page
) -> None:
    opened("show=sorted&size=128")
    tiles, panel = page.locator(".tile"), page.get_by_role("complementary")
    tiles.first.focus()
    page.keyboard.press("Enter")
    expect(panel).to_contain_text("1 of 360")
    to_place(page, 301)
    expect(page.locator(".tile[data-cell='300']")).to_be_visible()
    expect(page.locator(".tile[data-cell='1']")).to_have_count(0)
    panel.get_by_role("button", name="Next").click()
    expect(panel).to_contain_text("2 of 360")
    expect(page.locator(".tile[data-cell='1']")).to_have_attribute("aria-current", "true")
    assert 1 in in_sight(page)
    page.keyboard.press("t")
    expect(page.locator(".tile[data-cell='1'] .tag")).to_have_count(1)
    to_place(page, 301)
    expect(page.locator(".tile[data-cell='1']")).to_have_count(0)
    panel.get_by_role("button", name="Close").click()
    page.wait_for_function(FOCUSED, arg=1)
    expect(page.locator(".tile[data-cell='1'] .tag")).to_have_count(1)


def test_a_place_is_gone_to_at_once_and_stands_in_its_field(opened: Callable[[str], None], page: Page) -> None:
    opened("show=sorted&size=128")
    field = place_field(page)
    expect(field).to_have_value("1")
    to_place(page, 9999)  # there are 360: the last
    expect(page.locator(".tile[data-cell='359']")).to_be_visible()
    expect(field).to_have_value(re.compile(r"3\d\d"))
    to_place(page, 102)
    expect(field).to_have_value("102")
    expect(page).to_have_url(re.compile("at=102$"))
    assert 101 in in_sight(page)
    field.press("ArrowUp")  # a row further
    expect(field).not_to_have_value("102")
    after = int(field.input_value())
    assert after > 102 and min(in_sight(page)) > 90
    scroll(page, -200)
    place = field.input_value()
    assert int(place) < 102
    for number, key in (("", "Enter"), ("300", "Escape"), ("300", "Tab")):  # no place, and two that are given up
        field.fill(number)
        field.press(key)
        expect(field).to_have_value(place)
    expect(page).to_have_url(re.compile(f"at={place}$"))


def test_a_place_stays_while_a_picture_beside_it_takes_room(
    opened: Callable[[str], None], page: Page, settled: Callable[[], None]
) -> None:
    opened("show=sorted")
    expect(place_field(page)).to_have_value("1")
    to_place(page, 102)
    page.locator(".tile[data-cell='101']").click()
    panel = page.get_by_role("complementary")
    expect(panel).to_contain_text("102 of 360")
    expect(place_field(page)).to_have_value("102")
    panel.get_by_role("button", name="Close").click()
    expect(panel).to_have_count(0)
    settled()
    expect(place_field(page)).to_have_value("102")
    expect(page).to_have_url(re.compile("at=102$"))


def test_a_number_that_is_entered_after_a_click_leads_away_from_what_was_clicked(
    opened: Callable[[str], None], page: Page, settled: Callable[[], None]
) -> None:
    held = Held(page, "browser")
    opened("show=sorted&size=128")
    held.holds = True
    page.locator(".tile[data-cell='1']").click()
    to_place(page, 300)
    held.release()
    expect(page.get_by_role("complementary")).to_contain_text("2 of 360")
    expect(page).to_have_url(re.compile("at=300"))
    settled()
    assert 299 in in_sight(page)
    expect(place_field(page)).to_have_value("300")


def test_the_link_has_the_place_in_sight_also_where_it_was_come_to_while_the_server_was_at_work(
    opened: Callable[[str], None], page: Page
) -> None:
    held = Held(page, "browser")
    opened("show=sorted&size=128&at=200")
    held.holds = True
    scroll(page, 200)
    scroll(page, 200)
    place = place_field(page).input_value()
    assert int(place) > 200 and len(held.messages) == 1
    held.release()
    expect(page).to_have_url(re.compile(f"at={place}$"))


def test_who_is_sent_to_a_place_stays_there_whatever_was_told_before(
    opened: Callable[[str], None], page: Page, settled: Callable[[], None]
) -> None:
    held = Held(page, "browser")
    opened("show=sorted&size=128&at=200")
    held.holds = True
    percentile = page.get_by_role("spinbutton", name="Go to percentile")
    percentile.fill("0")
    percentile.press("Enter")
    scroll(page, 200)
    held.release()
    expect(page).not_to_have_url(re.compile(r"[?&]at="))
    settled()
    assert min(in_sight(page)) == 0
    expect(place_field(page)).to_have_value("1")


def test_what_is_pressed_while_the_server_is_at_work_is_all_done(
    opened: Callable[[str], None], page: Page, settled: Callable[[], None]
) -> None:
    # All of it comes to the server at once, which then has an answer to give to the first while the others wait.
    held = Held(page, "browser")
    opened("show=sorted&size=128")
    panel = page.get_by_role("complementary")
    page.locator(".tile").first.focus()
    page.keyboard.press("Enter")
    expect(panel).to_contain_text("1 of 360")
    settled()
    held.holds = True
    for step, key in enumerate("jtj", 1):
        page.keyboard.press(key)
        while len(held.messages) < step:
            page.wait_for_timeout(10)
    held.release()
    expect(panel).to_contain_text("2 of 360")
    expect(page.locator(".tile[data-cell='0'] .tag")).to_have_count(1)


def test_a_filter_begins_its_order_anew(opened: Callable[[str], None], page: Page) -> None:
    opened("show=sorted&at=200")
    page.get_by_role("combobox", name=re.compile("Outcome")).click()
    page.get_by_role("option", name="right", exact=True).click()
    expect(page.get_by_text(re.compile(r"^1 to \d+ of 35\d$"))).to_be_visible()
    assert min(in_sight(page)) == 0
    expect(page).not_to_have_url(re.compile(r"[?&]at="))

"""A link is a view: written while it is looked at, read by a reload, by "back", and by another browser."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from playwright.sync_api import Browser, Page, Route, expect

from tests.browser.conftest import Server

pytestmark = pytest.mark.browser


def choose(page: Page, settled: Callable[[], None], label: str, value: str) -> None:
    page.get_by_role("combobox", name=re.compile(label)).click()
    page.get_by_role("option", name=re.compile(rf"^{re.escape(value)}( ·|$)")).click()
    settled()


def shown(page: Page) -> str:
    return page.get_by_text(re.compile(r"^\d+ of 360 samples")).inner_text()


def test_filters_are_no_entries_in_the_history_and_a_page_is_one_with_its_filters(
    shared: Server, page: Page, settled: Callable[[], None]
) -> None:
    page.goto(f"{shared.url}/gallery")
    settled()
    expect(page).to_have_url(re.compile(r"dataset=digits.*split=test.*teacher=digits-teacher.*student=digits-fn"))
    before = page.evaluate("history.length")
    choose(page, settled, "Label", "3")
    choose(page, settled, "Outcome", "right")
    page.get_by_text("Sorted", exact=True).click()
    expect(page).to_have_url(re.compile("cls=3.*outcome=right"))
    expect(page).to_have_url(re.compile("show=sorted"))
    gallery = page.url
    assert page.evaluate("history.length") == before
    page.get_by_role("link", name="Norms").click()
    expect(page.get_by_role("heading", name="Norms", exact=True, level=1)).to_be_visible()
    settled()
    expect(page).to_have_url(re.compile(r"/norms\?.*teacher=digits-teacher"))
    assert page.evaluate("history.length") == before + 1
    choose(page, settled, "Student", "digits-kd")
    expect(page).to_have_url(re.compile("student=digits-kd"))
    norms = page.url
    page.go_back()
    expect(page.get_by_role("heading", name="Gallery", exact=True, level=1)).to_be_visible()
    settled()
    expect(page).to_have_url(gallery)
    expect(page.get_by_role("combobox", name=re.compile("Label"))).to_have_value("3")
    expect(page.get_by_role("combobox", name=re.compile("Student")).first).to_have_value("digits-fn · shipped")
    page.go_forward()
    expect(page.get_by_role("heading", name="Norms", exact=True, level=1)).to_be_visible()
    settled()
    expect(page).to_have_url(norms)
    expect(page.get_by_role("combobox", name=re.compile("Student")).first).to_have_value("digits-kd · shipped")
    assert page.evaluate("history.length") == before + 1


def test_a_link_shows_the_same_after_a_reload_and_in_another_browser(
    shared: Server, page: Page, browser: Browser, settled: Callable[[], None]
) -> None:
    page.goto(f"{shared.url}/gallery?norm=8~12&outcome=right&show=sorted&sort=confidence&size=128&at=25")
    settled()
    expect(page.get_by_text(re.compile("By confidence"))).to_be_visible()
    said, link = shown(page), page.url
    assert not said.startswith("360") and "at=25" in link and "norm=8~12" in link.replace("%7E", "~")
    page.reload()
    settled()
    expect(page).to_have_url(link)
    assert shown(page) == said
    other = browser.new_context().new_page()
    other.goto(link)
    expect(other.get_by_text(said)).to_be_visible()
    expect(other.get_by_text(re.compile("By confidence"))).to_be_visible()
    expect(other.get_by_text(re.compile(r"^2\d to \d+ of \d+$"))).to_be_visible()
    other.context.close()


def test_a_link_to_what_is_not_here_says_so_and_shows_nothing_else_until_something_is_chosen(
    shared: Server, page: Page, settled: Callable[[], None]
) -> None:
    page.goto(f"{shared.url}/norms?student=gone-run")
    expect(page.get_by_text("This link names student 'gone-run', which is not here.")).to_be_visible()
    settled()
    expect(page.get_by_test_id("stPlotlyChart")).to_have_count(0)
    expect(page).to_have_url(re.compile("student=gone-run"))
    choose(page, settled, "Student", "digits-kd")
    expect(page.get_by_test_id("stPlotlyChart").first).to_be_visible()
    expect(page).to_have_url(re.compile("student=digits-kd"))


def test_pickers_whose_code_comes_late_show_the_models_that_the_page_is_of(
    shared: Server, page: Page, settled: Callable[[], None]
) -> None:
    late = list[Route]()
    page.route(re.compile(r"[Ss]electbox[^/]*\.js$"), lambda one: late.append(one))
    page.goto(f"{shared.url}/norms?student=digits-kd")
    expect(page.get_by_role("heading", name="Norms", exact=True, level=1)).to_be_visible()
    settled()
    expect(page).to_have_url(re.compile("teacher=digits-teacher.*student=digits-kd"))
    page.get_by_role("link", name="Gallery").click()
    expect(page.get_by_role("heading", name="Gallery", exact=True, level=1)).to_be_visible()
    settled()
    assert late
    for one in late:
        one.continue_()
    pickers = {"Split": "test", "Teacher": "digits-teacher · shipped", "Student": "digits-kd · shipped"}
    for label, value in pickers.items():
        expect(page.get_by_role("combobox", name=re.compile(label)).first).to_have_value(value)
    page.get_by_role("link", name="Compare").click()  # what they show is sent with whatever comes next
    expect(page.get_by_role("heading", name="Compare", exact=True, level=1)).to_be_visible()
    settled()
    expect(page).to_have_url(re.compile("split=test.*teacher=digits-teacher.*student=digits-kd"))


def test_a_server_that_is_started_again_goes_on_with_the_view_that_is_open(
    server: Server, page: Page, settled: Callable[[], None]
) -> None:
    page.goto(f"{server.url}/gallery?outcome=right")
    settled()
    choose(page, settled, "Label", "3")
    expect(page).to_have_url(re.compile("cls=3"))
    said, link = shown(page), page.url
    page.evaluate("window.kept = true")
    server.kill()
    server.start()
    page.wait_for_selector("[data-testid='stApp'][data-test-connection-state='CONNECTED']")
    expect(page.get_by_role("combobox", name=re.compile("Label"))).to_have_value("3")
    settled()
    assert page.evaluate("window.kept") and page.url == link and shown(page) == said


def test_overview_has_an_address_of_its_own(shared: Server, page: Page, settled: Callable[[], None]) -> None:
    page.goto(f"{shared.url}/overview?student=digits-kd")
    expect(page.get_by_role("heading", name="Overview", exact=True, level=1)).to_be_visible()
    settled()
    expect(page.get_by_text("Page not found")).to_have_count(0)
    expect(page.get_by_role("combobox", name=re.compile("Student")).first).to_have_value("digits-kd · shipped")


def test_the_form_of_distill_stands_in_its_link(
    shared: Server, page: Page, browser: Browser, settled: Callable[[], None]
) -> None:
    page.goto(f"{shared.url}/distill")
    epochs = page.get_by_role("spinbutton", name="Epochs", exact=True)
    expect(epochs).to_be_visible()
    settled()
    epochs.fill("7")
    epochs.press("Enter")
    settled()
    tau = page.get_by_role("spinbutton", name="tau")
    tau.fill("2.5")
    tau.press("Enter")
    settled()
    expect(page).to_have_url(re.compile("settings=.*epochs.*7.*tau.*2.5"))
    other = browser.new_context().new_page()
    other.goto(page.url)
    expect(other.get_by_role("spinbutton", name="Epochs", exact=True)).to_have_value("7")
    expect(other.get_by_role("spinbutton", name="tau")).to_have_value("2.5")
    other.context.close()


def test_the_form_of_compare_is_opened_and_shut_by_a_press_each_and_stands_in_its_link_while_it_is_open(
    shared: Server, page: Page, settled: Callable[[], None]
) -> None:
    page.goto(f"{shared.url}/compare?what=methods")
    seeds, form = page.get_by_role("spinbutton", name="Seeds"), page.get_by_text("New comparison")
    expect(seeds).to_be_visible()
    settled()
    seeds.fill("2")
    seeds.press("Enter")
    expect(page).to_have_url(re.compile("new=.*seeds.*2"))
    for _ in range(2):
        form.click()
        expect(page).not_to_have_url(re.compile("new="))
        expect(seeds).to_be_hidden()
        settled()
        form.click()
        expect(page).to_have_url(re.compile("new=.*seeds.*2"))
        expect(seeds).to_be_visible()
        settled()
    page.reload()
    expect(seeds).to_have_value("2")

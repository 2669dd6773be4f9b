"""The Gallery and the lab by keyboard alone: Tab, arrows, Enter and Esc lead everywhere, and no focus is lost."""

from __future__ import annotations

import re
from collections.abc import Callable
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Server
from tests.tools import copy_checkpoint

pytestmark = pytest.mark.browser

FOCUSED = """() => {
  let node = document.activeElement;
  while (node?.shadowRoot?.activeElement) node = node.shadowRoot.activeElement;
  const label = node?.getAttribute("aria-label") ?? [...(node?.labels ?? [])].map((one) => one.textContent).join(" ");
  return label || node?.textContent || "";
}"""
MOST_TABS = 120


def focused(page: Page) -> str:
    """What the control is called that has the focus."""
    return str(page.evaluate(FOCUSED)).strip()


def tab_to(page: Page, name: str, back: bool = False) -> None:
    """Press Tab until a control with this name, a pattern, has the focus."""
    met = [focused(page)]
    for _ in range(MOST_TABS):
        page.keyboard.press("Shift+Tab" if back else "Tab")
        met.append(focused(page))
        if re.search(name, met[-1]):
            return
    pytest.fail(f"{name} is not met by Tab, only {met}")


def test_the_lab_is_used_by_keyboard_alone_from_its_sliders_to_a_student_to_train(
    shared: Server, page: Page, settled: Callable[[], None]
) -> None:
    page.goto(f"{shared.url}/soft_targets?T=2")
    slider = page.get_by_role("slider", name="τ, for τ/‖f‖")
    expect(slider).to_be_visible()
    settled()
    tab_to(page, "^LSD$")
    page.keyboard.press("Enter")
    chip = page.get_by_role("button", name="LSD", exact=True)
    expect(chip).to_have_attribute("aria-pressed", "true")
    expect(chip).to_be_focused()
    page.keyboard.press("Enter")
    expect(chip).to_have_attribute("aria-pressed", "false")
    for name, key in (("T", "T"), ("τ", "tau")):
        tab_to(page, f"^{name}, for .*(?<!number)$")
        before = re.escape(parse_qs(urlsplit(page.url).query)[key][0])
        for _ in range(3):
            page.keyboard.press("ArrowRight")
        expect(page).to_have_url(re.compile(f"[?&]{key}=(?!{before}(&|$))"))
        settled()
        assert focused(page).startswith(f"{name}, for")
    tab_to(page, "^mean T_i$")
    page.keyboard.press("Enter")
    expect(page.locator(".lab .matching")).to_contain_text("mean T_i")
    expect(page.locator(".lab .matching .note")).to_contain_text("against")
    expect(page.get_by_role("button", name="mean T_i")).to_be_focused()
    tab_to(page, "^In words$")
    page.keyboard.press("Enter")
    words = page.locator(".lab details.words").first
    expect(words).to_contain_text("Under τ/‖f‖, teacher: temperature T_i on average")
    said = words.inner_text()
    tab_to(page, "^τ, for .*(?<!number)$", back=True)
    page.keyboard.press("ArrowRight")
    expect(words).not_to_have_text(said)
    shown = page.locator(".lab .picture").inner_text()
    shot = page.locator(".lab .shot").first
    tab_to(page, r"^\d\.\d{3}\d$")
    page.keyboard.press("Enter")
    expect(page.locator(".lab .picture")).not_to_have_text(shown)
    expect(shot).to_be_focused()
    tab_to(page, "In numbers")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name="Set these in the lab")).to_be_visible()
    settled()
    before = slider.get_attribute("aria-valuetext") or ""
    tab_to(page, "Set these in the lab")
    page.keyboard.press("Enter")
    expect(slider).not_to_have_attribute("aria-valuetext", before)
    tab_to(page, "^fn: τ/‖f‖$", back=True)
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Distill", level=1)).to_be_visible()
    expect(page.get_by_text("are from Soft targets.")).to_be_visible()


def test_the_gallery_is_filtered_opened_and_walked_by_keyboard_alone(
    shared: Server, page: Page, settled: Callable[[], None]
) -> None:
    page.goto(f"{shared.url}/gallery?show=sorted")
    expect(page.locator(".tile").first).to_be_visible()
    settled()
    tab_to(page, "^Label$")
    page.keyboard.type("3")
    expect(page.get_by_role("option")).to_have_text(["3"])
    page.keyboard.press("Enter")
    expect(page.locator(".chip")).to_have_text([re.compile("Label 3")])
    settled()
    tab_to(page, "Label 3")
    tab_to(page, "^Go to place")
    tab_to(page, "norm .*3$")
    page.keyboard.press("Enter")
    panel = page.get_by_role("complementary")
    expect(panel).to_contain_text("1 of 37")
    tab_to(page, "^Next$")
    page.keyboard.press("Enter")
    expect(panel).to_contain_text("2 of 37")
    expect(panel.get_by_role("button", name="Next")).to_be_focused()
    page.keyboard.press("Escape")
    expect(panel).to_have_count(0)
    expect(page.locator(".tile").nth(1)).to_be_focused()
    tab_to(page, "Label 3", back=True)
    page.keyboard.press("Enter")
    expect(page.locator(".chip")).to_have_count(0)
    expect(page.get_by_text("360 of 360 samples.", exact=True)).to_be_visible()


def test_a_name_with_which_another_one_begins_does_not_keep_that_from_being_typed(shared: Server, page: Page) -> None:
    for name in ("own", "own-b"):
        copy_checkpoint(shared.home, "digits-kd", name)
    page.goto(f"{shared.url}/overview")
    picker = page.get_by_role("combobox", name="Checkpoint")
    for name in ("own", "own-b"):
        picker.click()
        picker.press_sequentially(name)
        expect(picker).to_have_value(name)
        picker.press("Enter")
        expect(picker).to_have_value(re.compile(rf"^{name}\W?$"))

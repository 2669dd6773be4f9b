"""The Gallery's filters in a real browser: set by hand, in the URL, and all given up at once."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Server

pytestmark = pytest.mark.browser


def test_reset_filters_gives_up_label_and_outcome_and_leaves_the_url_clean(
    server: Server, page: Page, settled: Callable[[], None]
) -> None:
    page.goto(server.url)
    settled()
    page.goto(f"{server.url}/gallery?entropy=0.05~2")
    for label, value in (("Label", "3"), ("Outcome", "right")):
        picker = page.get_by_role("combobox", name=re.compile(label))
        expect(picker).to_be_visible()
        settled()
        picker.click()
        page.get_by_role("option", name=value, exact=True).click()
        settled()
    expect(page).to_have_url(re.compile(r"cls=3.*outcome=right|outcome=right.*cls=3"))
    expect(page.get_by_text(re.compile(r"^\d+ of 360 samples; entropy"))).to_be_visible()
    page.get_by_role("button", name="Reset filters").click()
    expect(page.get_by_text("360 of 360 samples.", exact=True)).to_be_visible()
    for label in ("Label", "Prediction", "Outcome", "Other model"):
        expect(page.get_by_role("combobox", name=re.compile(label))).to_have_value("all")
    expect(page).to_have_url(re.compile(r"^(?!.*(cls|outcome|entropy|norm)=)"))
    expect(page.get_by_role("button", name="Reset filters")).to_have_count(0)
    page.reload()
    settled()
    expect(page.get_by_text("360 of 360 samples.", exact=True)).to_be_visible()

"""Every page can be read and used by everybody: axe-core finds nothing of ours, in the light and the dark theme."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python import sync_playwright as axe
from playwright.sync_api import Locator, Page, expect

from fnkd_core.ui.tasks import GOES_ON
from tests.browser.conftest import Server
from tests.browser.test_main_way import TITLES

pytestmark = pytest.mark.browser
SCRIPT = Path(axe.__file__).with_name("axe.min.js")
LEFT_OUT = [
    ["[data-testid=stSidebarNavItems]"],  # headings of sections between a list and its items
    ["[data-testid=stSelectbox]:has(:disabled)"],  # a control that is switched off is pale, as is its label
    ["[data-testid=stButtonGroup]:has(:disabled)"],
]
"""What Streamlit draws and nobody can set."""
BACKGROUND = {"light": "rgb(255, 255, 255)", "dark": "rgb(14, 19, 27)"}
DRAWN_IN = """
colour => getComputedStyle(document.querySelector("[data-testid=stApp]")).backgroundColor === colour &&
    document.getAnimations().every(one => one.playState !== "running" || !(one instanceof CSSTransition))
"""
"""Whether the page has this background, and nothing is still fading to its new colour."""
PRIMARY_IN_THE_DARK = "#2f81f7"
VIEWS = ("compare?what=methods", "gallery?show=sorted", "map?colour=class", "norms?by=class")


def violations(page: Page) -> list[str]:
    """What axe-core has against the page in either theme, a line for each element, but for what the framework draws.

    The open page follows the theme that is asked for, and in the dark one the colours alone are others. It begins with
    the theme in which the page is, and leaves it in the other one.
    """
    page.wait_for_load_state("networkidle")
    expect(page.get_by_test_id("stSkeleton")).to_have_count(0)
    expect(page.get_by_text(GOES_ON)).to_have_count(0)
    if not page.evaluate("'axe' in window"):
        page.evaluate(SCRIPT.read_text())
    lines = []
    schemes: dict[str, dict[str, Any]] = {"light": {}, "dark": {"runOnly": ["color-contrast"]}}
    is_dark = page.evaluate("matchMedia('(prefers-color-scheme: dark)').matches")
    for scheme, rules in sorted(schemes.items(), reverse=not is_dark):
        page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
        page.wait_for_function(DRAWN_IN, arg=BACKGROUND[scheme])
        asked = [LEFT_OUT, rules | {"resultTypes": ["violations"], "preload": False}]
        for violation in page.evaluate("([exclude, options]) => axe.run({exclude}, options)", asked)["violations"]:
            for node in violation["nodes"]:
                if not is_frameworks(violation["id"], node):
                    target = str(node["target"])[-150:]
                    lines.append(f"{page.url} ({scheme}): {violation['id']}: {target} {node['html'][:200]}")
    return lines


def is_frameworks(rule: str, node: dict[str, Any]) -> bool:
    """Whether Streamlit writes white on the primary colour, or the primary colour on its own tint.

    In the dark theme no one colour serves both, and neither can be set.
    """
    colours = [check.get("data") or {} for check in node["any"]] if rule == "color-contrast" else []
    return any(PRIMARY_IN_THE_DARK in (one.get("fgColor"), one.get("bgColor")) for one in colours)


def test_axe_finds_nothing_of_ours_on_any_page(shared: Server, page: Page, settled: Callable[[], None]) -> None:
    page.goto(shared.url)
    sidebar, wrong = page.get_by_test_id("stSidebar"), list[str]()
    for title in TITLES.values():
        sidebar.get_by_role("link", name=title, exact=True).click()
        page.get_by_role("heading", name=title, exact=True, level=1).wait_for()
        settled()
        wrong += violations(page)
    for path in VIEWS:
        page.goto(f"{shared.url}/{path}")
        page.get_by_role("heading", level=1).wait_for()
        settled()
        wrong += violations(page)
    assert not wrong, "\n".join(wrong)


def test_axe_finds_nothing_of_ours_in_the_panel_of_a_sample_and_in_the_dialogs(
    shared: Server, page: Page, settled: Callable[[], None]
) -> None:
    panel, dialog = page.get_by_role("complementary", name="Sample 17"), page.get_by_role("dialog")
    places: dict[str, tuple[Locator | None, Locator]] = {
        "gallery?sample=17": (None, panel),
        "compare": (page.locator(".tile").first, dialog.get_by_role("complementary")),
        "data": (page.locator(".tile").first, dialog.get_by_role("img")),
        "distill": (
            page.get_by_role("button", name="Words"),
            dialog.get_by_text("The length of a sample's feature vector"),
        ),
    }
    wrong = list[str]()
    for path, (pressed, there) in places.items():
        page.goto(f"{shared.url}/{path}")
        page.get_by_role("heading", level=1).wait_for()
        settled()
        if pressed is not None:
            pressed.click()
        there.wait_for()
        settled()
        wrong += violations(page)
    assert not wrong, "\n".join(wrong)

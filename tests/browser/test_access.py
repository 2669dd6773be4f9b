"""Every page can be read and used by everybody: axe-core finds nothing of ours, in the light and the dark theme."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python import sync_playwright as axe
from playwright.sync_api import Locator, Page

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
PRIMARY_IN_THE_DARK = "#2f81f7"
PAGES = [*TITLES, "compare?what=methods", "gallery?show=sorted", "map?colour=class", "norms?by=class"]


def violations(page: Page) -> list[str]:
    """What axe-core has against the page, a line for each element, without what the framework draws by itself."""
    page.wait_for_load_state("networkidle")
    page.evaluate(SCRIPT.read_text())
    lines = []
    for violation in page.evaluate("exclude => axe.run({exclude})", LEFT_OUT)["violations"]:
        for node in violation["nodes"]:
            if not is_frameworks(violation["id"], node):
                lines.append(f"{page.url}: {violation['id']}: {str(node['target'])[-150:]} {node['html'][:200]}")
    return lines


def is_frameworks(rule: str, node: dict[str, Any]) -> bool:
    """Whether Streamlit writes white on the primary colour, or the primary colour on its own tint.

    In the dark theme no one colour serves both, and neither can be set.
    """
    colours = [check.get("data") or {} for check in node["any"]] if rule == "color-contrast" else []
    return any(PRIMARY_IN_THE_DARK in (one.get("fgColor"), one.get("bgColor")) for one in colours)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_of_ours_on_any_page(
    shared: Server, page: Page, settled: Callable[[], None], scheme: str
) -> None:
    page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
    wrong = list[str]()
    for path in PAGES if scheme == "light" else TITLES:  # in the dark the colours alone are others
        page.goto(f"{shared.url}/{path}")
        page.get_by_role("heading", level=1).wait_for()
        settled()
        wrong += violations(page)
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_of_ours_in_the_panel_of_a_sample_and_in_the_dialogs(
    shared: Server, page: Page, settled: Callable[[], None], scheme: str
) -> None:
    page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
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

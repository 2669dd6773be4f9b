"""What a choice does not change stays as it is drawn: to draw the charts of a page takes seconds of a browser."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Server
from tests.browser.test_norms import brush

pytestmark = pytest.mark.browser
# By the plot and by what is drawn in it, which is another one where the plot was begun again.
MARK = """plots => plots.forEach(plot => {
    for (const one of [plot, plot.querySelector(".main-svg")]) one.dataset.seen = "yes";
})"""


@pytest.mark.parametrize(
    ("path", "own", "others", "opens"),
    [("norms", "distribution", 5, "Open in the gallery"), ("norms", "scatter", 5, "Open in the gallery"),
     ("compare", "norms", 3, "Selected samples")],
)  # fmt: skip
def test_a_selection_in_a_plot_draws_no_other_plot_anew(
    path: str, own: str, others: int, opens: str, shared: Server, page: Page, settled: Callable[[], None]
) -> None:
    page.goto(f"{shared.url}/{path}")
    settled()
    plots = page.locator(f"[data-testid='stPlotlyChart']:not(.st-key-{own} *) .js-plotly-plot:has(.main-svg)")
    expect(plots).to_have_count(others)
    page.wait_for_load_state("networkidle")
    plots.evaluate_all(MARK)
    still = page.locator("[data-seen=yes]:has(.main-svg[data-seen=yes])")
    brush(page, page.locator(f".st-key-{own}").get_by_test_id("stPlotlyChart"), 0.4, 0.6)
    expect(page.get_by_text(opens)).to_be_visible()
    settled()
    expect(still).to_have_count(others)
    if own == "distribution":
        page.get_by_role("button", name="Clear", exact=True).click()
        expect(page.get_by_text(opens)).to_have_count(0)
        settled()
        expect(still).to_have_count(others)

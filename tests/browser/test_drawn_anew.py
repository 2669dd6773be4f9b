"""What a selection does not change stays as it is drawn: to draw the charts of a page takes seconds of a browser."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Server
from tests.browser.test_norms import brush

pytestmark = pytest.mark.browser
MARK = "charts => charts.forEach(one => one.dataset.seen = 'yes')"


@pytest.mark.parametrize(
    ("path", "own", "opens"),
    [("norms", "distribution", "Open in the gallery"), ("compare", "norms", "Selected samples")],
)
def test_a_selection_in_a_plot_draws_no_other_plot_anew(
    path: str, own: str, opens: str, shared: Server, page: Page, settled: Callable[[], None]
) -> None:
    page.goto(f"{shared.url}/{path}")
    settled()
    plots = page.get_by_test_id("stPlotlyChart")
    others = page.locator(f"[data-testid='stPlotlyChart']:not(.st-key-{own} *) .js-plotly-plot")
    expect(plots.locator(".main-svg").first).to_be_visible()
    page.wait_for_load_state("networkidle")
    count = others.count()
    assert count >= 3
    others.evaluate_all(MARK)
    brush(page, page.locator(f".st-key-{own}").get_by_test_id("stPlotlyChart"), 0.4, 0.6)
    expect(page.get_by_text(opens)).to_be_visible()
    settled()
    expect(others.and_(page.locator("[data-seen=yes]"))).to_have_count(count)

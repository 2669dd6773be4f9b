"""The map in a real browser: a picture where the mouse rests, and what lies in a lasso."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Server

pytestmark = pytest.mark.browser


def test_a_point_shows_its_picture_and_a_lasso_what_its_samples_have_in_common(
    shared: Server, page: Page, settled: Callable[[], None]
) -> None:
    page.goto(f"{shared.url}/map?colour=class")
    plot = page.locator(".st-key-map .js-plotly-plot")
    expect(plot).to_be_visible()
    settled()
    area = page.locator(".st-key-map .nsewdrag").bounding_box()
    assert area
    # Where a point is drawn is known from the chart's own axes.
    x, y = plot.evaluate(
        """plot => { const t = plot._fullData[0], l = plot._fullLayout;
        return [l.xaxis._offset + l.xaxis.l2p(t.x[0]), l.yaxis._offset + l.yaxis.l2p(t.y[0])]; }"""
    )
    box = plot.bounding_box()
    assert box
    page.mouse.move(box["x"] + x + 3, box["y"] + y)
    page.mouse.move(box["x"] + x, box["y"] + y)
    picture = page.locator(".hover img")
    expect(picture).to_be_visible()
    expect(picture).to_have_attribute("src", re.compile("^data:image/webp"))
    expect(page.locator(".hover figcaption")).to_have_text(re.compile(r"^\d → \d‖f‖ \d+\.\d\d$"))
    page.mouse.move(area["x"] + 5, area["y"] + 5)
    expect(picture).not_to_be_visible()
    page.mouse.down()
    corners = ((0.99, 0.01), (0.99, 0.99), (0.01, 0.99), (0.01, 0.01))
    for right, down in corners:
        page.mouse.move(area["x"] + area["width"] * right, area["y"] + area["height"] * down, steps=5)
    page.mouse.up()
    expect(page.get_by_text("360 samples selected", exact=False)).to_be_visible()
    expect(page.get_by_role("region", name="Selected samples").get_by_role("button")).to_have_count(24)
    page.get_by_role("button", name="Open in the gallery").click()
    expect(page).to_have_url(re.compile(r"/gallery\?.*among=yes.*selection=map-digits-test"))
    expect(page.get_by_text("Selection alone")).to_be_visible()
    expect(page.get_by_text("360 of 360 samples.", exact=True)).to_be_visible()

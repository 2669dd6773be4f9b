"""Norms through training in a real browser: the slider asks nobody, and what is drawn round opens in the Gallery."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Locator, Page, expect

from fnkd_core.jobs.run import create_run
from fnkd_core.jobs.worker import work
from fnkd_core.training.config import RunConfig
from tests.browser.conftest import Server
from tests.browser.test_access import violations

pytestmark = pytest.mark.browser


def drawn(chart: Locator) -> Any:
    """How many samples the bars of right and wrong ones hold."""
    return chart.locator(".js-plotly-plot").evaluate(
        "plot => plot.calcdata.map(t => t.reduce((sum, b) => sum + b.s, 0))"
    )


def test_the_slider_moves_the_norms_without_traffic_and_a_lasso_opens_its_samples(
    shared: Server, page: Page, settled: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FNKD_HOME", str(shared.home))
    config = RunConfig(epochs=3, per_class=13, batch_size=43, lr=0.2, threads=1, keep_epochs=True, name="kept")
    run = create_run(config.to_dict())
    assert work(run.path, queue=False) == 0
    traffic: list[str] = []
    page.on("websocket", lambda socket: socket.on("framesent", lambda _: traffic.append("sent")))
    page.goto(f"{shared.url}/norms?when=training&student=kept-{run.id[-8:]}")
    chart = page.locator(".st-key-norms-at-epochs")
    rail = chart.locator(".slider-rail-touch-rect")
    expect(rail).to_be_visible()
    expect(page.get_by_role("button", name="Open in the gallery")).to_be_visible()
    settled()
    page.wait_for_load_state("networkidle")
    assert violations(page) == []
    last, before = drawn(chart), len(traffic)
    assert sum(last) >= 129 and "epoch 3" in (chart.locator(".annotation-text").text_content() or "")
    place = rail.bounding_box()
    assert place
    page.mouse.click(place["x"] + 8, place["y"] + place["height"] / 2)
    expect(chart.locator(".annotation-text")).to_contain_text("epoch 1")
    first = drawn(chart)
    assert sum(first) >= 129 and first[0] < last[0]  # fewer are right at first
    chart.get_by_text("Play", exact=True).click()
    expect(chart.locator(".annotation-text")).to_contain_text("epoch 3")
    assert drawn(chart) == last and len(traffic) == before
    chart = page.locator(".st-key-data-map")
    chart.scroll_into_view_if_needed()
    area = chart.locator(".nsewdrag").first.bounding_box()
    assert area
    page.mouse.move(area["x"] + 2, area["y"] + 2)
    page.mouse.down()
    for right, down in ((0.99, 0.01), (0.99, 0.99), (0.01, 0.99), (0.01, 0.01)):
        page.mouse.move(area["x"] + area["width"] * right, area["y"] + area["height"] * down, steps=5)
    page.mouse.up()
    expect(page.get_by_text("drawn round in the data map", exact=False)).to_contain_text("130 samples")
    page.get_by_role("button", name="Open in the gallery").click()
    expect(page).to_have_url(re.compile(r"/gallery\?.*split=train.*among=yes.*selection=training-digits"))
    expect(page.get_by_text("130 of 1,437 samples.", exact=True)).to_be_visible()

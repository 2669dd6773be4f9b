"""The temperature lab in a real browser: what moves while a slider is dragged, and that it is what Python computes."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from fnkd_core.analysis.divergence import between_models, between_rules
from fnkd_core.analysis.targets import Source, summary_under
from fnkd_core.data import dataset_info
from fnkd_core.data.similar import similar_classes
from fnkd_core.kd.rules import RULES
from fnkd_core.stores.store import Store
from tests.browser.conftest import Server

pytestmark = pytest.mark.browser


def shapes(page: Page) -> list[str]:
    """The distributions that are drawn: three for each rule that has temperatures."""
    return [
        d or "" for d in page.locator(".lab .rules path.fill").evaluate_all("all => all.map(p => p.getAttribute('d'))")
    ]


def test_dragging_a_slider_moves_three_rules_and_their_divergence_without_any_traffic(
    shared: Server, page: Page, settled: Callable[[], None]
) -> None:
    frames: list[object] = []
    page.on("websocket", lambda socket: socket.on("framesent", lambda frame: frames.append(frame)))
    page.goto(f"{shared.url}/soft_targets?rules=t,fn,std&pair=std,fn")
    slider = page.get_by_role("slider", name="τ, for τ/‖f‖")
    expect(slider).to_be_visible()
    expect(page.locator(".lab .shot")).to_have_count(12)
    settled()
    assert page.locator(".lab .rule b").all_inner_texts() == ["T", "τ/‖f‖", "t·std(v)"]
    assert frames, "the page has sent nothing: no traffic would be seen"
    before, apart = shapes(page), page.locator(".lab .apart path.fill")
    divergence = apart.get_attribute("d") or ""
    box = slider.bounding_box()
    assert box
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.mouse.down()
    sent = len(frames)
    page.mouse.move(box["x"] + box["width"] * 0.7, box["y"] + box["height"] / 2, steps=5)
    expect(apart).not_to_have_attribute("d", divergence)
    after = shapes(page)
    assert [x == y for x, y in zip(before, after, strict=True)] == [True] * 3 + [False] * 3 + [True] * 3
    assert len(frames) == sent
    said = page.locator(".lab .pictures .wide").inner_text()
    page.mouse.up()
    expect(page).to_have_url(re.compile("tau="))
    expect(page.locator(".lab .pictures .wide")).not_to_have_text(said)
    assert len(frames) > sent


def test_matching_moves_the_second_rule_and_says_what_is_equal(
    shared: Server, page: Page, settled: Callable[[], None]
) -> None:
    page.goto(f"{shared.url}/soft_targets?T=2")
    box = page.get_by_role("spinbutton", name="τ, for τ/‖f‖, as a number")
    expect(box).to_be_visible()
    settled()
    for _ in range(2):  # what was typed before the match counts again when it is typed after it
        box.fill("2.5")
        box.press("Enter")
        expect(page).to_have_url(re.compile(r"tau=2\.5(&|$)"))
        page.get_by_role("button", name="mean T_i").click()
        expect(page.locator(".lab .matching")).to_contain_text("mean T_i 2 against 2")
        expect(box).not_to_have_value("2.5")
    page.get_by_role("button", name="LSD", exact=True).click()
    expect(page.get_by_role("slider", name="ε, for LSD")).to_be_visible()
    expect(page.get_by_role("button", name="DTKD")).to_be_disabled()  # four are drawn
    expect(page).to_have_url(re.compile("rules=one_hot%2Clsd%2Ct%2Cfn"))
    page.reload()
    expect(page.get_by_role("slider", name="ε, for LSD")).to_be_visible()


@pytest.mark.parametrize("width", [1440, 1024])
def test_the_sliders_stay_in_sight_of_the_sample_and_of_the_way_to_train(
    shared: Server, page: Page, settled: Callable[[], None], width: int
) -> None:
    page.set_viewport_size({"width": width, "height": 768})
    page.goto(f"{shared.url}/soft_targets")
    slider = page.get_by_role("slider", name="τ, for τ/‖f‖")
    expect(slider).to_be_visible()
    settled()
    page.locator(".lab .sample .bars").last.scroll_into_view_if_needed()
    for node in (slider, page.locator(".lab .sample .bars").last):
        expect(node).to_be_in_viewport()
    at = "b.x + b.width / 2, b.y + b.height / 2"
    hit = f"n => {{ const b = n.getBoundingClientRect(); return n.getRootNode().elementFromPoint({at}) === n }}"
    assert slider.evaluate(hit), "something lies over the slider"
    shown = page.locator(".lab .picture").inner_text()
    page.locator(".lab .shot").first.click()
    expect(page.locator(".lab .picture")).not_to_have_text(shown)
    page.get_by_role("button", name="fn: τ/‖f‖").click()
    expect(page.get_by_role("heading", name="Distill", level=1)).to_be_visible()
    expect(page.get_by_text("are from Soft targets.")).to_be_visible()


@pytest.mark.parametrize("others", [["one_hot", "lsd", "alsd"], ["t", "fn_released", "std"], ["max_logit", "joint"]])
def test_what_the_browser_draws_of_a_rule_is_what_python_computes(
    shared: Server, page: Page, settled: Callable[[], None], teacher_store: Store, fn_store: Store, others: list[str]
) -> None:
    drawn = [name for name in RULES if name in [*others, "fn"]]
    similar = similar_classes(dataset_info("digits"), "auto")
    sources = [Source(teacher_store, fn_store, similar), Source(fn_store, teacher_store, similar)]
    values = sources[0].defaults() | {"t": 2.5, "tau": 4.0}
    page.goto(f"{shared.url}/soft_targets?T=2.5&tau=4&rules={','.join(drawn)}&pair={others[0]},fn&whose=teacher")
    expect(page.locator(".lab .shot")).to_have_count(12)
    settled()
    assert page.locator(".lab .rule b").all_inner_texts() == [RULES[name].title for name in drawn]
    cells = page.locator(".lab .rules .chart .numbers").evaluate_all(
        "all => all.map(n => [...n.children].map(c => c.textContent))"
    )
    for k, source in enumerate(sources):
        table = summary_under(source, values, drawn).to_dict("records")
        for row, (t, top, entropy) in zip(table, [cells[i : i + 3] for i in range(0, len(cells), 3)], strict=True):
            for cell, column in ((t, "temperature"), (top, "top probability"), (entropy, "entropy")):
                if row[column] == row[column]:  # a rule of labels has no temperature
                    mean, sd = (float(x) for x in cell[k].split(" ± "))
                    assert mean == pytest.approx(row[column], abs=0.006, rel=0.01), (row["rule"], column)
                    if f"{column} sd" in row:
                        assert sd == pytest.approx(row[f"{column} sd"], abs=0.006, rel=0.02), (row["rule"], column)
    apart = page.locator(".lab .apart .chart .numbers")
    for name in others:
        page.get_by_label("First rule").select_option(name)
        expected = between_rules(sources[0], name, "fn", values).mean()
        expect(page.locator(".lab .pictures .wide")).to_contain_text(f"are {expected:.3g} nats apart")
        assert float(apart.inner_text().split(" ± ")[0]) == pytest.approx(expected, rel=0.06, abs=1e-5), name
    page.get_by_label("Whose targets").select_option("models")
    expected = between_models(*sources, others[-1], values).mean()
    expect(page.locator(".lab .pictures .wide")).to_contain_text(f"are {expected:.3g} nats apart")
    assert float(apart.inner_text().split(" ± ")[0]) == pytest.approx(expected, rel=0.06, abs=1e-5)


def test_every_rule_of_the_dict_is_compared_with_the_browser() -> None:
    (mark,) = test_what_the_browser_draws_of_a_rule_is_what_python_computes.pytestmark  # type: ignore[attr-defined]
    assert {name for others in mark.args[1] for name in others} | {"fn"} == set(RULES)

"""The Gallery in a real browser: its filters, the open sample beside the images, and all of it by keyboard alone."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from playwright.sync_api import Locator, Page, expect

from fnkd_core.data import dataset_info
from fnkd_core.data.selections import add_to, relabel
from fnkd_core.stores.store import Store
from tests.browser.conftest import Held, Server

pytestmark = pytest.mark.browser


def test_reset_filters_gives_up_label_and_outcome_and_leaves_the_url_clean(
    shared: Server, page: Page, settled: Callable[[], None]
) -> None:
    page.goto(shared.url)
    settled()
    page.goto(f"{shared.url}/gallery?entropy=0.05~2")
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


def test_a_chip_takes_its_filter_away_and_leaves_the_others(
    shared: Server, page: Page, settled: Callable[[], None]
) -> None:
    page.goto(shared.url)
    settled()
    page.goto(f"{shared.url}/gallery?cls=3&outcome=right&entropy=0.05~2")
    chips = page.locator(".chip")
    expect(chips).to_have_text([re.compile("Label 3"), re.compile("Outcome right"), re.compile("entropy 0.05 to 2")])
    page.get_by_role("button", name=re.compile("Outcome right")).click()
    expect(chips).to_have_count(2)
    expect(page.get_by_role("combobox", name=re.compile("Outcome"))).to_have_value("all")
    page.get_by_role("button", name=re.compile("entropy 0.05 to 2")).click()
    expect(chips).to_have_text([re.compile("Label 3")])
    expect(page).not_to_have_url(re.compile("entropy"))


def test_what_is_pressed_before_the_browser_has_heard_of_the_last_undoes_none_of_it(
    shared: Server, page: Page, settled: Callable[[], None], teacher_store: Store
) -> None:
    held = Held(page, "server")
    page.goto(f"{shared.url}/gallery?cls=3&outcome=right&show=sorted&at=5")
    chips = page.locator(".chip")
    expect(chips).to_have_text([re.compile("Label 3"), re.compile("Outcome right")])
    settled()
    held.holds = True
    page.get_by_role("button", name=re.compile("Outcome right")).click()
    answer = f"{int((teacher_store.samples['label'] == 3).sum())} of 360 samples".encode()
    while not any(isinstance(message, bytes) and answer in message for message in held.messages):
        page.wait_for_timeout(10)
    page.get_by_role("button", name=re.compile("Label 3")).click()
    held.release()
    expect(page.get_by_text("360 of 360 samples.", exact=True)).to_be_visible()
    settled()
    expect(chips).to_have_count(0)
    expect(page.get_by_role("combobox", name=re.compile("Outcome"))).to_have_value("all")


def focused(page: Page) -> str:
    """The number of the sample whose tile has the focus."""
    found: str = page.evaluate(
        "() => { let node = document.activeElement; while (node?.shadowRoot?.activeElement) "
        "node = node.shadowRoot.activeElement; return node?.dataset.id ?? ''; }"
    )
    return found


def number_of(tile: Locator) -> str:
    return str(tile.get_attribute("data-id"))


def test_the_gallery_is_walked_by_keyboard_alone_and_focus_comes_back_to_the_tile(
    shared: Server, page: Page, settled: Callable[[], None]
) -> None:
    page.goto(f"{shared.url}/gallery")
    tiles = page.locator(".tile")
    expect(tiles.first).to_be_visible()
    settled()
    # One tab stop among all tiles.
    assert tiles.evaluate_all("all => all.filter((one) => one.tabIndex === 0).length") == 1
    page.get_by_role("button", name="Keys").focus()
    page.keyboard.press("Tab")
    assert focused(page) == number_of(tiles.first)
    page.keyboard.press("ArrowRight")
    assert focused(page) == number_of(tiles.nth(1))
    page.keyboard.press("ArrowDown")
    below = focused(page)
    assert below not in ("", number_of(tiles.first), number_of(tiles.nth(1)))
    page.keyboard.press("ArrowUp")
    page.keyboard.press("ArrowLeft")
    assert focused(page) == number_of(tiles.first)
    page.keyboard.press("?")
    expect(page.get_by_role("dialog", name="Keys")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog", name="Keys")).to_be_hidden()
    assert focused(page) == number_of(tiles.first)
    page.keyboard.press("Enter")
    panel = page.get_by_role("complementary", name=f"Sample {number_of(tiles.first)}")
    expect(panel).to_contain_text("1 of 360")
    expect(panel).to_contain_text("lowest of 360")
    expect(panel).to_contain_text("Nearest neighbours")
    for key, place in (("j", 2), ("j", 3), ("k", 2), ("j", 3)):
        page.keyboard.press(key)
        expect(page.get_by_role("complementary")).to_contain_text(f"{place} of 360")
    expect(page.locator(".tile[aria-current='true']")).to_have_count(1)
    last = number_of(page.locator(".tile[aria-current='true']"))
    page.keyboard.press("Escape")
    expect(page.get_by_role("complementary")).to_have_count(0)
    page.wait_for_function(
        "id => { let node = document.activeElement; while (node?.shadowRoot?.activeElement) "
        "node = node.shadowRoot.activeElement; return node?.dataset.id === id; }",
        arg=last,
    )


def test_a_neighbour_opens_in_place_and_the_distance_can_be_chosen(
    shared: Server, page: Page, settled: Callable[[], None]
) -> None:
    page.goto(f"{shared.url}/gallery?sample=17")
    panel = page.get_by_role("complementary", name="Sample 17")
    expect(panel).to_contain_text("By the teacher's features, of 360")
    expect(panel).to_contain_text("By the student's features, of 360")
    near = panel.locator(".near").first.get_by_role("button")
    expect(near).to_have_count(6)
    cosine = near.first.inner_text()
    panel.get_by_role("button", name="euclidean").click()
    expect(panel.get_by_role("button", name="euclidean")).to_have_attribute("aria-pressed", "true")
    expect(near.first).not_to_have_text(cosine)
    name = re.sub(r"near \w+ ", "", str(near.first.get_attribute("data-name")))
    near.first.click()
    expect(page.get_by_role("complementary", name=f"Sample {name}")).to_be_visible()
    page.get_by_role("button", name="Close").click()
    expect(page.get_by_role("complementary")).to_have_count(0)


def test_the_link_that_is_copied_opens_the_sample(shared: Server, page: Page, settled: Callable[[], None]) -> None:
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.goto(f"{shared.url}/gallery?cls=3")
    page.locator(".tile").nth(2).click()
    panel = page.get_by_role("complementary")
    expect(panel).to_contain_text("Label: 3")
    name = str(panel.get_attribute("aria-label"))
    panel.get_by_role("button", name="Copy link").click()
    expect(panel.get_by_role("button", name="Copied")).to_be_visible()
    link = page.evaluate("navigator.clipboard.readText()")
    page.goto("about:blank")
    page.goto(link)
    expect(page.get_by_role("complementary", name=name)).to_be_visible()


def test_where_there_is_little_room_the_sample_covers_the_images(
    shared: Server, page: Page, settled: Callable[[], None]
) -> None:
    page.set_viewport_size({"width": 600, "height": 800})
    page.goto(f"{shared.url}/gallery?sample=17")
    panel = page.get_by_role("complementary", name="Sample 17")
    expect(panel).to_be_visible()
    box = panel.bounding_box()
    assert box is not None and (box["x"], box["y"]) == (0, 0) and box["width"] >= 590
    panel.get_by_role("button", name="Close").click()
    expect(page.locator(".tile").first).to_be_visible()


def test_an_image_is_tagged_by_key_and_by_button_and_the_mark_stays(
    shared: Server, page: Page, settled: Callable[[], None]
) -> None:
    page.goto(f"{shared.url}/gallery")
    tiles = page.locator(".tile")
    expect(tiles.first).to_be_visible()
    settled()
    tiles.first.focus()
    page.keyboard.press("t")
    expect(page.locator(".tile .tag")).to_have_count(1)
    assert focused(page) == number_of(tiles.first)
    page.keyboard.press("Enter")
    tag = page.get_by_role("complementary").get_by_role("button", name="Tagged")
    expect(tag).to_have_attribute("aria-pressed", "true")
    page.keyboard.press("j")
    page.get_by_role("complementary").get_by_role("button", name="Tag", exact=True).click()
    expect(page.locator(".tile .tag")).to_have_count(2)
    page.reload()
    expect(page.locator(".tile .tag")).to_have_count(2)
    # The panel's image is the one that is meant, wherever the arrows have led meanwhile.
    page.locator(".tile").first.focus()
    page.keyboard.press("t")
    expect(page.locator(".tile .tag")).to_have_count(1)
    expect(page.locator(".tile").first.locator(".tag")).to_be_visible()


def test_a_sample_opened_over_another_page_has_its_neighbours_and_a_link_into_the_gallery(
    shared: Server, page: Page, settled: Callable[[], None]
) -> None:
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.goto(f"{shared.url}/compare")
    tile = page.locator(".tile").first
    expect(tile).to_be_visible()
    settled()
    tile.click()
    panel = page.get_by_role("dialog").get_by_role("complementary")
    expect(panel).to_have_attribute("aria-label", f"Sample {number_of(tile)}")
    near = panel.locator(".near").first.get_by_role("button").first
    name = re.sub(r"near \w+ ", "", str(near.get_attribute("data-name")))
    near.click()
    expect(panel).to_have_attribute("aria-label", f"Sample {name}")
    panel.get_by_role("button", name="Copy link").click()
    expect(panel.get_by_role("button", name="Copied")).to_be_visible()
    link = page.evaluate("navigator.clipboard.readText()")
    page.goto("about:blank")
    page.goto(link)
    expect(page.get_by_role("heading", name="Gallery", level=1)).to_be_visible()
    expect(page.get_by_role("complementary", name=f"Sample {name}")).to_be_visible()


def test_a_picture_keeps_its_shape_so_that_what_is_read_of_it_is_outlined_where_it_lies(
    shared: Server, page: Page, settled: Callable[[], None]
) -> None:
    page.goto(f"{shared.url}/gallery?sample=17")
    settled()
    image = page.locator(".picture img")
    expect(image).to_be_visible()
    drawn = """(image, [width, height]) => {
      const canvas = Object.assign(document.createElement("canvas"), { width, height });
      image.src = canvas.toDataURL();
      return image.decode();
    }"""
    for size in ((120, 600), (600, 120), (400, 432)):
        image.evaluate(drawn, list(size))
        page.wait_for_function("([image, w]) => image.naturalWidth === w", arg=[image.element_handle(), size[0]])
        box, around = image.bounding_box(), page.locator(".picture .around").bounding_box()
        assert box is not None and around is not None
        assert box["width"] / box["height"] == pytest.approx(size[0] / size[1], rel=0.02)
        assert box["height"] <= 341 and around["width"] == pytest.approx(box["width"], abs=1)


def test_a_new_label_is_read_on_the_tile_and_in_the_panel_with_the_selection_that_gives_it(
    shared: Server, page: Page, settled: Callable[[], None], monkeypatch: pytest.MonkeyPatch, teacher_store: Store
) -> None:
    monkeypatch.setenv("FNKD_HOME", str(shared.home))
    info, sample = dataset_info("digits"), int(teacher_store.samples["norm"].to_numpy().argmin())
    key, label = str(teacher_store.samples["key"].iat[sample]), int(teacher_store.samples["label"].iat[sample])
    other = (label + 1) % 10
    add_to("second-look", info, "test", [key], "by hand")
    relabel("second-look", info, "test", [key], other)
    page.goto(f"{shared.url}/gallery?selection=second-look")
    said = re.compile(rf"{label} ?, new label {other} \(selection second-look\)")
    tile = page.get_by_role("button", name=said)
    expect(tile).to_have_attribute("data-id", str(sample))
    expect(tile.locator(".given")).to_be_visible()
    settled()
    tile.click()
    expect(page.get_by_role("complementary").get_by_role("heading", level=2, name=said)).to_be_visible()

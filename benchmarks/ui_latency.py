"""Every click of interest in a real browser: how long the server works for it, and when its outcome is to be seen.

    python benchmarks/ui_latency.py
    python benchmarks/ui_latency.py --home /data/scale --turns 30 --json \\
        --view "dataset=scale&split=train&teacher=scale-teacher&student=scale-student"

Without a home it is one of its own, with the shipped digits. The home's stores have to be there: they are extracted
with `fnkd extract`, or made by `store_scale.py`. The server is started anew; headless Chromium looks at Overview first,
which is timed from the start of the server, and then at each page once, which warms it up and is timed apart. Then each
click is done so many times, each time to another value.

server: wall and processor seconds of the script's runs that the click caused, measured in the server (`timed_server`).
visible: from the event in the browser (the key, the click, the mouse let go) until what it is for is drawn, measured in
the browser. Of a drag of the lab's sliders, with three rules drawn: frames a second, the longest time without one, and
the frames that the websocket sent or received before the mouse was let go.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

from playwright.sync_api import sync_playwright
from serving import Server, environment  # type: ignore[import-not-found]
from window import Window  # type: ignore[import-not-found]

TREE = Path(__file__).resolve().parents[1]
CHROMIUMS = (TREE / ".ci/browsers").read_text().split()
FRAMES = """() => {
  window.__gaps = [];
  let last = performance.now();
  const step = (now) => { window.__gaps.push(now - last); last = now; window.__run = requestAnimationFrame(step); };
  window.__run = requestAnimationFrame(step);
}"""
TILES, PANEL = (".tile", "data-id"), ("aside:not([hidden])", "aria-label")
COUNTED = ("[data-testid='stCaptionContainer']", "")
SELECTED = ("[data-testid='stMarkdown'] p:has(strong)", "")
LARGEST = (".lab .pictures .wide", "")
SORTED = ("section[aria-label]", "aria-label")


def classes(window: Window, turns: int) -> Iterator[str]:
    """Names of classes, another each time, of the data that are looked at."""
    code = "import sys, json; from fnkd_core.data import dataset_info; "
    code += "print(json.dumps(dataset_info(sys.argv[1]).classes))"
    name = parse_qs(window.view).get("dataset", ["digits"])[0]
    home = window.server.log.parent
    done = subprocess.run(
        [sys.executable, "-c", code, name], capture_output=True, check=True, env=environment(TREE, home)
    )
    names = json.loads(done.stdout)
    for k in range(turns):
        yield names[(7 * k + 3) % len(names)]


def gallery(window: Window, turns: int) -> None:
    page = window.page
    window.goto("gallery", "", lambda: page.locator(".tile"))
    for name in classes(window, turns):
        window.choose("Gallery: filter by label", "Label", name, TILES)
    window.goto("gallery", "show=sorted", lambda: page.locator(".tile"))
    columns = ("confidence", "margin", "entropy", "nll", "max_logit", "logit_std")
    for k in range(turns):
        window.choose("Gallery: sort", "Sort by", columns[k % len(columns)], SORTED)
    for k in range(turns):
        last = window.page.get_by_role("spinbutton", name="Go to percentile")
        last.fill(f"{(37 * k + 30) % 100}")
        window.press("Gallery: page", TILES, partial(last.press, "Enter"), "keydown")
    window.goto("gallery", "show=sorted&sort=margin", lambda: page.locator(".tile"))
    for k in range(turns):
        window.type("Gallery: range from", "From", f"{0.1 + 0.6 * k / turns:.3f}", COUNTED)
    window.goto("gallery", "", lambda: page.locator(".tile"))
    for k in range(turns):
        window.press("Gallery: sample opened", PANEL, page.locator(".tile").nth(k % 24).click)
    for _ in range(turns):
        window.press("Gallery: next sample", PANEL, lambda: page.keyboard.press("j"), "keydown")


def norms(window: Window, turns: int) -> None:
    page = window.page
    plot = page.locator(".st-key-distribution")
    drawn = (".st-key-distribution [data-testid='stPlotlyChart'] svg.main-svg", "")
    told = ("[data-testid='stPlotlyChart'][aria-label], [data-testid='stPlotlyChart'] [aria-label]", "aria-label")
    window.goto("norms", "", lambda: plot.locator(".nsewdrag"))
    for k in range(turns):
        window.settled()
        plot.scroll_into_view_if_needed()
        area = plot.locator(".nsewdrag").first.bounding_box()
        assert area is not None
        height = area["y"] + area["height"] * 0.7
        page.mouse.move(area["x"] + area["width"] * (0.1 + 0.3 * k / turns), height)
        page.mouse.down()
        page.mouse.move(area["x"] + area["width"] * (0.5 + 0.3 * k / turns), height + 15, steps=8)
        window.press("Norms: brush", SELECTED, page.mouse.up, "pointerup")
    low = float(page.get_by_role("spinbutton", name="‖f‖ from").input_value())
    for k in range(turns):
        window.type("Norms: from and to", "‖f‖ from", f"{low * (0.7 + 0.2 * k / turns):.2f}", SELECTED)
    page.get_by_role("button", name="Clear", exact=True).click()
    for name in classes(window, turns):
        window.choose("Norms: class chosen", "Class", name, told)
    for k in range(turns):
        way = ("ECDF", "histogram")[k % 2]
        window.press("Norms: drawn as", drawn, page.get_by_role("radio", name=way, exact=True).click)
    scatter = (".st-key-scatter .g-ytitle, .st-key-scatter .ytitle", "")
    columns = ("margin", "entropy", "nll", "confidence")
    for k in range(turns):
        window.choose("Norms: against", "Against", columns[k % len(columns)], scatter)


def features(window: Window, turns: int) -> None:
    """The Map's PCA of at most 50,000 points."""
    told = (".st-key-map [data-testid='stPlotlyChart'][aria-label], .st-key-map [aria-label]", "aria-label")
    window.goto("map", "", lambda: window.page.locator(".st-key-map canvas").first)
    colours = ("right / wrong", "confidence", "entropy, nats", "‖f‖")
    for k in range(turns):
        window.choose("Map: coloured by", "Colour", colours[k % len(colours)], told)


def compare(window: Window, turns: int) -> None:
    page = window.page
    window.goto("compare", "", lambda: page.get_by_role("heading", name="One right, the other wrong"))
    head = ("[data-testid='stHeading'] h1, [data-testid='stHeading'] h2", "")
    for k in range(turns):
        way = ("Methods over seeds", "Two models")[k % 2]
        window.press("Compare: models or methods", head, page.get_by_role("radio", name=way).click)
        if way == "Two models":
            page.get_by_role("heading", name="One right, the other wrong").wait_for()
    if turns % 2:
        page.get_by_role("radio", name="Two models").click()
        page.get_by_role("heading", name="One right, the other wrong").wait_for()
    window.settled()
    count = page.locator(".tile").count()  # two models that are alike differ on no sample
    for k in range(turns if count else 0):
        tile = page.locator(".tile").nth(k % count)
        window.press("Compare: sample opened", PANEL_ALONE, tile.click)
        page.keyboard.press("Escape")
        page.get_by_role("dialog").first.wait_for(state="hidden")


PANEL_ALONE = ("[role='dialog'] aside, aside:not([hidden])", "aria-label")


def lab(window: Window, turns: int) -> dict[str, Any]:
    """The clicks of the lab; what dragging its sliders is like."""
    page = window.page
    window.goto("soft_targets", "rules=t,fn,std&pair=std,fn", lambda: page.locator(".lab .shot"))
    drags: list[dict[str, float]] = []
    for k in range(turns):
        window.settled()
        slider = page.get_by_role("slider", name="τ, for τ/‖f‖", exact=True)
        box = slider.bounding_box()
        assert box is not None
        middle = box["y"] + box["height"] / 2
        ends = ((0.35, 0.65), (0.65, 0.35))[k % 2]
        page.mouse.move(box["x"] + box["width"] * ends[0], middle)
        page.mouse.down()
        page.evaluate(FRAMES)
        frames = window.frames
        page.mouse.move(box["x"] + box["width"] * (ends[1] + 0.1 * k / turns), middle, steps=90)
        gaps = page.evaluate("() => { cancelAnimationFrame(window.__run); return window.__gaps.slice(1); }")
        drags.append({
            "fps": 1000 * len(gaps) / sum(gaps),
            "gap_ms": max(gaps),
            "websocket_frames": window.frames - frames,
        })  # fmt: skip
        window.press("Lab: slider released", LARGEST, page.mouse.up, "pointerup")
    drawn = (".lab .rule b", "")
    for _ in range(turns):
        button = page.get_by_role("button", name="LSD", exact=True)
        window.press("Lab: rule added or taken away", drawn, button.click)
    return {
        "drags": len(drags),
        "frames_per_s": round(statistics.median(one["fps"] for one in drags), 1),
        "longest_gap_ms": round(max(one["gap_ms"] for one in drags), 1),
        "websocket_frames": int(sum(one["websocket_frames"] for one in drags)),
    }


PAGES = {"gallery": gallery, "norms": norms, "map": features, "compare": compare, "lab": lab}


def measured(home: Path, view: str, turns: int, pages: list[str]) -> dict[str, Any]:
    """All figures. The server is one of this tree, started anew."""
    with contextlib.ExitStack() as stack:
        playwright = stack.enter_context(sync_playwright())
        found = next((path for name in CHROMIUMS if (path := shutil.which(name))), None)
        browser = playwright.chromium.launch(executable_path=found, args=["--no-sandbox", "--disable-quic"])
        stack.callback(browser.close)
        page = browser.new_page(viewport={"width": 1440, "height": 900})
        begun = time.monotonic()
        server = Server(TREE, home)
        stack.callback(server.stop)
        window = Window(page, server, view)
        window.goto("", "", lambda: page.get_by_role("heading", name="The model"))
        result: dict[str, Any] = {
            "start": {"server_up_s": round(server.up_s, 2), "visible_s": round(time.monotonic() - begun, 2)}
        }
        for name in pages:
            drag = PAGES[name](window, turns)
            if drag is not None:
                result["drag"] = drag
        result["first_look"] = window.first
        result["clicks_ms"] = {name: clicks.summed() for name, clicks in window.clicks.items()}
        result["resident_mb"] = round(server.resident_mb)
    return result


def extracted(home: Path) -> None:
    """The outputs of the shipped digits models, in a home that has none."""
    for name in ("digits-teacher", "digits-fn"):
        code = (
            f"from fnkd_core.cli import main; main('extract --checkpoint {name} --dataset digits --split test'.split())"
        )
        subprocess.run([sys.executable, "-c", code], check=True, env=environment(TREE, home), stdout=subprocess.DEVNULL)


def printed(result: dict[str, Any]) -> Iterator[str]:
    """The figures as lines for people."""
    start = result["start"]
    yield f"The server answers {start['server_up_s']} s after its start; Overview is seen after {start['visible_s']} s"
    yield f"{'s, first look':34s} {'server':>7s} {'processor':>10s} {'seen':>7s}"
    for page, one in result["first_look"].items():
        yield f"{page:34s} {one['server_s']:7.2f} {one['cpu_s']:10.2f} {one['visible_s']:7.2f}"
    yield f"{'ms, median and 95 %':34s} {'n':>3s} {'server':>14s} {'processor':>14s} {'seen':>14s}"
    for name, one in result["clicks_ms"].items():
        each = [one[part] for part in ("server", "cpu", "visible")]
        cells = [f"{ms['p50']:6d} {ms['p95']:6d}" if ms else f"{'unseen':>13s}" for ms in each]
        yield f"{name:34s} {one['n']:3d} " + "  ".join(cells)
    if drag := result.get("drag"):
        yield (
            f"{drag['drags']} drags with three rules drawn: {drag['frames_per_s']} frames a second, longest gap "
            f"{drag['longest_gap_ms']} ms, {drag['websocket_frames']} websocket frames"
        )
    yield f"Server: {result['resident_mb']} MB resident"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--home", type=Path, help="with stores; by default one of its own, with the shipped digits")
    parser.add_argument("--view", default="dataset=digits&split=test&teacher=digits-teacher&student=digits-fn")
    parser.add_argument("--turns", type=int, default=20, help="of each click")
    parser.add_argument("--page", action="append", choices=list(PAGES), help="these alone; several are in turn")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with contextlib.ExitStack() as stack:
        home = options.home and options.home.resolve()
        if home is None:
            home = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="fnkd-ui-", ignore_cleanup_errors=True)))
            extracted(home)
        result = measured(home, options.view, options.turns, options.page or list(PAGES))
    print(json.dumps(result) if options.json else "\n".join(printed(result)))


if __name__ == "__main__":
    main()

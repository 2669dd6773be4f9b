"""Takes the pictures of the README from a fresh dashboard.

    make screenshots
    python docs/take_screenshots.py --home HOME --dataset clothing --teacher clothes

Starts the dashboard with an empty home, trains three short students so that there is something to see, and
photographs every page at 1440 pixels, the soft targets in the dark theme as well. With a home it photographs the
Gallery and one of its images for that data set and teacher instead: `photographs.png`, `photograph.png`. Those in the
repository show alexeygrigorev/clothing-dataset-small, which is in the public domain.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator

from playwright.sync_api import Browser, Page, Playwright, sync_playwright

from fnkd_core.paths import project_dir

PICTURES = project_dir() / "docs" / "pictures"
SHOTS = {
    "overview": "",
    "norms": "norms",
    "gallery": "gallery",
    "map": "map?layout=tsne&colour=class",
    "soft_targets": "soft_targets",
    "compare": "compare?a=digits-ce&b=digits-fn",
    "classes": "classes?dataset=cifar100",
    "distill": "distill",
    "runs": "runs",
}
HEIGHTS = {"norms": 1200, "compare": 1200, "soft_targets": 1180}


WHOLE = """() =>
    !document.querySelector("[data-testid=stSkeleton], [data-testid=stProgress], [data-testid=stSpinner]") &&
    [...document.querySelectorAll("[data-testid=stPlotlyChart]")].every(chart => chart.querySelector(".main-svg"))
"""
"""Whether nothing on the page is still being made or loaded."""


def settle(page: Page) -> None:
    page.wait_for_selector("[data-testid='stApp'][data-test-connection-state='CONNECTED']", timeout=60_000)
    # Charts are drawn a moment after the script has run.
    for _ in range(2):
        page.wait_for_selector("[data-testid='stApp'][data-test-script-state='notRunning']", timeout=120_000)
        page.wait_for_function(WHOLE, timeout=300_000)
        page.wait_for_timeout(1500)


def launch(playwright: Playwright) -> Browser:
    names = (project_dir() / ".ci/browsers").read_text().split()
    path = next((found for name in names if (found := shutil.which(name))), None)
    return playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])


def open_first(page: Page) -> None:
    """Open the first image in its panel."""
    page.get_by_role("region", name="Lowest norm").get_by_role("button").first.click()
    page.get_by_role("button", name="Copy link").wait_for()
    settle(page)


def photograph_photographs(url: str, dataset: str, teacher: str) -> None:
    with sync_playwright() as playwright:
        browser = launch(playwright)
        page = browser.new_page(viewport={"width": 1440, "height": 900}, color_scheme="light")
        page.goto(f"{url}/gallery?dataset={dataset}&teacher={teacher}")
        page.get_by_role("region", name="Lowest norm").wait_for(timeout=600_000)
        settle(page)
        page.screenshot(path=PICTURES / "photographs.png")
        open_first(page)
        # Without the place of its file on this machine, which stands below.
        page.screenshot(path=PICTURES / "photograph.png", clip={"x": 0, "y": 0, "width": 1440, "height": 838})
        browser.close()


def photograph(url: str) -> None:
    with sync_playwright() as playwright:
        browser = launch(playwright)
        for scheme, names in (("light", list(SHOTS)), ("dark", ["soft_targets"])):
            for name in names:
                size = {"width": 1440, "height": HEIGHTS.get(name, 900)}
                page = browser.new_page(viewport=size, color_scheme=scheme)  # type: ignore[arg-type]
                page.goto(f"{url}/{SHOTS[name]}")
                settle(page)
                if name == "map":
                    page.get_by_role("button", name="Make the map").click()
                    page.locator(".st-key-map .js-plotly-plot").wait_for(timeout=300_000)
                    settle(page)
                page.screenshot(path=PICTURES / f"{name}{'-dark' if scheme == 'dark' else ''}.png")
                if name == "gallery":
                    open_first(page)
                    page.screenshot(path=PICTURES / "sample.png")
                page.close()
        browser.close()


def students(home: str) -> None:
    """Train three short ones."""
    for method in ("ce", "kd", "fn"):
        teacher = [] if method == "ce" else ["--teacher", "digits-teacher"]
        command = ["train", "--dataset", "digits", "--method", method, *teacher]
        command += ["--epochs", "10", "--name", f"short-{method}"]
        environment = os.environ | {"FNKD_HOME": home}
        subprocess.run([sys.executable, "-m", "fnkd_core", *command], env=environment, check=True, cwd=project_dir())


@contextlib.contextmanager
def dashboard(home: str) -> Iterator[str]:
    """Its address, for as long as it is needed."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    with tempfile.NamedTemporaryFile("wb") as log:
        server = subprocess.Popen(
            [sys.executable, "-m", "streamlit", "run", "app.py", "--server.port", port],
            cwd=project_dir(),
            env=os.environ | {"FNKD_HOME": home},
            stdout=log,
            stderr=log,
        )
        try:
            url, end = f"http://127.0.0.1:{port}", time.monotonic() + 60
            while True:
                with contextlib.suppress(OSError), urllib.request.urlopen(f"{url}/_stcore/health", timeout=2):
                    break
                if time.monotonic() > end:
                    sys.exit("The dashboard did not start; run `make app` to see why.")
                time.sleep(0.2)
            yield url
        finally:
            server.terminate()
            server.wait(20)


def main() -> None:
    parser = argparse.ArgumentParser(description="Take the pictures of the docs.")
    parser.add_argument("--home", help="with photographs and a teacher of them")
    parser.add_argument("--dataset", help="the photographs' name there")
    parser.add_argument("--teacher", help="the teacher's name there")
    a = parser.parse_args()
    PICTURES.mkdir(exist_ok=True)
    if a.home:
        with dashboard(a.home) as url:
            photograph_photographs(url, a.dataset, a.teacher)
    else:
        with tempfile.TemporaryDirectory() as home:
            students(home)
            with dashboard(home) as url:
                photograph(url)
    print(f"{len(list(PICTURES.glob('*.png')))} pictures in {PICTURES.relative_to(project_dir())}")


if __name__ == "__main__":
    main()

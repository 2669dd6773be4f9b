"""Takes the pictures of the README from a fresh dashboard.

    make screenshots

Starts the dashboard with an empty home, trains three short students so that there is something to see, and
photographs every page at 1440 pixels, the soft targets in the dark theme as well.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

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


def settle(page: Page) -> None:
    page.wait_for_selector("[data-testid='stApp'][data-test-connection-state='CONNECTED']", timeout=60_000)
    # Charts are drawn a moment after the script has run.
    for _ in range(2):
        page.wait_for_selector("[data-testid='stApp'][data-test-script-state='notRunning']", timeout=120_000)
        page.wait_for_timeout(1500)


def photograph(browser_path: str | None, url: str) -> None:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=browser_path, args=["--no-sandbox"])
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
                    page.get_by_role("region", name="Lowest norm").get_by_role("button").first.click()
                    page.get_by_role("button", name="Copy link").wait_for()
                    settle(page)
                    page.screenshot(path=PICTURES / "sample.png")
                page.close()
        browser.close()


def main() -> None:
    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
    browser_path = next((path for name in names if (path := shutil.which(name))), None)
    PICTURES.mkdir(exist_ok=True)
    with socket.socket() as probe, tempfile.TemporaryDirectory() as home:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
        probe.close()
        environment = os.environ | {"FNKD_HOME": home}
        for method in ("ce", "kd", "fn"):
            teacher = [] if method == "ce" else ["--teacher", "digits-teacher"]
            command = ["train", "--dataset", "digits", "--method", method, *teacher]
            command += ["--epochs", "10", "--name", f"short-{method}"]
            subprocess.run(
                [sys.executable, "-m", "fnkd_core", *command], env=environment, check=True, cwd=project_dir()
            )
        with (Path(home) / "server.log").open("wb") as log:
            server = subprocess.Popen(
                [sys.executable, "-m", "streamlit", "run", "app.py", "--server.port", port],
                cwd=project_dir(),
                env=environment,
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
            photograph(browser_path, url)
        finally:
            server.terminate()
            server.wait(20)
    print(f"{len(list(PICTURES.glob('*.png')))} pictures in {PICTURES.relative_to(project_dir())}")


if __name__ == "__main__":
    main()

"""A real server and a real Chromium. Whatever goes wrong in the browser fails the test."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import ClassVar, Literal
from urllib.parse import urljoin

import pytest
from playwright.sync_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Error,
    Page,
    WebSocketRoute,
    expect,
    sync_playwright,
)

from fnkd_core.paths import project_dir
from fnkd_core.stores.store import Store
from tests.waiting import until_it_serves

PATIENCE_S = 60
"""How long a test that has failed goes on; one that passes goes on as soon as it can."""
expect.set_options(timeout=1000 * PATIENCE_S)
STAYS = ("stores", "cache", "server.log")
"""What the home of the shared server keeps from test to test: what is made of the shipped models again and again."""
CHROMIUMS = (project_dir() / ".ci/browsers").read_text().split()
QUIET = (
    "--no-sandbox", "--disable-quic", "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--process-per-site", "--js-flags=--no-opt --no-maglev",
)  # fmt: skip
"""The last two: pages of one context share a process, which compiles what all of them run once, not at each test; and
to optimise what runs for seconds takes longer than it saves."""


class Server:
    """The dashboard in a process of its own, on a free port of this machine.

    killed: addresses at which one was ended by a test, so that a page there may be refused.
    """

    killed: ClassVar[set[str]] = set()

    def __init__(self, home: Path, script: str = "app.py") -> None:
        self.home, self.script = home, script
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with (self.home / "server.log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "streamlit", "run", self.script, "--server.port", str(self.port)],
                cwd=project_dir(),
                env=os.environ | {"FNKD_HOME": str(self.home), "OMP_NUM_THREADS": "1"},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        until_it_serves(self.process, self.port, self.home / "server.log")

    def kill(self) -> None:
        if self.process is not None:
            self.killed.add(self.url)
            self.process.kill()
            self.process.wait(PATIENCE_S)
            self.process = None


@pytest.fixture
def server(home: Path, _stores: dict[str, Store]) -> Iterator[Server]:
    """A server whose home has the outputs of the shipped models: to extract them takes longer than most tests."""
    shutil.copytree(_stores["teacher"].path.parent, home / "stores", dirs_exist_ok=True)
    started = Server(home)
    started.start()
    yield started
    started.kill()


@pytest.fixture(scope="session")
def _shared(tmp_path_factory: pytest.TempPathFactory, _stores: dict[str, Store]) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("shared")
    shutil.copytree(_stores["teacher"].path.parent, folder / "stores")
    started = Server(folder)
    started.start()
    yield started
    started.kill()


@pytest.fixture
def shared(_shared: Server) -> Iterator[Server]:
    """A server that is already warm, for tests that leave no job at work; what they saved is gone afterwards.

    To start one, and to have it import torch at its first page, takes longer than most of what is tested.
    """
    yield _shared
    for path in _shared.home.iterdir():
        if path.name not in STAYS:
            shutil.rmtree(path) if path.is_dir() else path.unlink()


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    found = next((path for name in CHROMIUMS if (path := shutil.which(name))), None)
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=found, args=list(QUIET))
        yield launched
        launched.close()


@pytest.fixture(scope="session")
def _context(browser: Browser) -> Iterator[BrowserContext]:
    context = browser.new_context(viewport={"width": 1440, "height": 900}, reduced_motion="reduce")
    yield context
    context.close()


@pytest.fixture
def page(_context: BrowserContext) -> Iterator[Page]:
    """A window whose errors, and requests to anywhere but this machine, fail the test.

    What the last test left in the browser's storage is gone. The last window stays, without a page of ours, so that
    the process does.
    """
    window = _context.new_page()
    window.set_default_timeout(1000 * PATIENCE_S)
    wrong: list[str] = []
    window.on("pageerror", lambda error: wrong.append(f"page error: {error}"))

    def heard(message: ConsoleMessage) -> None:
        # The frontend asks for its health under the page's own path first; that is a 404 by design.
        asked = message.location["url"]
        refused = "net::ERR_CONNECTION_REFUSED" in message.text and asked.startswith(tuple(Server.killed))
        if message.type == "error" and "_stcore" not in asked and not refused:
            wrong.append(f"console: {message.text} {asked}")

    window.on("console", heard)
    window.on(
        "request",
        lambda r: None if r.url.startswith(("http://127.0.0.1", "data:", "blob:")) else wrong.append(f"left: {r.url}"),
    )
    yield window
    exceptions = window.locator("[data-testid='stException']").all_inner_texts()
    with contextlib.suppress(Error):  # a page that is nowhere has no storage
        window.evaluate("localStorage.clear()")
    _context.clear_cookies()
    _context.clear_permissions()
    earlier = [one for one in _context.pages if one is not window]
    try:
        window.goto(urljoin(window.url, "/_stcore/health"))
    except Error:  # its server was ended
        window.close()
    else:
        for one in earlier:
            one.close()
    assert not wrong + exceptions


@pytest.fixture
def settled(page: Page) -> Callable[[], None]:
    """Wait until the page is connected and its script has run."""

    def wait() -> None:
        page.wait_for_selector("[data-testid='stApp'][data-test-connection-state='CONNECTED']")
        page.wait_for_selector("[data-testid='stApp'][data-test-script-state='notRunning']")

    return wait


class Held:
    """What one end of a page's connection sends, kept from the other while `holds`. For a page that is not opened yet.

    sender: whose messages, the `browser`'s or the `server`'s. messages: those that are kept, in their order.
    """

    def __init__(self, page: Page, sender: Literal["browser", "server"]) -> None:
        self.holds = False
        self.messages: list[str | bytes] = []
        self._to: list[WebSocketRoute] = []

        def between(browser: WebSocketRoute) -> None:
            server = browser.connect_to_server()
            source, target = (browser, server) if sender == "browser" else (server, browser)

            def on_its_way(message: str | bytes) -> None:
                if self.holds:
                    self.messages.append(message)
                    self._to.append(target)
                else:
                    target.send(message)

            source.on_message(on_its_way)

        page.route_web_socket(re.compile("_stcore/stream"), between)

    def release(self) -> None:
        """Send on what was kept, and keep nothing more."""
        self.holds = False
        for target, message in zip(self._to, self.messages, strict=True):
            target.send(message)

"""A window of a real browser, in which clicks are measured where they are done: in the server, and on the screen."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from playwright.sync_api import Locator, Page
from serving import Server, spread_ms  # type: ignore[import-not-found]

PATIENCE_MS = 120_000
WATCH = """([kind, selector, attribute]) => {
  const all = (at) => [...at.querySelectorAll("*")].flatMap((one) => one.shadowRoot ? all(one.shadowRoot) : [])
    .concat([...at.querySelectorAll(selector)]);
  const shown = () => all(document).map((one) => attribute ? one.getAttribute(attribute) : one.textContent).join("|");
  const before = shown();
  let begun = null;
  addEventListener(kind, (event) => { begun ??= event.timeStamp; }, { capture: true, once: true });
  window.__seen = new Promise((done, failed) => {
    setTimeout(() => failed(new Error(`${selector} stays as it was after ${kind}: ${before.slice(0, 200)}`)), 15000);
    const look = () => {
      const now = begun === null ? before : shown();
      if (now !== before && now !== "") requestAnimationFrame(() => done((performance.now() - begun) / 1000));
      else requestAnimationFrame(look);
    };
    look();
  });
}"""
"""Seconds from the first event of a kind until what a selector finds, in shadow roots too, is another and drawn."""


@dataclass
class Clicks:
    """Of one kind of click, each time: seconds of wall and of processor in the server, and until it is seen."""

    server_s: list[float] = field(default_factory=list)
    cpu_s: list[float] = field(default_factory=list)
    visible_s: list[float] = field(default_factory=list)

    def summed(self) -> dict[str, Any]:
        parts = {"server": self.server_s, "cpu": self.cpu_s, "visible": self.visible_s}
        return {"n": len(self.server_s)} | {name: spread_ms(s) if s else None for name, s in parts.items()}


class Window:
    """A window of the browser on a server, and what it has measured."""

    def __init__(self, page: Page, server: Server, view: str) -> None:
        self.page, self.server, self.view = page, server, view
        self.clicks: dict[str, Clicks] = {}
        self.first: dict[str, dict[str, float]] = {}
        self.frames = 0
        page.set_default_timeout(PATIENCE_MS)

        def heard(_: object) -> None:
            self.frames += 1

        def opened(socket: Any) -> None:
            socket.on("framesent", heard)
            socket.on("framereceived", heard)

        page.on("websocket", opened)

    def settled(self) -> None:
        self.page.wait_for_selector("[data-testid='stApp'][data-test-connection-state='CONNECTED']")
        self.page.wait_for_selector("[data-testid='stApp'][data-test-script-state='notRunning']")

    def goto(self, path: str, query: str, there: Callable[[], Locator]) -> None:
        """Open a page; what it takes the first time is kept."""
        self.server.ended()
        begun, cpu = time.monotonic(), self.server.cpu_s
        self.page.goto(f"{self.server.url}/{path}?{self.view}{'&' if query else ''}{query}")
        there().first.wait_for()
        seen = time.monotonic() - begun
        self.settled()
        runs = self.server.ended()
        self.first.setdefault(path or "overview", {
            "server_s": round(sum(run["wall_s"] for run in runs), 2),
            "cpu_s": round(self.server.cpu_s - cpu, 2),
            "visible_s": round(seen, 2),
        })  # fmt: skip

    def press(self, name: str, seen: tuple[str, str], do: Callable[[], object], event: str = "click") -> None:
        """Do it, and measure until what `seen` finds is another. event: from which it is measured."""
        self.settled()
        self.server.ended()
        self.page.evaluate(WATCH, [event, *seen])
        do()
        visible = self.page.evaluate("() => window.__seen.catch(() => null)")
        # What is drawn at once in the browser goes to the server a moment later.
        runs: list[dict[str, Any]] = []
        until = time.monotonic() + 10
        while not runs and time.monotonic() < until:
            self.settled()
            runs = self.server.ended()
            self.page.wait_for_timeout(20)
        self.settled()
        runs += self.server.ended()
        of = self.clicks.setdefault(name, Clicks())
        if visible is not None:  # on stores whose classes are alike, not every click shows something else
            of.visible_s.append(visible)
        of.server_s.append(sum(run["wall_s"] for run in runs))
        of.cpu_s.append(sum(run["cpu_s"] for run in runs))

    def choose(self, name: str, label: str, value: str, seen: tuple[str, str]) -> None:
        """Choose in a select box by typing."""
        self.settled()
        picker = self.page.get_by_role("combobox", name=label).first
        picker.click()
        picker.press_sequentially(value)
        self.page.get_by_role("option", name=value, exact=True).first.wait_for()
        self.press(name, seen, lambda: self.page.keyboard.press("Enter"), "keydown")

    def type(self, name: str, label: str, value: str, seen: tuple[str, str]) -> None:
        """Type into a field."""
        self.settled()
        box = self.page.get_by_role("spinbutton", name=label, exact=True)
        box.fill(value)
        self.press(name, seen, lambda: box.press("Enter"), "keydown")

"""Uploads are bounded over all sessions before they are read, and let go once they are imported."""

from __future__ import annotations

import asyncio
import re
import urllib.request
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import pytest
from playwright.sync_api import Page, expect
from starlette.types import Message, Receive, Scope, Send

from fnkd_core.checkpoints.io import read_state
from fnkd_core.checkpoints.library import find_checkpoint
from fnkd_core.ui import uploads
from tests.browser.conftest import Server
from tests.waiting import until

URL = "/_stcore/upload_file/session/file"


def run(coroutine: Coroutine[Any, Any, None]) -> None:
    """Run it in a thread: in this one Playwright has a loop of its own."""
    with ThreadPoolExecutor(1) as thread:
        thread.submit(asyncio.run, coroutine).result()


class Room:
    """A server that keeps what it was sent, behind `Bounded`; an upload is under way until `done` is set."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.kept = 0
        self.done = asyncio.Event()
        self.bounded = uploads.Bounded(self.app)
        monkeypatch.setattr(uploads, "kept", lambda: self.kept)
        monkeypatch.setattr(uploads, "most", lambda: 100 << 20)
        self.here, self.gone = [False, True, False, False], asyncio.Event()
        keeper = SimpleNamespace(remove_session_files=self.remove)
        server = SimpleNamespace(
            is_active_session=lambda name: bool(self.here) and self.here.pop(0), uploaded_file_mgr=keeper
        )
        monkeypatch.setattr(uploads, "runtime", SimpleNamespace(get_instance=lambda: server))
        monkeypatch.setattr(uploads, "LOOK_S", 0)
        monkeypatch.setattr(uploads, "AWAY", 2)

    def remove(self, session: str) -> None:
        assert session == "session" and not self.here, "it was away twice in a row"
        self.gone.set()

    async def app(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.done.wait()
        await send({"type": "http.response.start", "status": 204, "headers": []})

    async def put(self, size: str | None, method: str = "PUT", path: str = URL) -> tuple[int, str]:
        """The status of the answer, and its text."""
        answer: list[Message] = []

        async def send(message: Message) -> None:
            answer.append(message)

        headers = [] if size is None else [(b"content-length", size.encode())]
        scope = {"type": "http", "method": method, "path": path, "headers": headers}
        await self.bounded(scope, lambda: asyncio.Event().wait(), send)  # type: ignore[arg-type, return-value]
        return answer[0]["status"], b"".join(one.get("body", b"") for one in answer).decode()


def test_uploads_under_way_and_kept_have_room_for_two_of_the_largest(monkeypatch: pytest.MonkeyPatch) -> None:
    async def crowd() -> None:
        room = Room(monkeypatch)
        size = str(80 << 20)
        under_way = [asyncio.create_task(room.put(size)) for _ in range(2)]
        await asyncio.sleep(0)
        status, text = await room.put(size)
        assert status == 507
        assert "At most 100 MB, and 200 MB of all who upload at once" in text and "fnkd checkpoints import" in text
        room.done.set()
        assert [(await task)[0] for task in under_way] == [204, 204]
        room.kept = 150 << 20
        assert (await room.put(size))[0] == 507
        room.kept = 0
        assert (await room.put(size))[0] == 204

    run(crowd())


def test_an_upload_that_does_not_say_its_length_is_refused_and_all_else_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    async def others() -> None:
        room = Room(monkeypatch)
        room.kept = 200 << 20
        room.done.set()
        assert (await room.put(None))[0] == 411
        assert (await room.put("much"))[0] == 411
        assert (await room.put(None, "DELETE"))[0] == 204
        assert (await room.put(None, "PUT", "/elsewhere"))[0] == 204

    run(others())


def test_what_a_session_has_uploaded_is_let_go_when_it_stays_away(monkeypatch: pytest.MonkeyPatch) -> None:
    async def away() -> None:
        room = Room(monkeypatch)
        room.done.set()
        assert [(await room.put("1"))[0] for _ in range(2)] == [204, 204]
        assert len(room.bounded.watched) == 1
        await asyncio.wait_for(room.gone.wait(), 60)
        assert not room.bounded.watched

    run(away())


def test_what_the_page_says_of_uploads_is_what_the_server_holds_to() -> None:
    assert uploads.limits().startswith("At most 2,048 MB, and 4,096 MB of all who upload at once; ")


def kept(server: Server) -> int:
    """Bytes of uploads that the server keeps."""
    with urllib.request.urlopen(f"{server.url}/_stcore/metrics", timeout=60) as answer:
        text = answer.read().decode()
    found = re.findall(r"cache_memory_bytes\{[^}]*UploadedFileManager[^}]*\} (\d+)", text)
    return sum(int(size) for size in found)


@pytest.mark.browser
def test_an_upload_is_kept_while_it_can_be_tried_again_and_let_go_once_it_is_imported(
    server: Server, page: Page, settled: Callable[[], None]
) -> None:
    import torch

    weights = server.home / "theirs.pth"
    torch.save(read_state(find_checkpoint("digits-fn").path), weights)
    page.goto(server.url)
    page.get_by_text("Upload", exact=True).first.click()
    expect(page.get_by_text("At most 2,048 MB")).to_be_visible()
    page.locator("input[type=file]").set_input_files(weights)
    expect(page.get_by_test_id("stFileChip")).to_be_visible()
    settled()
    page.get_by_text("More", exact=True).click()
    architecture = page.get_by_role("textbox", name="Architecture")
    architecture.fill("cifar_resnet20")
    page.get_by_role("button", name="Import", exact=True).click()
    expect(page.get_by_text("Refused")).to_be_visible()
    settled()
    assert kept(server) == weights.stat().st_size
    architecture.fill("")
    architecture.press("Enter")
    page.get_by_role("button", name="Import", exact=True).click()
    expect(page.get_by_text("is in the library.")).to_be_visible()
    until(lambda: kept(server) == 0)

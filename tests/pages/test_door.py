"""Who may come in: others only where somebody asks who they are, or it was said that they may."""

from __future__ import annotations

import asyncio
import http.client
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from http.cookies import SimpleCookie
from pathlib import Path
from typing import Any

import pytest
import streamlit as st
from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse, RedirectResponse
from starlette.types import Message, Receive, Scope, Send
from streamlit.testing.v1 import AppTest

from fnkd_core.errors import UserError
from fnkd_core.paths import project_dir
from fnkd_core.ui import door, frame, guard
from tests.pages.tools import sentences
from tests.serving import closed_port
from tests.waiting import until_it_serves

NAMES = [name for pages in frame.PAGES.values() for name in pages]
PATHS = (
    "/", "/norms", "/_stcore/health", "/_stcore/host-config", "/_stcore/stream", "/_stcore/upload_file/a/b", "/media/a",
    "/component/a/b", "/app/static/icon.png", "/auth/login", "/_stcore/metrics", "/_stcore/agent/openapi.json",
)  # fmt: skip
SIGN_IN = {
    "redirect_uri": "http://x/oauth2callback", "cookie_secret": "a" * 40, "client_id": "b", "client_secret": "c",
    "server_metadata_url": "http://x/.well-known/openid-configuration",
}  # fmt: skip


@pytest.fixture
def at(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Lets the server stand at an address, with these settings of sign-in."""

    def stand(address: str | None, **auth: Any) -> None:
        options = {"server.address": address}
        get_option = st.get_option
        monkeypatch.setattr(st, "get_option", lambda name: options[name] if name in options else get_option(name))
        monkeypatch.setattr(st.secrets, "load_if_toml_exists", lambda: bool(auth))
        monkeypatch.setattr(st.secrets, "_secrets", {"auth": auth} if auth else {})
        monkeypatch.setattr("importlib.util.find_spec", lambda name: name)

    return stand


@pytest.mark.parametrize(
    ("address", "local"),
    [
        ("127.0.0.1", True), ("127.0.0.2", True), ("::1", True), ("localhost", True), ("unix:///run/fnkd", True),
        (None, False), ("", False), ("0.0.0.0", False), ("::", False), ("192.168.1.4", False), ("lab.example", False),
        ("127.0.0.1.example", False),
    ],
)  # fmt: skip
def test_another_address_than_this_machine_s_needs_sign_in_or_a_word(
    address: str | None, local: bool, at: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    at(address)
    monkeypatch.delenv(door.OPEN, raising=False)
    assert door.is_local(address) is local
    if local:
        door.require_closed()
    else:
        with pytest.raises(UserError, match="nobody asks who they are"):
            door.require_closed()
        monkeypatch.setenv(door.OPEN, "1")
        door.require_closed()
        monkeypatch.delenv(door.OPEN)
        at(address, **SIGN_IN)
        door.require_closed()
        assert not door.is_open()


def test_sign_in_without_the_library_it_needs_is_refused(
    at: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    at("0.0.0.0", **SIGN_IN)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UserError, match="pip install 'streamlit\\[auth\\]'"):
        door.require_closed()


def test_every_provider_that_is_configured_can_be_chosen(at: Callable[..., None]) -> None:
    at("0.0.0.0", **SIGN_IN)
    assert door.providers() == [None]
    at("0.0.0.0", redirect_uri="http://x", cookie_secret="y", ours={"client_id": "a"}, theirs={"client_id": "b"})
    assert door.providers() == ["ours", "theirs"]


@pytest.mark.parametrize("name", NAMES)
def test_every_page_asks_who_you_are_before_anything_else_is_shown(
    nothing_extracted: None, opened: Callable[..., AppTest], at: Callable[..., None], home: Path, name: str
) -> None:
    at("0.0.0.0", **SIGN_IN)
    app = opened(name)
    assert not app.exception
    assert [button.label for button in app.button] == ["Sign in"]
    assert [title.value for title in app.title] == ["FNKD Lab"]
    assert not app.selectbox and not app.dataframe and list(home.iterdir()) == []


@pytest.mark.parametrize("name", NAMES)
def test_where_the_server_is_open_every_page_says_what_others_can_do(
    opened: Callable[..., AppTest], at: Callable[..., None], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(frame, "_sidebar", lambda: None)  # what follows the line is not what this is about
    at("0.0.0.0")
    monkeypatch.setenv(door.OPEN, "1")
    assert "Anyone who reaches this address can read folders of this machine and start jobs" in sentences(opened(name))


def test_where_the_server_is_open_and_only_shows_it_says_so(
    opened: Callable[..., AppTest], at: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    at("0.0.0.0")
    for name in (door.OPEN, "FNKD_READONLY"):
        monkeypatch.setenv(name, "1")
    said = sentences(opened("runs"))
    assert "Anyone who reaches this address can see what is here." in said and guard.READ_ONLY in said


def test_a_server_that_was_started_past_the_door_shows_nothing(
    opened: Callable[..., AppTest], at: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    at("0.0.0.0")
    monkeypatch.delenv(door.OPEN, raising=False)
    app = opened("overview")
    assert "nobody asks who they are" in app.error[0].value and not app.title and not app.selectbox


def serve(log: Path, *arguments: str, **environment: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "streamlit", "run", "app.py", "--server.port", str(closed_port()), *arguments]
    clean = {k: v for k, v in os.environ.items() if k != door.OPEN}
    with log.open("wb") as file:
        return subprocess.Popen(
            command, cwd=project_dir(), env=clean | environment, stdin=subprocess.DEVNULL, stdout=file, stderr=file
        )


def test_the_server_does_not_start_where_others_would_reach_it(tmp_path: Path) -> None:
    starts = [
        serve(tmp_path / "flag", "--server.address", "0.0.0.0"),
        serve(tmp_path / "variable", STREAMLIT_SERVER_ADDRESS="0.0.0.0"),
    ]
    assert [process.wait(240) for process in starts] == [1, 1]
    for name in ("flag", "variable"):
        said = (tmp_path / name).read_text()
        assert "At the address 0.0.0.0 others reach this server" in said and "Traceback" not in said


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """A server that only shows."""
    folder = tmp_path_factory.mktemp("served")
    process = serve(folder / "log", FNKD_HOME=str(folder), FNKD_READONLY="1")
    number = int(process.args[6])  # type: ignore[index]
    try:
        until_it_serves(process, number, folder / "log")
        yield number
    finally:
        process.kill()
        process.wait()


def asked(port: int, path: str, host: str, method: str = "GET", **headers: str) -> http.client.HTTPResponse:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request(method, path, headers={"Host": host} | {k.replace("_", "-"): v for k, v in headers.items()})
    answer = connection.getresponse()
    answer.read()
    connection.close()
    return answer


@pytest.mark.parametrize("path", PATHS)
def test_every_endpoint_answers_only_to_names_that_are_the_server_s_own(port: int, path: str) -> None:
    assert asked(port, path, f"localhost:{port}").status != 400
    assert asked(port, path, "127.0.0.1").status != 400
    for foreign in ("evil.example", "127.0.0.1.evil.example", "localhost@evil.example", ""):
        assert asked(port, path, foreign).status == 400


def test_a_websocket_under_a_foreign_name_or_from_a_foreign_page_is_not_opened(port: int) -> None:
    upgrade = {
        "Connection": "Upgrade", "Upgrade": "websocket", "Sec_WebSocket_Version": "13",
        "Sec_WebSocket_Key": "AAAAAAAAAAAAAAAAAAAAAA==",
    }  # fmt: skip
    assert asked(port, "/_stcore/stream", "localhost", **upgrade).status == 101
    assert asked(port, "/_stcore/stream", "evil.example", **upgrade).status == 400
    assert asked(port, "/_stcore/stream", "localhost", **upgrade, Origin="http://evil.example").status == 403


@pytest.mark.parametrize("path", ["/", "/_stcore/health", "/app/static/icon.png", "/media/none"])
def test_answers_forbid_frames_and_anything_from_elsewhere(port: int, path: str) -> None:
    answer = asked(port, path, "localhost")
    assert {name: answer.getheader(name) for name in door.HEADERS} == door.HEADERS
    policy = door.HEADERS["Content-Security-Policy"]
    assert "frame-ancestors 'none'" in policy and "default-src 'self'" in policy and "http" not in policy


def test_no_file_is_taken_where_the_server_only_shows(port: int) -> None:
    for method in ("PUT", "POST", "DELETE"):
        assert asked(port, "/_stcore/upload_file/some/where", "localhost", method).status == 403


PAGE = "/gallery?model=digits-fn&sort=norm&q=a%20b%26c"


async def as_streamlit(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers to sign-in as Streamlit does: a redirect to the provider, and one from it to the first page."""
    there = "http://provider/authorize" if scope["path"].endswith("/auth/login") else "/"
    answer = RedirectResponse(there, 302) if "auth" in scope["path"] else PlainTextResponse("a page")
    answer.set_cookie("streamlit_user", "somebody")
    await answer(scope, receive, send)


def answered(path: str, **headers: str) -> tuple[int, str, SimpleCookie]:
    """Status, location and cookies of what is answered under the name lab.example."""
    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "http.request"}

    async def send(message: Message) -> None:
        sent.append(message)

    path, _, query = path.partition("?")
    given = [(k.encode(), v.encode("latin-1")) for k, v in {"host": "lab.example", **headers}.items()]
    scope = {"type": "http", "method": "GET", "path": path, "query_string": query.encode(), "headers": given}
    with ThreadPoolExecutor(1) as pool:  # in this one a browser of other tests has its event loop
        pool.submit(lambda: asyncio.run(door.Return(as_streamlit)(scope, receive, send))).result()
    found, cookies = Headers(raw=sent[0]["headers"]), SimpleCookie[str]()
    for cookie in found.getlist("set-cookie"):
        cookies.load(cookie)
    return sent[0]["status"], found.get("location", ""), cookies


def led(referer: str | None) -> str:
    """Where who begins to sign in at this page is led at last."""
    _, there, cookies = answered("/auth/login?provider=x", **({"referer": referer} if referer else {}))
    assert there == "http://provider/authorize"
    kept = {"cookie": f"{door.CAME_FROM}={cookies[door.CAME_FROM].coded_value}"} if door.CAME_FROM in cookies else {}
    status, there, cookies = answered("/oauth2callback?state=1&code=2", **kept)
    assert status == 302 and cookies["streamlit_user"].value == "somebody"
    assert not kept or cookies[door.CAME_FROM]["max-age"] == "0"  # once
    return there


def test_who_signs_in_at_a_link_comes_back_to_it() -> None:
    assert led(f"http://lab.example{PAGE}") == led(f"https://lab.example{PAGE}") == PAGE
    assert led("http://lab.example/lab/norms?a=b") == "/lab/norms?a=b"
    assert led(f"http://lab.example/norms?a={'b' * door.LONGEST}") == "/norms"


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_what_says_where_is_for_the_server_s_eyes_and_as_secret_as_the_way_was(scheme: str) -> None:
    _, _, cookies = answered("/auth/login", referer=f"{scheme}://lab.example{PAGE}")
    kept = cookies[door.CAME_FROM]
    assert kept["httponly"] and kept["samesite"] == "lax" and bool(kept["secure"]) == (scheme == "https")
    assert answered("/norms", cookie=f"{door.CAME_FROM}=%2Fgallery")[:2] == (200, "")


@pytest.mark.parametrize(
    "referer",
    [
        None, "", "http://evil.example/norms", "http://lab.example.evil.example/norms", "http://lab.example//evil.example",
        "http://lab.example/\\evil.example", "http://evil.example@lab.example/", "http://[/", "norms", "javascript:1",
        "http://lab.example/\xe9",
    ],
)  # fmt: skip
def test_nobody_is_led_elsewhere(referer: str | None) -> None:
    assert led(referer) == "/"


@pytest.mark.parametrize(
    "value", ["http%3A%2F%2Fevil.example", "%2F%2Fevil.example", "%2F%5Cevil.example", "%2Fa%0D%0ASet-Cookie%3A+b=c"]
)
def test_a_cookie_of_somebody_else_s_leads_nowhere(value: str) -> None:
    _, there, cookies = answered("/oauth2callback", cookie=f"{door.CAME_FROM}={value}")
    assert there == "/" and set(cookies) == {"streamlit_user", door.CAME_FROM}

"""Who may come in, under which names the server answers, and what its answers forbid the browser."""

from __future__ import annotations

import importlib.util
import ipaddress
import os
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, unquote, urlsplit

import streamlit as st
from starlette.datastructures import MutableHeaders
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from fnkd_core.errors import UserError, require
from fnkd_core.ui import guard, uploads
from fnkd_core.ui.markdown import literal

OPEN = "FNKD_OPEN"
HEADERS = {
    # Nothing from elsewhere is fetched or run, whatever text of others stands on a page, and no page frames this one.
    "Content-Security-Policy": "default-src 'self'; img-src 'self' data: blob:; media-src 'self' data: blob:; "
    "font-src 'self' data:; style-src 'self' 'unsafe-inline'; "
    "script-src 'self' 'unsafe-inline' 'unsafe-eval' blob: data:; worker-src 'self' blob:; "
    "connect-src 'self' data: blob:; object-src 'none'; base-uri 'self'; form-action 'self'; frame-ancestors 'none'",
    "X-Frame-Options": "DENY",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
UPLOADS = "/_stcore/upload_file"
CAME_FROM = "fnkd_came_from"
"""The cookie that says, while somebody signs in, at which page."""
SIGN_IN_S = 900
LONGEST = 3500
"""Characters of an address in a cookie, of which browsers keep 4,096 bytes; of a longer one the page alone is kept."""


def middleware() -> list[Middleware]:
    """What stands before every endpoint of the server. Ends the process with one line where it may not be started."""
    try:
        require_closed()
    except UserError as error:
        raise SystemExit(f"fnkd: {error}") from None
    allowed = list(st.get_option("server.allowedHosts")) or ["*"]
    return [
        Middleware(Headers),
        Middleware(TrustedHostMiddleware, allowed_hosts=allowed, www_redirect=False),
        Middleware(Uploads),
        Middleware(Overview),
        Middleware(Return),
        Middleware(uploads.Bounded),
    ]


def is_local(address: str | None) -> bool:
    """Whether only this machine reaches a server at this address; without one it listens on all."""
    if address is None or address == "":
        return False
    if address == "localhost" or address.startswith("unix://"):
        return True
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False


def providers() -> list[str | None]:
    """The providers that sign people in, as `st.login` takes them; empty where sign-in is not configured."""
    if not st.secrets.load_if_toml_exists() or "auth" not in st.secrets:
        return []
    section: Mapping[str, Any] = st.secrets["auth"]
    named: list[str | None] = [name for name, value in section.items() if isinstance(value, Mapping)]
    return named if "client_id" not in section else [None, *named]


def is_open() -> bool:
    """Whether others reach this server and nobody asks who they are."""
    return not is_local(st.get_option("server.address")) and not providers()


def require_closed() -> None:
    """`UserError` where others would reach the server without being asked who they are, and nobody said they may."""
    address = st.get_option("server.address")
    require(
        not providers() or importlib.util.find_spec("authlib") is not None,
        "Sign-in is configured in secrets.toml and needs Authlib; `pip install 'streamlit[auth]'`.",
    )
    require(
        not is_open() or bool(os.environ.get(OPEN)),
        f"At the address {address or 'of all networks'} others reach this server, can read folders and start jobs, and "
        f"nobody asks who they are. Use --server.address 127.0.0.1, configure sign-in ([auth] in "
        f".streamlit/secrets.toml), or set {OPEN}=1 if that is meant.",
    )


def passed() -> bool:
    """Whether this session may see a page; else what it can do about it is all that it sees."""
    try:
        require_closed()
    except UserError as error:
        guard.say(error)
        return False
    if providers() and not st.user.is_logged_in:
        st.title("FNKD Lab", anchor=False)
        st.markdown("Sign in to see what is here.")
        for name in providers():
            sign_in = guard.callback(st.login, name, writes=False)
            st.button(f"Sign in with {literal(name)}" if name else "Sign in", type="primary", on_click=sign_in)
        return False
    return True


def notice() -> None:
    """One line where there is something to know of who can do what here."""
    if is_open():
        able = "see what is here" if guard.read_only() else "read folders of this machine and start jobs on it"
        st.warning(f"Anyone who reaches this address can {able}.", icon=":material/lock_open:")
    if guard.read_only():
        st.info(literal(guard.READ_ONLY), icon=":material/visibility:")


class Headers:
    """Adds `HEADERS` to every answer."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers[name] = value
            await send(message)

        await self.app(scope, receive, sending)


class Uploads:
    """Takes no file where the server only shows: a page without an uploader does not keep others from sending one."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and UPLOADS in scope["path"] and guard.read_only():
            await PlainTextResponse(guard.READ_ONLY, 403)(scope, receive, send)
        else:
            await self.app(scope, receive, send)


class Overview:
    """Leads /overview to the first page, which has no name in its address, where Streamlit would say that it is not
    found."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"].endswith("/overview"):
            query = scope["query_string"].decode("latin-1")
            # Relative, so that it holds below a base path and behind a proxy.
            await RedirectResponse("./" + (f"?{query}" if query else ""))(scope, receive, send)
        else:
            await self.app(scope, receive, send)


class Return:
    """Leads who has signed in to the page at which they were asked to, where Streamlit leads everybody to the first."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope["path"] if scope["type"] == "http" else ""
        if not path.endswith(("/auth/login", "/oauth2callback")):
            await self.app(scope, receive, send)
            return
        request, note = Request(scope), Response()
        begins = path.endswith("/auth/login")
        place = came_from(request) if begins else own_page(unquote(request.cookies.get(CAME_FROM, "")))
        if begins and place:
            secure = urlsplit(request.headers["referer"]).scheme == "https"
            said = quote(place, safe="")
            note.set_cookie(CAME_FROM, said, SIGN_IN_S, secure=secure, httponly=True, samesite="lax")
        elif CAME_FROM in request.cookies:
            note.delete_cookie(CAME_FROM)

        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for cookie in note.headers.getlist("set-cookie"):
                    headers.append("set-cookie", cookie)
                if not begins and place and 300 <= message["status"] < 400:
                    headers["location"] = place
            await send(message)

        await self.app(scope, receive, sending)


def came_from(request: Request) -> str:
    """The page of this server, with what stands in its link, from which a request comes; "" where it is none."""
    try:
        page = urlsplit(request.headers.get("referer", ""))
    except ValueError:
        return ""
    if page.netloc != request.headers.get("host"):
        return ""
    whole = own_page(f"{page.path}?{page.query}" if page.query else page.path)
    return whole if len(quote(whole, safe="")) <= LONGEST else own_page(page.path)


def own_page(address: str) -> str:
    """The address if it can only be one of this server's own pages, else ""."""
    plain = address.isascii() and address.isprintable() and "\\" not in address
    return address if plain and address.startswith("/") and not address.startswith("//") else ""

"""Uploads: how much of them the server keeps at most, and when it lets go."""

from __future__ import annotations

import asyncio
from typing import Any

import streamlit as st
from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send
from streamlit import runtime
from streamlit.runtime.scriptrunner import get_script_run_ctx

LOOK_S, AWAY = 20.0, 6
"""A connection that comes back within two minutes finds its uploads."""
PLACE = "/_stcore/upload_file/"
AT_ONCE = 2
"""So many of the largest uploads the sessions keep together. They lie in memory until an import is done with them."""


def most() -> int:
    """Bytes that one upload may have."""
    return int(st.get_option("server.maxUploadSize")) << 20


def kept() -> int:
    """Bytes of uploads that all sessions keep now."""
    return sum(one.byte_length for family in _keeper().get_stats().values() for one in family)


def limits() -> str:
    """What may be uploaded, in a sentence, with the way for more."""
    one = most() >> 20
    return (
        f"At most {one:,} MB, and {AT_ONCE * one:,} MB of all who upload at once; a larger file is imported by its "
        "path on this machine, or with `fnkd checkpoints import`."
    )


def let_go(upload: Any) -> None:
    """Keep the upload no longer; else it stays until its session ends."""
    context = get_script_run_ctx()
    if context is not None and runtime.exists():
        _keeper().remove_file(context.session_id, upload.file_id)


def _keeper() -> Any:
    """What keeps the uploads of all sessions, each until the session ends."""
    return runtime.get_instance().uploaded_file_mgr


class Bounded:
    """Refuses an upload, before any of it is read, that is too large or for which there is no room beside the others.

    Streamlit bounds each upload and not their sum: a few sessions could fill the memory.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app, self.coming = app, 0
        self.watched: dict[str, asyncio.Task[None]] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "PUT" or PLACE not in scope["path"]:
            await self.app(scope, receive, send)
            return
        length = Headers(scope=scope).get("content-length", "")
        # The server reads no more than was announced; what is sent in pieces announces nothing.
        size = int(length) if length.isdecimal() else None
        if size is None:
            await PlainTextResponse("An upload must say how long it is.", 411)(scope, receive, send)
        elif kept() + self.coming + size > AT_ONCE * most():
            text = f"There is no room for this upload beside the others; try again later. {limits()}"
            await PlainTextResponse(text, 507)(scope, receive, send)
        else:
            session = scope["path"].partition(PLACE)[2].partition("/")[0]
            if session not in self.watched:
                self.watched[session] = asyncio.create_task(self.watch(session))
            self.coming += size
            try:
                await self.app(scope, receive, send)
            finally:
                self.coming -= size

    async def watch(self, session: str) -> None:
        """Let go of what a session has uploaded once it has been away for `AWAY` looks in a row.

        Streamlit does so when it next looks at its sessions, which without another visitor is never.
        """
        away = 0
        while away < AWAY:
            await asyncio.sleep(LOOK_S)
            away = 0 if runtime.get_instance().is_active_session(session) else away + 1
        del self.watched[session]
        _keeper().remove_session_files(session)

"""What the command line prints is text: names of others move no cursor, colour nothing and ring no bell."""

from __future__ import annotations

from typing import Any, TextIO

from fnkd_core.errors import visible


class Printable:
    r"""A stream that shows control characters as their codes, \x1b, whatever prints through it.

    Only a progress bar may go back to the beginning of its line, which it does before it writes anything.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        line = text.lstrip("\r")
        back = "\r" * (len(text) - len(line))
        return self._stream.write(back + (line if line.isspace() else visible(line)))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

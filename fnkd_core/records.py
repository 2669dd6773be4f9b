"""Every file of ours that holds JSON is read here: bounded in size and depth, and of the shape that its reader names.

What is wrong with a file, whatever it is, is one `UserError` that names the file and a remedy.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, TypeVar

from fnkd_core.errors import UserError
from fnkd_core.files import write_json
from fnkd_core.shapes import misfit

T = TypeVar("T")
MOST_BYTES = 64 << 20
"""A larger file is none of ours: a comparison of ten thousand runs takes a fifth of it."""
RESTORE = "restore it from a copy, or delete it"


def read_json(path: str | Path, shape: type[T], remedy: str = RESTORE, most: int = MOST_BYTES) -> T:
    """What the file holds, of this shape; of a dataclass the record. most: bytes that it may have.

    `UserError` where it is missing, no file, no JSON or of another shape; `remedy` then says what to do.
    """
    path = Path(path)
    try:
        with _in_words(path, remedy):
            return _as(_parsed(_text(path, most)), shape)
    except FileNotFoundError:
        raise UserError(f"{path} does not exist; check the name, or make it anew.") from None


def read_lines(path: str | Path, shape: type[T], remedy: str = RESTORE, whole: bool = True) -> list[T]:
    """What the file's lines hold, each of this shape; nothing where there is no file.

    whole: else a last line that is still being written is left out. `UserError` that names the line otherwise.
    """
    path = Path(path)
    found: list[T] = []
    try:
        with _in_words(path, remedy):
            *lines, last = _text(path, MOST_BYTES).split("\n")
    except FileNotFoundError:
        return []
    for i, line in enumerate([*lines, last] if last else lines):
        try:
            with _in_words(path, remedy, f"line {i + 1}: "):
                found.append(_as(_parsed(line), shape))
        except UserError:
            if whole or i < len(lines):
                raise
    return found


def recall(path: Path, most: int = MOST_BYTES) -> dict[str, Any]:
    """What was noted in a file of which nothing depends: empty where there is none, or it is damaged."""
    try:
        return read_json(path, dict[str, Any], most=most)
    except UserError:
        return {}


def remember(path: Path, value: Any) -> None:
    """Note it for `recall`; where the disk does not take it, it is found out anew the next time."""
    with contextlib.suppress(OSError, UserError):
        write_json(path, value)


@contextlib.contextmanager
def _in_words(path: Path, remedy: str, place: str = "") -> Iterator[None]:
    """Whatever is wrong with a file is one sentence; but for `FileNotFoundError`, which is for the caller."""
    try:
        yield
    except FileNotFoundError:
        raise
    except RecursionError:
        problem = "it is nested too deep"
    except UnicodeError:
        problem = "it is not text in UTF-8"
    except UserError as error:
        problem = str(error).rstrip(".")
    except OSError as error:
        problem = error.strerror or str(error)
    except ValueError as error:
        problem = f"it is not JSON: {error}"
    else:
        return
    raise UserError(f"{path} is damaged ({place}{problem}); {remedy}.")


@contextlib.contextmanager
def opened(path: Path) -> Iterator[IO[bytes]]:
    """The file, to read its bytes. `UserError` where it is none: a pipe waits for its writer, a device never ends."""
    file = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
    with open(file, "rb") as reader:
        if not stat.S_ISREG(os.fstat(file).st_mode):
            raise UserError("it is no regular file.")
        yield reader


def _text(path: Path, most: int) -> str:
    """The file's text. `UserError` where it is no file, or larger than `most`."""
    with opened(path) as reader:
        size = os.fstat(reader.fileno()).st_size
        if size > most:
            raise UserError(f"it has {size:,} bytes, more than {most:,}.")
        return reader.read(most).decode("utf-8-sig")


def _parsed(text: str) -> Any:
    """The JSON of a text whose characters other programs can take as well; its numbers are for `misfit` to judge."""
    if "\\u0000" in text:
        raise UserError("it holds the character NUL.")
    value = json.loads(text)
    if "\\u" in text:  # half of a character, which no text in UTF-8 can have
        json.dumps(value, ensure_ascii=False).encode()
    return value


def _as(value: Any, shape: type[T]) -> T:
    problem = misfit(value, shape)
    if problem is not None:
        raise UserError(f"{problem}.")
    return shape(**value) if dataclasses.is_dataclass(shape) else value

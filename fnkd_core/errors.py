"""The one kind of error that is meant for the user to read, and what else can stand in a sentence of ours."""

from __future__ import annotations

import contextlib
import difflib
import errno
import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

FEW = 6
"""So many names are all named where one is not known; of more the nearest are."""
NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""What systems say of a disk that takes no more: full, a quota used up, a file as large as it may be."""
_NO_MEMORY = re.compile(
    r"(can.?t|cannot|unable to) allocate|not enough memory|out of memory|bad_alloc|start new thread", re.I
)

MOST_CHARACTERS = 2000
"""A line that is longer keeps its two ends, since the remedy stands last."""
_BREAKS = re.compile(r"[\t-\r\x1c-\x1e\x85\u2028\u2029\ufeff]+")
_UNSEEN = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def one_line(text: object) -> str:
    """The text as one line for pages and terminals, whoever wrote it: `visible`, with spaces for line breaks.

    Of more than `MOST_CHARACTERS` the middle is left out, and counted.
    """
    line = str(text)
    if (left_out := len(line) - MOST_CHARACTERS) > 0:
        half = MOST_CHARACTERS // 2
        line = f"{line[:half]} ... ({left_out:,} more characters) ... {line[-half:]}"
    return visible(_BREAKS.sub(" ", line))


def visible(text: str) -> str:
    r"""The text with codes for what moves a cursor, turns the direction of writing or is no character: \x1b, \u202e.

    Tabs and ends of lines stay.
    """
    return _UNSEEN.sub(lambda match: ascii(match[0])[1:-1], text)


class UserError(ValueError):
    """What a user can cause and mend: one line with the value, the constraint and the remedy."""

    def __init__(self, message: object = "") -> None:
        super().__init__(one_line(message))


class NotHere(UserError):
    """A published data set whose files are not under the data root. name, title, root: of the set."""

    def __init__(self, message: str, name: str, title: str, root: str | None) -> None:
        super().__init__(message)
        self.name, self.title, self.root = name, title, root


class BrokenImages(UserError):
    """Image files that cannot be read, in a data set that does not leave them out."""


class Damaged(UserError):
    """A store with a file that is not what the store's manifest says. store: its folder. problem: of the file."""

    def __init__(self, file: Path, problem: str) -> None:
        super().__init__(
            f"The store {file.parent.name} is damaged ({file.name} {problem}); `fnkd stores prune` removes it, and it "
            "is extracted anew when it is next looked at."
        )
        self.store, self.problem = file.parent, problem


def require(condition: bool, message: str) -> None:
    """Raise `UserError(message)` unless the condition holds."""
    if not condition:
        raise UserError(message)


def unknown(kind: str, value: object, available: Iterable[str], listed: str = "") -> UserError:
    """A `UserError` that names what there is: "Unknown split 'val'. Available: train, test."

    Of more than a few names it gives the three nearest, and where all are listed: "Unknown method 'kdd'. Nearest of 13:
    kd, dkd, skd; `fnkd methods` lists all." listed: the command that does.
    """
    names = list(available)
    if len(names) <= FEW:
        return UserError(f"Unknown {kind} {value!r}. Available: {', '.join(names) or 'none'}.")
    more = f"; `{listed}` lists all" if listed else ""
    return UserError(
        f"Unknown {kind} {value!r}. Nearest of {len(names)}: {', '.join(nearest(str(value), names))}{more}."
    )


def nearest(value: str, names: Iterable[str]) -> list[str]:
    """The three of the names that are most like the value."""
    matcher = difflib.SequenceMatcher(b=value.lower())

    def likeness(name: str) -> float:
        matcher.set_seq1(name.lower())
        return matcher.ratio()

    return sorted(names, key=likeness, reverse=True)[:3]


def _causes(error: BaseException) -> Iterator[tuple[BaseException, int | None]]:
    """The error and those behind it, each with the system's number, which libraries hide in their text."""
    seen: BaseException | None = error
    while seen is not None and not isinstance(seen, UserError):
        hidden = re.search(r"os error (\d+)", str(seen))
        yield seen, int(hidden[1]) if hidden else getattr(seen, "errno", None)
        seen = seen.__cause__ or (None if seen.__suppress_context__ else seen.__context__)


def no_space(error: BaseException) -> int | None:
    """What the system says of a disk that takes no more, one of `NO_SPACE`; None where it is another error."""
    return next((number for _, number in _causes(error) if number in NO_SPACE), None)


def shortage(error: BaseException, place: object = None) -> UserError | None:
    """What this machine had too little of, however a library has said it: space on a disk, or memory. None otherwise.

    place: what was being written, for errors that do not know.
    """
    if number := no_space(error):
        where = place or getattr(error, "filename2", None) or getattr(error, "filename", None)
        what = f"{where} could not be written" if where else "what was to be written has no room"
        why = "" if number == errno.ENOSPC else f" ({os.strerror(number).lower()})"
        return UserError(f"The disk is full{why}: {what}; free some space there, then try again.")
    for seen, number in _causes(error):
        if isinstance(seen, MemoryError) or number == errno.ENOMEM or _NO_MEMORY.search(str(seen)):
            asked = re.search(r"tried to allocate (\d+) bytes", str(seen))
            more = f": {int(asked[1]) / 1e9:.2g} GB more were asked for" if asked else ""
            return UserError(f"There is not enough memory{more}; use smaller batches or images, or end other programs.")
    return None


@contextlib.contextmanager
def shortages_said(place: object = None) -> Iterator[None]:
    """Too little space or memory within the block is a `UserError` that says so. place: what is being written there."""
    try:
        yield
    except Exception as error:
        if said := shortage(error, place):
            raise said from None
        raise


def sentence(error: BaseException) -> str | None:
    """What went wrong, where a user, a file or a disk can have caused it; None for a fault of the program."""
    if isinstance(error, UserError):
        return str(error)
    if said := shortage(error):
        return str(said)
    if isinstance(error, OSError) and error.strerror:
        where = f": {error.filename}" if error.filename else ""
        return f"{error.strerror}{where}; check that it exists and can be read and written."
    return str(error) if isinstance(error, OSError) else None

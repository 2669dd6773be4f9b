"""The one kind of error that is meant for the user to read."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path


class UserError(ValueError):
    """What a user can cause and mend: one line with the value, the constraint and the remedy."""


class NotHere(UserError):
    """A published data set whose files are not under the data root. name, title, root: of the set."""

    def __init__(self, message: str, name: str, title: str, root: str | None) -> None:
        super().__init__(message)
        self.name, self.title, self.root = name, title, root


class Damaged(UserError):
    """A store with a file that is not what the store's manifest says. store: its folder."""

    def __init__(self, file: Path, problem: str) -> None:
        super().__init__(
            f"The store {file.parent.name} is damaged ({file.name} {problem}); `fnkd stores prune` removes it, and it "
            "is extracted anew when it is next looked at."
        )
        self.store = file.parent


def require(condition: bool, message: str) -> None:
    """Raise `UserError(message)` unless the condition holds."""
    if not condition:
        raise UserError(message)


def unknown(kind: str, value: object, available: Iterable[str]) -> UserError:
    """A `UserError` that names what there is: "Unknown method 'kdd'. Available: ce, fn, kd."."""
    return UserError(f"Unknown {kind} {value!r}. Available: {', '.join(available) or 'none'}.")

"""Several checkpoints in one text, as a run names its teachers: `A+B`. No torch."""

from __future__ import annotations

from collections.abc import Iterable


def names_of(text: str | None) -> list[str]:
    """The names or paths in a text such as `A+B`; [] of None.

    Names have no +; a path may: one that is no path of its own behind it belongs to what stands before.
    """
    if text is None:
        return []
    parts = text.split("+")
    whole = not all(parts) or any("/" in part and not part.startswith(("/", "~")) for part in parts[1:])
    return [text] if whole else parts


def joined(names: Iterable[str]) -> str | None:
    """The one text of several names, paths or identities; None of none."""
    return "+".join(names) or None

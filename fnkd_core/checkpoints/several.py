"""Several checkpoints in one text, as a run names its teachers: `A+B`; and who taught those. No torch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import PurePath


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


def chain(teacher: str | None, ancestry: Mapping[str, str]) -> str:
    """The teachers and those above them, as a sentence goes on after "taught by": "A, which was taught by B".

    ancestry: name of a teacher that was itself taught -> its teachers' text. "" without a teacher. Of a path what tells
    it from others is shown.
    """
    names = list(dict.fromkeys(names_of(teacher)))
    shown = {name: _short(name) for name in names}
    above = {name: ancestry[name] for name in names if name in ancestry}
    # A name that stands above itself, as one given twice may, ends it.
    rest = {name: text for name, text in ancestry.items() if name not in above}
    if len(names) == 1 and above:
        return f"{shown[names[0]]}, which was taught by {chain(above[names[0]], rest)}"
    also = [f"; {shown[name]} was taught by {chain(text, rest)}" for name, text in above.items()]
    listed = list(shown.values())
    return " and ".join(filter(None, (", ".join(listed[:-1]), *listed[-1:]))) + "".join(also)


def _short(name: str) -> str:
    path = PurePath(name)
    if len(path.parts) < 2:
        return name
    return path.parent.name if path.stem == "model" else f"{path.parent.name}/{path.stem}"

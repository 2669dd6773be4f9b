"""Lists and counts as people write them."""

from __future__ import annotations

import re


def items(text: str) -> list[str]:
    """The items of a list that has commas, spaces or both between them."""
    return [item for item in re.split(r"[,\s]+", text) if item]


def counted(number: int, what: str, several: str = "") -> str:
    """So many of it: 1 class, 1,000 classes. several: of what, where that is not `what` with an s."""
    return f"{number:,} {what if number == 1 else several or f'{what}s'}"

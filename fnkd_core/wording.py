"""Lists, counts, sizes and times as people write them."""

from __future__ import annotations

import re


def items(text: str) -> list[str]:
    """The items of a list that has commas, spaces or both between them."""
    return [item for item in re.split(r"[,\s]+", text) if item]


def counted(number: int, what: str, several: str = "") -> str:
    """So many of it: 1 class, 1,000 classes. several: of what, where that is not `what` with an s."""
    return f"{number:,} {what if number == 1 else several or f'{what}s'}"


def megabytes(count: int) -> str:
    """Bytes: 12 kB, 170 MB, 2.6 GB."""
    if count < 1e6:
        return f"{count / 1e3:.0f} kB"
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.0f} MB"


def duration(seconds: float) -> str:
    """12 s, 3 min 20 s, 2 h 05 min."""
    whole = round(seconds)
    if whole < 60:
        return f"{max(whole, 1)} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"

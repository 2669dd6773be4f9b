"""Lists as people write them."""

from __future__ import annotations

import re


def items(text: str) -> list[str]:
    """The items of a list that has commas, spaces or both between them."""
    return [item for item in re.split(r"[,\s]+", text) if item]

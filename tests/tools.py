"""What tests of several rooms share."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from fnkd_core.checkpoints.card import Card
from fnkd_core.checkpoints.io import read_state, write_checkpoint
from fnkd_core.checkpoints.library import find_checkpoint


def copy_checkpoint(home: Path, source: str, name: str, **changes: Any) -> Card:
    """A shipped checkpoint in the user's folder, under another name and with changes to its card."""
    entry = find_checkpoint(source)
    assert entry.card is not None
    card = dataclasses.replace(entry.card, name=name, **changes)
    return write_checkpoint(home / "checkpoints" / f"{name}.safetensors", read_state(entry.path), card)

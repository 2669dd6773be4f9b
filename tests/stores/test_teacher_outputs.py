"""What is kept of a teacher belongs to all processes that make it."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fnkd_core.locks import locked
from fnkd_core.stores import teacher_outputs as module
from fnkd_core.stores.pieces import lock_of
from fnkd_core.stores.teacher_outputs import TeacherOutputs, teacher_outputs
from fnkd_core.stores.upkeep import prune


def make_view(store: TeacherOutputs) -> None:
    store.claim(["a", "b"])
    pieces = store.pieces(store.view(0))
    for part in pieces.todo():
        pieces.write(part, logits=np.zeros((2, 3), np.float16), norms=np.ones(2, np.float32))
    pieces.finish(lambda folder: None)


def test_a_process_that_claims_them_meanwhile_keeps_what_it_makes(monkeypatch: pytest.MonkeyPatch) -> None:
    store = teacher_outputs("0" * 16, {"images": "x"}, 2, 3, "x")
    other, begun = threading.Thread(target=make_view, args=(store,)), threading.Event()
    read = module.recall

    def recall(path: Path) -> Mapping[str, Any]:
        found = read(path)
        if path.name == "about.json" and not begun.is_set():
            begun.set()
            other.start()
            other.join(2)  # as far as it comes
        return found

    monkeypatch.setattr(module, "recall", recall)
    store.claim(["a", "b"])
    other.join(60)
    assert store.missing(1) == [], "what the other made was thrown away"
    assert not list(store.path.parent.glob(".*"))


@pytest.mark.parametrize("owned", ["the folder", "a view"])
def test_prune_leaves_what_somebody_has_begun_with_since_it_looked(owned: str) -> None:
    outputs = teacher_outputs("gone", {"images": "some"}, 8, 3, "some images")
    outputs.claim([str(i) for i in range(8)])
    view = outputs.view(0)
    pieces = outputs.pieces(view)
    for part in pieces.todo():
        pieces.write(part, logits=np.zeros((8, 3), np.float16), norms=np.ones(8, np.float32))
    pieces.finish(lambda folder: None)
    pieces.close()
    with locked(lock_of(outputs.path if owned == "the folder" else view)):
        assert prune() == 0
        assert outputs.missing(1) == []
    assert prune() > 0
    assert not outputs.path.exists()

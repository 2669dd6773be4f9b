"""Importing without the process that opens a file, for tests that ask what becomes of what was in it."""

from __future__ import annotations

import dataclasses
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from fnkd_core.checkpoints.importing import gate, importer, sandbox
from fnkd_core.checkpoints.importing.gate import Contents, read_untrusted
from fnkd_core.checkpoints.library import find_checkpoint


@pytest.fixture
def in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """The gate opens files here, without the bounds of a process of its own, which imports torch for each of them."""

    def run(request: dict[str, Any], _folder: Path, _wall_s: float) -> int:
        with warnings.catch_warnings():
            warnings.simplefilter("default")  # as outside of tests
            sandbox.main(request)
        return 0

    monkeypatch.setattr(sandbox, "limit", lambda *_: None)
    monkeypatch.setattr(gate, "_run", run)


@pytest.fixture(scope="session")
def read() -> Contents:
    return read_untrusted(find_checkpoint("digits-kd").path)


@pytest.fixture
def without_a_process(read: Contents, monkeypatch: pytest.MonkeyPatch) -> None:
    """The gate's answer without the gate: what a form of export holds is the question here, not how it is opened."""

    def answer(path: Path, **_: Any) -> Contents:
        state = load_file(path) if path.suffix == ".safetensors" else torch.load(path, weights_only=True)
        return dataclasses.replace(read, state=state)

    monkeypatch.setattr(importer, "read_untrusted", answer)

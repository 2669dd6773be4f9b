"""What the gate's process answers is not trusted either."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from fnkd_core.checkpoints.importing import gate
from fnkd_core.checkpoints.importing.gate import Limits, read_untrusted
from fnkd_core.errors import UserError
from tests.checkpoints.files import weights
from tests.checkpoints.test_gate import assert_same

ANSWER: dict[str, Any] = {
    "names": ["w"], "wrapper": "", "facts": {}, "ema": False, "notes": [], "classes": [], "classes_from": "",
    "normalisation": {"layer": "", "mean": [], "std": []},
}  # fmt: skip


def write_answer(folder: Path, answer: object, state: dict[str, Tensor] | None = None) -> None:
    (folder / "answer.json").write_text(answer if isinstance(answer, str) else json.dumps(answer))
    save_file({"w": torch.ones(2)} if state is None else state, folder / "weights.safetensors")


def link_answer(folder: Path) -> None:
    write_answer(folder, ANSWER)
    (folder / "answer.json").rename(folder / "elsewhere")
    (folder / "answer.json").symlink_to(folder / "elsewhere")


@pytest.mark.parametrize(
    ("lie", "message"),
    [
        (lambda f: None, "more memory or time"),
        (link_answer, "more memory or time"),
        (lambda f: write_answer(f, "{"), "more memory or time"),
        (lambda f: write_answer(f, "[" * 100_000), "more memory or time"),
        (lambda f: write_answer(f, []), "more memory or time"),
        (lambda f: write_answer(f, {"names": "w"}), "more memory or time"),
        (lambda f: write_answer(f, {"refused": "two\nlines\x1b[31m"}), r"two\\nlines\\x1b"),
        (lambda f: write_answer(f, ANSWER | {"names": ["v"]}), "not read whole"),
        (lambda f: write_answer(f, ANSWER | {"names": ["w", "w"]}), "not read whole"),
        (lambda f: write_answer(f, ANSWER | {"names": [["w"]]}), "not read whole"),
        (lambda f: write_answer(f, ANSWER, {"w": torch.tensor([float("nan")])}), "not finite in w"),
        (lambda f: write_answer(f, ANSWER, {"../w": torch.ones(1)}), "rename it"),
    ],
)
def test_what_the_process_answers_is_not_trusted_either(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lie: Callable[[Path], None], message: str
) -> None:
    def taken_over(_request: object, folder: Path, _wall_s: float) -> int:
        lie(folder)
        return 0

    torch.save(weights(), tmp_path / "x.pth")
    monkeypatch.setattr(gate, "_run", taken_over)
    with pytest.raises(UserError, match=message) as error:
        read_untrusted(tmp_path / "x.pth")
    assert str(error.value).isprintable()


def test_what_the_process_answers_is_taken_where_it_is_sound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def sound(_request: object, folder: Path, _wall_s: float) -> int:
        write_answer(folder, ANSWER | {"facts": {"epoch": 3, "list": [1], "two\nlines": 1}})
        return 0

    torch.save(weights(), tmp_path / "x.pth")
    monkeypatch.setattr(gate, "_run", sound)
    contents = read_untrusted(tmp_path / "x.pth")
    assert_same(contents.state, {"w": torch.ones(2)})
    assert contents.facts == {"epoch": 3}


def test_a_process_that_is_late_is_killed_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    torch.save(weights(), tmp_path / "x.pth")
    started: list[int] = []
    popen = subprocess.Popen

    def remembering(*args: Any, **kwargs: Any) -> Any:
        process = popen(*args, **kwargs)
        started.append(process.pid)
        return process

    monkeypatch.setattr(subprocess, "Popen", remembering)
    with pytest.raises(UserError, match="x.pth takes longer"):
        read_untrusted(tmp_path / "x.pth", limits=Limits(wall_s=0.05))
    assert len(started) == 1
    with pytest.raises(ProcessLookupError):
        os.killpg(started[0], 0)
    assert [p.name for p in tmp_path.iterdir() if p.name != "home"] == ["x.pth"]

"""docs/add-a-method.md is true: its fifteen lines are a method, and its commands list it and train with it."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import pytest
import torch

from fnkd_core import cli
from fnkd_core.kd.losses import loss_terms
from fnkd_core.kd.methods import METHODS
from fnkd_core.kd.objective import objective, parameters
from fnkd_core.kd.outputs import Outputs
from tests.docs.pages import blocks, commands, run

PAGE = "add-a-method.md"


@pytest.fixture
def _added(monkeypatch: pytest.MonkeyPatch) -> None:
    before = dict(METHODS)
    names: dict[str, Any] = {"__name__": "page"}
    for line, text in blocks(PAGE, "python"):
        run(PAGE, line, text, names)
    after = dict(METHODS)
    METHODS.clear()
    METHODS.update(before)
    assert set(after) - set(before) == {"lead"}
    monkeypatch.setitem(METHODS, "lead", after["lead"])


def test_it_is_fifteen_lines() -> None:
    ((_, text),) = blocks(PAGE, "python")
    assert len([line for line in text.splitlines() if line.strip()]) == 15


@pytest.mark.usefixtures("_added")
def test_the_page_s_method_softens_by_the_teacher_s_lead() -> None:
    logits = torch.tensor([[3.0, 1.0, 0.0], [2.0, 2.0, 0.0]])
    outputs = Outputs(torch.ones(2, 4), logits)
    terms = loss_terms(objective("lead", {"scale": 0.5}), outputs, torch.tensor([0, 1]), outputs)
    assert terms["temperature"].tolist() == [2.0, 1.0]
    assert torch.allclose(terms["soft"], torch.zeros(2), atol=1e-6)
    assert [(p.name, p.default) for p in parameters("lead")] == [("scale", 0.5)]


@pytest.mark.usefixtures("_added")
def test_the_commands_of_the_page_list_it_and_train_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for command in commands(PAGE):
        assert cli.main([*shlex.split(command)[1:]]) == 0, (command, capsys.readouterr().err)
    said = capsys.readouterr().out
    assert "lead" in said and "Finished." in said

"""What leaves comes back: each form of export that holds weights, of each method's students, with and without card."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from fnkd_core.checkpoints.card import Card, card_path
from fnkd_core.checkpoints.export import export_checkpoint
from fnkd_core.checkpoints.importing.importer import Imported, import_checkpoint
from fnkd_core.checkpoints.importing.request import ImportRequest
from fnkd_core.checkpoints.io import load_checkpoint, write_checkpoint
from fnkd_core.checkpoints.library import EXPORTS, find_checkpoint
from fnkd_core.kd.methods import METHODS
from fnkd_core.models.architecture import Architecture
from fnkd_core.models.zoo import build
from fnkd_core.training.config import RunConfig
from fnkd_core.training.resolve import resolve
from fnkd_core.training.setup import student_architecture

pytestmark = pytest.mark.usefixtures("in_this_process")
NUMBERS = [str(i) for i in range(10)]
WEIGHTS = [form for form in EXPORTS if form not in ("torch_export", "onnx")]
"""The others are programs, which `test_export` sees refused."""
MEAN, STD = [0.31], [0.37]


def architecture_of(method: str) -> Architecture:
    """What a student by this method is."""
    teacher = "digits-teacher" if METHODS[method].needs_teacher else None
    return student_architecture(resolve(RunConfig(method=method, teacher=teacher)))


def comes_back(folder: Path, architecture: Architecture, form: str, card: bool, **asked: Any) -> Imported:
    """Write a checkpoint with random weights, export it, import that, and demand the same of both."""
    torch.manual_seed(1)
    classifier = build(architecture, MEAN, STD, (8, 8)).eval()
    for name, value in classifier.state().items():
        if name.endswith("running_mean"):
            value.copy_(torch.randn(value.shape))
    described = Card("student", architecture.to_dict(), "digits", "digits", NUMBERS, MEAN, STD, [8, 8])
    path = folder / "student.safetensors"
    write_checkpoint(path, classifier.state(), described)
    exported, *_ = export_checkpoint(find_checkpoint(path), folder / "out", [form])
    if not card:
        card_path(exported).unlink()
        asked |= {"classes": NUMBERS, "mean": MEAN, "std": STD, "image_size": 8}
    *_, found = import_checkpoint(ImportRequest(path=exported, name="again", **asked))
    assert isinstance(found, Imported)
    images = torch.rand(5, architecture.in_channels, 8, 8)
    with torch.inference_mode():
        before, after = classifier(images), load_checkpoint("again")[0](images)
    assert torch.equal(before.logits, after.logits) and torch.equal(before.features, after.features)
    assert found.card.architecture == architecture.to_dict()
    return found


@pytest.mark.usefixtures("without_a_process")
@pytest.mark.parametrize("card", [True, False], ids=["with card", "without card"])
@pytest.mark.parametrize("form", WEIGHTS)
@pytest.mark.parametrize("method", METHODS)
def test_a_student_comes_back_from_every_form_that_holds_weights(
    tmp_path: Path, method: str, form: str, card: bool
) -> None:
    comes_back(tmp_path, architecture_of(method), form, card)


@pytest.mark.parametrize(("form", "card"), [("safetensors", True), ("state_dict", False)])
def test_a_cosine_head_comes_back_through_the_gate(tmp_path: Path, form: str, card: bool) -> None:
    assert architecture_of("he").head == "cosine"
    comes_back(tmp_path, architecture_of("he"), form, card)


@pytest.mark.usefixtures("without_a_process")
@pytest.mark.parametrize("card", [True, False], ids=["with card", "without card"])
@pytest.mark.parametrize("form", WEIGHTS)
def test_a_network_with_a_head_that_somebody_put_in_comes_back_as_it_is(tmp_path: Path, form: str, card: bool) -> None:
    replaced = ("fc", "linear 24", "relu")
    comes_back(tmp_path, Architecture("cifar_resnet8", 10, 1, replaced=replaced), form, card)
    found = find_checkpoint("again").card
    assert found is not None and found.architecture["replaced"] == list(replaced)


@pytest.mark.usefixtures("without_a_process")
def test_what_a_file_does_not_show_of_its_head_is_taken_from_the_card(tmp_path: Path) -> None:
    replaced = ("fc", "linear 24", "tanh")
    comes_back(tmp_path, Architecture("cifar_resnet8", 10, 1, replaced=replaced), "state_dict", card=True)


@pytest.mark.usefixtures("without_a_process")
def test_a_cosine_head_s_file_from_before_its_scale_was_in_it_goes_by_its_card(tmp_path: Path) -> None:
    architecture = architecture_of("he")
    state = build(architecture, MEAN, STD, (8, 8)).state()
    del state["fc.scale"]
    described = Card("student", architecture.to_dict(), "digits", "digits", NUMBERS, MEAN, STD, [8, 8])
    write_checkpoint(tmp_path / "old.safetensors", state, described)
    *_, found = import_checkpoint(ImportRequest(path=tmp_path / "old.safetensors"))
    assert isinstance(found, Imported) and found.card.architecture == architecture.to_dict()
    images = torch.rand(5, 1, 8, 8)
    with torch.inference_mode():
        both = [load_checkpoint(ref)[0](images).logits for ref in (tmp_path / "old.safetensors", "old")]
    assert torch.equal(*both)
    card_path(tmp_path / "old.safetensors").unlink()
    asked: dict[str, Any] = {"classes": NUMBERS, "mean": MEAN, "std": STD, "image_size": 8, "name": "bare"}
    *_, bare = import_checkpoint(ImportRequest(path=tmp_path / "old.safetensors", **asked))
    assert isinstance(bare, Imported)
    assert any("The head has no bias in the file; 0 was taken" in finding["text"] for finding in bare.card.findings)

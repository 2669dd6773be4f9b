"""A checkpoint leaves in four forms, each of which says what the checkpoint says."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from fnkd_core.checkpoints import export
from fnkd_core.checkpoints.export import Deployed, export_checkpoint
from fnkd_core.checkpoints.importing.importer import import_checkpoint
from fnkd_core.checkpoints.importing.request import ImportRequest
from fnkd_core.checkpoints.io import load_checkpoint
from fnkd_core.checkpoints.library import EXPORTS, find_checkpoint
from fnkd_core.data import load_split
from fnkd_core.errors import UserError


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("exported")
    export_checkpoint(find_checkpoint("digits-fn"), folder, list(EXPORTS))
    return folder


@pytest.fixture(scope="module")
def wanted() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Seven real images in [0, 1], with the logits and norms of the checkpoint."""
    images = load_split("digits", "test").images[:7].float() / 255
    with torch.inference_mode():
        return images, *Deployed(load_checkpoint("digits-fn")[0])(images)


def test_every_form_is_one_file_and_they_share_a_card(exported: Path) -> None:
    assert {p.name for p in exported.iterdir()} == {f"digits-fn{s}" for s in (*EXPORTS.values(), ".json")}
    card = json.loads((exported / "digits-fn.json").read_text())
    assert (card["teacher"], card["method"], card["classes"][3]) == ("digits-teacher", "fn", "3")


def test_onnx_says_the_same_of_any_number_of_images_and_carries_the_card(
    exported: Path, wanted: tuple[torch.Tensor, ...]
) -> None:
    session = onnxruntime.InferenceSession(exported / "digits-fn.onnx", providers=["CPUExecutionProvider"])
    images, logits, norms = wanted
    for n in (1, 7):
        found = session.run(None, {"images": images[:n].numpy()})
        np.testing.assert_allclose(found[0], logits[:n], atol=1e-4)
        np.testing.assert_allclose(found[1], norms[:n], rtol=1e-4)
    metadata = {p.key: p.value for p in onnx.load(exported / "digits-fn.onnx").metadata_props}
    assert json.loads(metadata["card"])["name"] == "digits-fn"


def test_torch_export_says_the_same_and_carries_the_card(exported: Path, wanted: tuple[torch.Tensor, ...]) -> None:
    more = {"card.json": ""}
    program = torch.export.load(exported / "digits-fn.pt2", extra_files=more)
    found = program.module()(wanted[0])
    torch.testing.assert_close(found[0], wanted[1], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(found[1], wanted[2], atol=1e-5, rtol=1e-5)
    assert json.loads(more["card.json"])["name"] == "digits-fn"


@pytest.mark.parametrize(("form", "what"), [("torch_export", "an exported program"), ("onnx", "an ONNX graph")])
def test_a_form_that_is_a_program_does_not_come_in_and_says_which_forms_do(
    exported: Path, form: str, what: str
) -> None:
    path = exported / f"digits-fn{EXPORTS[form]}"
    with pytest.raises(UserError, match=f"is {what}.*; export the checkpoint as safetensors or state_dict") as error:
        list(import_checkpoint(ImportRequest(path=path, name="again")))
    assert "\n" not in str(error.value)


def test_a_state_dict_is_the_network_s_and_safetensors_the_same_file(exported: Path) -> None:
    state = torch.load(exported / "digits-fn.pth", weights_only=True)
    wanted = load_checkpoint("digits-fn")[0].state()
    assert list(state) == list(wanted) and all(torch.equal(v, state[k]) for k, v in wanted.items())
    assert (exported / "digits-fn.safetensors").read_bytes() == find_checkpoint("digits-fn").path.read_bytes()


def test_an_exported_network_that_says_something_else_does_not_leave(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export, "TOLERANCE", -1.0)
    with pytest.raises(UserError, match="differ from the checkpoint's") as error:
        export_checkpoint(find_checkpoint("digits-fn"), tmp_path, ["safetensors", "torch_export"])
    assert "\n" not in str(error.value)
    assert not list(tmp_path.glob("digits*"))


def test_what_is_there_already_is_not_written_over(tmp_path: Path) -> None:
    (tmp_path / "digits-fn.json").write_text("mine")
    with pytest.raises(UserError, match="exists already"):
        export_checkpoint(find_checkpoint("digits-fn"), tmp_path)
    assert not list(tmp_path.glob("*.safetensors")) and (tmp_path / "digits-fn.json").read_text() == "mine"
    with pytest.raises(UserError, match="Unknown export format 'tflite'. Available: safetensors, state_dict"):
        export_checkpoint(find_checkpoint("digits-fn"), tmp_path, ["tflite"])

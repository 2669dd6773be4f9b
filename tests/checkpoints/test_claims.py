"""What a file says of its classes, input and accuracy is used, and doubted where images say otherwise."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from fnkd_core.checkpoints.importing.claims import claimed, classes_beside, missed, near_chance
from fnkd_core.checkpoints.importing.importer import Imported
from fnkd_core.errors import UserError
from tests.checkpoints.test_importing import NUMBERS, bring, logits_of, saved, teacher_state, texts

pytestmark = pytest.mark.usefixtures("in_this_process")
REVERSED = torch.arange(9, -1, -1)


def reversed_state() -> dict[str, torch.Tensor]:
    state = teacher_state()
    return state | {k: state[k][REVERSED] for k in ("fc.weight", "fc.bias")}


def levels(found: Imported) -> list[str]:
    return [finding["level"] for finding in found.card.findings]


def test_class_names_in_the_file_put_the_outputs_in_order(tmp_path: Path) -> None:
    path = saved(tmp_path, reversed_state(), class_to_idx={str(9 - i): i for i in range(10)}, best_acc=99.0)
    found = bring(path, dataset="digits")
    assert "Used were the class names in the file (class_to_idx): 9, 8, 7 ..." in texts(found, "good")
    assert "Class names matched by name: 10 of 10 outputs were in another order" in texts(found)
    assert "claims" not in texts(found) and levels(found) == ["good"] * len(levels(found))
    torch.testing.assert_close(logits_of("theirs"), logits_of("digits-teacher"), atol=1e-5, rtol=1e-5)


def test_without_a_data_set_the_classes_are_the_file_s(tmp_path: Path) -> None:
    names = tuple(f"digit {n}" for n in NUMBERS)
    given: dict[str, Any] = {"mean": [0.3], "std": [0.4], "image_size": 8}
    found = bring(saved(tmp_path, teacher_state(), args={"class_names": list(names)}), **given)
    assert tuple(found.card.classes) == names
    # What the user says is taken before what the file says.
    found = bring(tmp_path / "theirs.pth", name="own", classes=NUMBERS, **given)
    assert tuple(found.card.classes) == NUMBERS
    # Names for another number of outputs are of no use, and the data set is asked for.
    with pytest.raises(UserError, match="has 10 outputs and the file does not say of which classes; give the data set"):
        bring(saved(tmp_path, teacher_state(), classes=["a", "b"]), name="x", **given)


def test_class_names_of_a_config_beside_the_file_are_used(tmp_path: Path) -> None:
    labels = {str(i): f"digit {i}" for i in range(10)}
    (tmp_path / "config.json").write_text(json.dumps({"id2label": labels, "architectures": ["x"]}))
    found = bring(saved(tmp_path, teacher_state()), mean=[0.3], std=[0.4], image_size=8)
    assert found.card.classes == list(labels.values())
    assert "(id2label of config.json): digit 0, digit 1, digit 2 ..." in texts(found, "good")


def test_class_names_that_images_contradict_or_that_are_of_other_data_are_not_used(tmp_path: Path) -> None:
    wrong = saved(tmp_path, reversed_state(), class_to_idx={n: int(n) for n in NUMBERS})
    found = bring(wrong, dataset="digits")
    assert found.card.findings[0]["level"] == "warning"
    assert "Labelled images say another order of the outputs than the class names in the file" in texts(
        found, "warning"
    )
    torch.testing.assert_close(logits_of("theirs"), logits_of("digits-teacher"), atol=1e-5, rtol=1e-5)
    other = saved(tmp_path, teacher_state(), classes=[f"breed {n}" for n in NUMBERS])
    found = bring(other, dataset="digits", name="other")
    assert "digits has other classes than the class names in the file (classes): breed 0" in texts(found, "warning")


def test_a_claim_that_is_not_reached_and_an_accuracy_near_chance_stand_first_and_nothing_of_it_is_good(
    tmp_path: Path,
) -> None:
    state = teacher_state() | {"fc.weight": torch.zeros(10, 64), "fc.bias": torch.arange(10.0)}
    found = bring(saved(tmp_path, state, best_acc=torch.tensor(99.1)), dataset="digits")
    assert levels(found) == sorted(levels(found), key=["bad", "warning", "good"].index)
    first, *rest = found.card.findings
    assert first["level"] == "bad" and "hardly more than chance, is this the right data?" in first["text"]
    claims = [f["level"] for f in rest if re.match(r"The file claims an accuracy of 0\.991, and 0\.(09|1)", f["text"])]
    assert claims == ["warning"]
    assert not any("ccuracy" in f["text"] for f in found.card.findings if f["level"] == "good")


def test_a_normalisation_layer_in_the_file_gives_the_card_its_normalisation(tmp_path: Path) -> None:
    # The prefix belongs to other architectures, so it is taken off only where nothing is recognised with it.
    inner = {k if k.startswith("fc.") else f"encoder.{k}": v for k, v in teacher_state().items()}
    layer = {"normalize.mean": torch.tensor([0.3]), "normalize.std": torch.tensor([0.35])}
    found = bring(saved(tmp_path, layer | inner), dataset="digits")
    assert (found.card.mean, found.card.std) == (pytest.approx([0.3]), pytest.approx([0.35]))
    assert "Input normalisation from the file's own layer module.normalize: mean 0.3, std 0.35." in texts(found, "good")
    assert "Recognised as cifar_resnet20" in texts(found) and list(found.measured) == ["given"]
    given: dict[str, Any] = {"classes": NUMBERS, "image_size": 8}
    assert bring(tmp_path / "theirs.pth", name="b", **given).card.std == pytest.approx([0.35])
    # What the user says is taken before what the file says.
    own = bring(tmp_path / "theirs.pth", name="c", mean=[0.1], std=[0.2], **given)
    assert (own.card.mean, own.card.std) == ([0.1], [0.2]) and "own layer" not in texts(own)


@pytest.mark.parametrize(
    ("claim", "accuracy", "images", "doubted"),
    [
        (0.991, 0.991, 1024, False), (0.9, 0.95, 1024, False), (1.0, 0.999, 1024, False), (0.93, 0.925, 1024, False),
        (0.93, 0.88, 1024, True), (0.93, 0.88, 100, False), (0.99, 0.97, 1024, True), (0.5, 0.1, 100, True),
        (0.9, 0.0, 9, True),
    ],
)  # fmt: skip
def test_how_far_a_claim_may_be_missed_follows_from_the_number_of_images(
    claim: float, accuracy: float, images: int, doubted: bool
) -> None:
    doubt = missed(claim, accuracy, images, "test")
    assert (doubt is not None) is doubted
    assert doubt is None or doubt.level == "warning"
    assert doubt is None or f"{accuracy:.3f} is what it reaches on {images:,} labelled images" in doubt.text


@pytest.mark.parametrize(
    ("accuracy", "classes", "images", "near"),
    [
        (0.10, 10, 1000, True), (0.15, 10, 1000, True), (0.25, 10, 1000, False), (0.5, 2, 1000, True),
        (0.54, 2, 1000, True), (0.7, 2, 1000, False), (0.95, 2, 1000, False), (0.03, 1000, 5000, False),
        (0.001, 1000, 5000, True), (0.25, 10, 20, True),
    ],
)  # fmt: skip
def test_chance_is_what_the_commonest_class_would_reach(accuracy: float, classes: int, images: int, near: bool) -> None:
    assert near_chance(accuracy, np.arange(images) % classes) is near
    skewed = np.array([0] * 90 + [1] * 10)
    assert near_chance(0.9, skewed) and not near_chance(0.999, np.tile(skewed, 20))


@pytest.mark.parametrize(
    ("facts", "wanted"),
    [({"best_acc": 93.5}, 0.935), ({"acc": 0.9}, 0.9), ({"accuracy": 1.0}, 1.0), ({"best_acc": -1.0}, None), ({}, None),
     ({"acc": "high"}, None), ({"best_prec1": 300.0}, None)],
)  # fmt: skip
def test_an_accuracy_is_a_share_or_percent(facts: dict[str, Any], wanted: float | None) -> None:
    assert claimed(facts) == wanted


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ('{"id2label": {"0": "ant", "1": "bee"}}', ("ant", "bee")),
        ('{"label2id": {"ant": 0, "bee": 1}}', ("ant", "bee")),
        ('{"label_names": ["ant", "bee"]}', ("ant", "bee")),
        ('{"num_classes": 2, "pretrained_cfg": {"label_names": ["ant", "bee"]}}', ("ant", "bee")),
        ('{"id2label": {"0": "LABEL_0", "1": "LABEL_1"}}', ()),
        ("{", ()), ("[" * 100_000, ()), ("[1]", ()), ("null", ()), ('{"id2label": 5}', ()), ("\xff", ()),
    ],
)  # fmt: skip
def test_a_config_beside_a_file_gives_class_names_or_nothing(tmp_path: Path, text: str, names: tuple[str, ...]) -> None:
    (tmp_path / "config.json").write_bytes(text.encode("latin1"))
    assert classes_beside(tmp_path / "model.bin")[1] == names


def test_a_config_that_is_no_file_is_not_read(tmp_path: Path) -> None:
    assert classes_beside(tmp_path / "model.bin") == ("", ())
    (tmp_path / "config.json").mkdir()
    assert classes_beside(tmp_path / "model.bin") == ("", ())

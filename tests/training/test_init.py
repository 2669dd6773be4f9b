"""A student starts from a checkpoint, its body frozen at first or slower; resuming demands the same."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
import torch

from fnkd_core.checkpoints.card import read_card
from fnkd_core.checkpoints.io import load_checkpoint, read_state, write_checkpoint
from fnkd_core.checkpoints.library import find_checkpoint
from fnkd_core.data import add_folder, dataset_info
from fnkd_core.errors import UserError
from fnkd_core.models.architecture import Architecture
from fnkd_core.models.zoo import build
from fnkd_core.training.config import RunConfig
from fnkd_core.training.loop import Metrics, train
from fnkd_core.training.optim import make_optimizer
from fnkd_core.training.resolve import look_up, resolve
from fnkd_core.training.setup import prepare
from fnkd_core.training.state import copied
from fnkd_core.training.step import train_step
from tests.pictures import write_folder
from tests.tools import copy_checkpoint
from tests.training.tools import QUICK, assert_resumes_to_the_same_bits, metrics, plain, stopped


def test_a_student_starts_from_the_weights_of_its_init_and_says_so(tmp_path: Path) -> None:
    config = RunConfig(**QUICK, init="digits-kd")
    resolved = resolve(config)
    student, start = prepare(resolved, 60).student.state(), load_checkpoint("digits-kd")[0].state()
    assert all(torch.equal(student[name], start[name]) for name in start)
    assert resolved.beginning == "The student starts from digits-kd, with its head."
    metrics(config, tmp_path)
    entry = find_checkpoint("digits-kd")
    record = json.loads((tmp_path / "resolved.json").read_text())
    assert record["identities"]["init"] == entry.identity == read_card(tmp_path / "model.json").provenance["init"]
    assert record["init"] == {"name": "digits-kd", "path": str(entry.path), "head": True}


@pytest.fixture
def two_classes(tmp_path: Path, home: Path) -> str:
    """Grey photographs of other classes than the digits, and a network of the digits' that reads them."""
    entry = find_checkpoint("digits-kd")
    assert entry.card is not None
    root = write_folder(tmp_path / "set", size=(8, 8))
    add_folder("mine", str(root))
    channels = dataset_info("mine").image[0]
    architecture = Architecture("cifar_resnet8", 10, channels)
    network = build(architecture, (0.25,) * channels, (0.5,) * channels, (8, 8))
    card = dataclasses.replace(
        entry.card, name="other", architecture=architecture.to_dict(), mean=[0.25] * channels, std=[0.5] * channels
    )
    write_checkpoint(home / "checkpoints" / "other.safetensors", network.state(), card)
    return "other"


def test_where_the_classes_differ_the_head_is_new_and_the_body_reads_images_as_it_did(
    two_classes: str, tmp_path: Path
) -> None:
    config = RunConfig(dataset="mine", init=two_classes, epochs=1, batch_size=4, threads=1)
    resolved = resolve(config)
    assert resolved.beginning == "The student starts from other, with a new head: the classes differ."
    assert resolved.info.image[1:] == (8, 8)
    student = prepare(resolved, 6).student
    start = read_state(find_checkpoint(two_classes).path)
    assert student.num_classes == len(resolved.info.classes) != 10
    assert all(torch.equal(v, start[k]) for k, v in student.state().items() if not k.startswith("fc."))
    assert student.mean.unique().tolist() == [0.25] and student.std.unique().tolist() == [0.5]
    metrics(config, tmp_path / "run")
    assert read_card(tmp_path / "run" / "model.json").mean == [0.25] * resolved.info.image[0]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"init": "digits-teacher"},
            "digits-teacher is a cifar_resnet20, the student a cifar_resnet8; choose cifar_re",
        ),
        ({"init": "digits-kx"}, "Unknown checkpoint 'digits-kx'"),
        ({"init": "other"}, "init other takes 3-channel images, digits has 1"),
    ],
)
def test_an_init_that_does_not_fit_is_one_line(two_classes: str, changes: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said) as error:
        look_up(RunConfig(**QUICK, **changes))
    assert "\n" not in str(error.value)


def test_a_frozen_body_stays_to_the_bit_while_the_head_learns(tmp_path: Path) -> None:
    config = RunConfig(**(QUICK | {"epochs": 3}), init="digits-kd", freeze=2, clip_norm=1.0)
    start = load_checkpoint("digits-kd")[0].state()
    moved = []
    for event in train(config, tmp_path):
        if isinstance(event, Metrics):
            now = torch.load(tmp_path / "state.pt", weights_only=True)["network"]
            moved.append({k.split(".")[0] for k, v in now.items() if not torch.equal(v, start[k])})
    assert moved[0] == moved[1] == {"fc"}
    assert {"conv1", "bn1", "layer1", "fc"} <= moved[2]


def test_the_body_learns_at_its_share_of_the_rate() -> None:
    config = RunConfig(body_lr=0.1, momentum=0.0, weight_decay=0.0)
    setup, batch = plain(body_lr=0.1, momentum=0.0, weight_decay=0.0)
    before = copied(setup.student)
    train_step(setup, batch, 0.5)
    student = setup.student
    named = dict(student.body.named_parameters()) | {"3.weight": student.head.weight, "3.bias": student.head.bias}
    for name, weight in named.items():
        assert weight.grad is not None
        rate = 0.5 if name.startswith("3.") else 0.05
        torch.testing.assert_close(before[name] - weight.detach(), rate * weight.grad, rtol=1e-3, atol=1e-7)
    count = sum(p.numel() for g in make_optimizer(config, student).param_groups for p in g["params"])
    assert count == sum(p.numel() for p in student.parameters())


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_a_run_with_a_frozen_body_resumes_to_the_same_bits(tmp_path: Path, optimizer: str) -> None:
    config = RunConfig(**(QUICK | {"epochs": 3}), init="digits-kd", freeze=2, body_lr=0.1, optimizer=optimizer)
    assert_resumes_to_the_same_bits(config, tmp_path)


def test_a_run_is_not_continued_from_another_init_of_the_same_name(tmp_path: Path, home: Path) -> None:
    copy_checkpoint(home, "digits-kd", "mine")
    config = RunConfig(**QUICK, init="mine")
    stopped(config, tmp_path)
    for suffix in (".json", ".safetensors"):
        (home / "checkpoints" / f"mine{suffix}").unlink()
    copy_checkpoint(home, "digits-ce", "mine")
    with pytest.raises(UserError, match="began with other weights that it started from; restore that"):
        metrics(config, tmp_path)

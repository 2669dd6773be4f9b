"""What makes students good: the settings of a recipe do what they say, and at their defaults nothing."""

from __future__ import annotations

import contextlib
import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from fnkd_core.data import dataset_info
from fnkd_core.data.selections import add_to, relabel
from fnkd_core.errors import UserError
from fnkd_core.kd.losses import loss_terms
from fnkd_core.kd.methods import METHODS
from fnkd_core.kd.objective import complete
from fnkd_core.kd.outputs import Outputs
from fnkd_core.training.config import LATER, RunConfig
from fnkd_core.training.gradients import Gradients
from fnkd_core.training.loop import Metrics, train
from fnkd_core.training.optim import learning_rate
from fnkd_core.training.resolve import identity_of, look_up
from fnkd_core.training.setup import objective_of
from fnkd_core.training.step import train_step
from tests.training.tools import KD, QUICK, gradient, metrics, plain


def test_the_parts_of_a_batch_make_the_step_that_the_whole_batch_makes() -> None:
    stepped = []
    for parts in (1, 3, 5):
        setup, batch = plain(accumulate=parts)
        gradients = Gradients(setup)
        terms = train_step(setup, batch, 0.1, gradients)
        stepped.append((torch.cat([p.flatten() for p in setup.student.parameters()]), terms, gradients.read()))
    whole = stepped[0]
    for weights, terms, apart in stepped[1:]:
        torch.testing.assert_close(weights, whole[0], rtol=1e-5, atol=1e-6)
        for name, values in terms.items():
            torch.testing.assert_close(values, whole[1][name], rtol=1e-4, atol=1e-5)
        assert apart == pytest.approx(whole[2], rel=1e-4)


def test_the_gradients_of_all_parts_but_the_last_stay_with_their_process() -> None:
    setup, batch = plain(accumulate=3)
    asked, within, seen = setup.forward, [False], []

    @contextlib.contextmanager
    def unshared() -> Iterator[None]:
        within[0] = True
        yield
        within[0] = False

    setup.unshared = unshared
    setup.forward = lambda images: (seen.append(within[0]), asked(images))[1]
    train_step(setup, batch, 0.1)
    assert seen == [True, True, False]


def test_no_part_of_a_batch_has_fewer_than_two_samples() -> None:
    setup, batch = plain(accumulate=24)
    seen: list[int] = []
    asked = setup.forward
    setup.forward = lambda images: (seen.append(len(images)), asked(images))[1]
    few = dataclasses.replace(batch.parts(16)[0], size=3)
    train_step(setup, few, 0.1)
    train_step(setup, batch, 0.1)
    assert seen == [3] + [2] * 24


def test_a_gradient_is_clipped_to_its_norm_and_a_smaller_one_is_left() -> None:
    found = {}
    for limit in (0.0, 0.01, 1e6):
        setup, batch = plain(clip_norm=limit)
        train_step(setup, batch, 0.1)
        found[limit] = gradient(setup)
    assert float(found[0.01].norm()) == pytest.approx(0.01, rel=1e-3)
    torch.testing.assert_close(found[0.01] / 0.01, found[0.0] / found[0.0].norm(), rtol=1e-3, atol=1e-5)
    assert torch.equal(found[0.0], found[1e6])


def test_the_cosine_ends_at_its_least_rate() -> None:
    config = RunConfig(epochs=10, lr=0.1, min_lr=0.01)
    rates = [learning_rate(config, step, 5) for step in range(51)]
    assert rates[0] == 0.1 and rates[-1] == pytest.approx(0.01) and rates == sorted(rates, reverse=True)


OLD = {
    "ce": ({"method": "ce"}, "d2574824fd2900ca"),
    "fn": ({"method": "fn", "teacher": "digits-teacher"}, "44f823d6f58d38c6"),
    "adamw": ({"method": "ce", "optimizer": "adamw", "decay_norm_and_bias": False}, "ac9c2ed44cbb12a8"),
}
"""Settings, and the identity of their run before there were the later ones."""


@pytest.mark.parametrize("name", OLD)
def test_a_run_without_the_later_settings_is_the_run_that_it_was_before_there_were_any(name: str) -> None:
    settings, before = OLD[name]
    config = RunConfig(**({"epochs": 3, "per_class": 12, "threads": 1, "batch_size": 32} | settings))
    assert identity_of(config) == before
    assert not set(LATER) & set(config.deciding())


FN = {"method": "fn", "teacher": "digits-teacher"}
CHANGES: dict[str, Any] = {
    "init": "digits-kd",
    "body_lr": 0.1,
    "min_lr": 0.001,
    "clip_norm": 1.0,
    "accumulate": 2,
    "freeze": 1,
    "smoothing": 0.1,
    "hard_weight": 0.0,
    "mixup": 0.2,
    "cutmix": 1.0,
    "trivial_augment": True,
    "erasing": 0.1,
    "ema": 0.9,
    "relabel": "mended",
    "weight_by_norm": 1.0,
}
"""A value for each of the later settings."""
BESIDE: dict[str, Any] = {"freeze": {"init": "digits-kd"}, "hard_weight": FN, "weight_by_norm": KD}
"""What one needs beside it."""


@pytest.mark.parametrize("name", LATER)
def test_each_of_the_later_settings_makes_another_run(name: str) -> None:
    usual = RunConfig(**(QUICK | BESIDE.get(name, {})))
    info = dataset_info("digits")
    add_to("mended", info, "train", ["digits/0001"], "")
    relabel("mended", info, "train", ["digits/0001"], 3)
    assert identity_of(dataclasses.replace(usual, **{name: CHANGES[name]})) not in (None, identity_of(usual))


def test_a_run_of_before_is_not_continued_with_a_later_setting(tmp_path: Path) -> None:
    for event in train(RunConfig(**QUICK), tmp_path):
        if isinstance(event, Metrics):
            break
    path = tmp_path / "resolved.json"
    record = json.loads(path.read_text())
    record["config"] = {k: v for k, v in record["config"].items() if k not in LATER}
    path.write_text(json.dumps(record))
    with pytest.raises(UserError, match=r"began with another clip_norm \(0.0, now 1.0\)"):
        metrics(RunConfig(**QUICK, clip_norm=1.0), tmp_path)
    assert [line["epoch"] for line in metrics(RunConfig(**QUICK), tmp_path)] == [2]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"freeze": 1}, "freeze 1 would be ignored: without init the body has nothing to keep"),
        ({"freeze": 30, "init": "digits-kd"}, r"freeze must be <= epochs \(20\), got 30"),
        ({"body_lr": 0.0}, "body_lr must be > 0"),
        ({"smoothing": 1.0}, r"smoothing must be in \[0, 1\)"),
        ({"smoothing": 0.1, "method": "lsd"}, "smoothing 0.1 would be ignored: lsd smooths by its own epsilon"),
        ({"smoothing": 0.1, "hard_weight": 0.0, **FN}, "smoothing 0.1 would be ignored: the hard term has weight 0"),
        ({"hard_weight": 0.5}, "hard_weight 0.5 would be ignored: the hard term is all of ce"),
        ({"hard_weight": -1.0, **KD}, "hard_weight must be >= 0"),
        ({"ema": 1.0}, r"ema must be in \[0, 1\)"),
        ({"mixup": -0.1}, "mixup must be >= 0, got -0.1"),
        ({"erasing": 1.5}, r"erasing must be in \[0, 1\]"),
        ({"cutmix": 1.0, "augment": False}, "cutmix 1.0 would be ignored: augment is off"),
        ({"min_lr": 0.05}, "min_lr must be below lr"),
        ({"min_lr": 0.01, "schedule": "constant"}, "min_lr 0.01 would be ignored: the schedule constant"),
        ({"clip_norm": -1.0}, "clip_norm must be >= 0, got -1.0"),
        ({"accumulate": 0}, "accumulate must be >= 1"),
        ({"accumulate": 65}, "accumulate must be >= 1 and leave 2 samples to each part .* got 65 with batch_size 128"),
    ],
)
def test_a_wrong_setting_of_a_recipe_is_one_line(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said):
        RunConfig(**changes)


def test_smoothing_with_one_hot_labels_is_the_method_of_that_name(tmp_path: Path) -> None:
    smoothed = metrics(RunConfig(**QUICK, smoothing=0.2))
    assert smoothed == metrics(RunConfig(**QUICK, method="lsd", parameters={"epsilon": 0.2}))
    assert smoothed != metrics(RunConfig(**QUICK))


@pytest.mark.parametrize("name", list(METHODS))
def test_smoothing_changes_the_hard_term_of_every_method_and_no_other(name: str) -> None:
    torch.manual_seed(0)
    samples = 16
    student = Outputs(torch.rand(samples, 8), torch.randn(samples, 10), torch.zeros(10))
    teacher = Outputs(torch.rand(samples, 8), torch.randn(samples, 10), torch.zeros(10))
    labels = torch.randint(10, (samples,))
    settings: dict[str, Any] = {"method": name, "teacher": "digits-teacher" if METHODS[name].needs_teacher else None}
    if name in ("lsd", "alsd"):
        with pytest.raises(UserError, match=f"{name} smooths by its own epsilon"):
            RunConfig(**settings, smoothing=0.3)
        return
    context: dict[str, Any] = {
        "learnt": torch.ones(()), "class_means": torch.rand(10, 8), "distances": torch.rand(10, 10)
    }  # fmt: skip
    plain, smoothed = (
        loss_terms(
            objective_of(look_up(config), complete(name, {}, {"norm": 4.0}), **context), student, labels, teacher
        )
        for config in (RunConfig(**settings), RunConfig(**settings, smoothing=0.3))
    )
    assert torch.equal(plain["soft"], smoothed["soft"])
    logs = (plain["hard"], smoothed["hard"])
    assert not torch.allclose(*logs)


def test_a_hard_weight_of_0_leaves_the_soft_term_alone() -> None:
    line = metrics(RunConfig(**(QUICK | {"epochs": 1}), **KD, hard_weight=0.0))[0]
    assert line["loss"] == pytest.approx(0.9 * line["soft"], rel=1e-5)
    assert line["gradient_hard"] == pytest.approx(0, abs=1e-4) and line["soft_share"] > 0.999

"""Each sample's loss has a weight by the teacher's norm of it, where a run wants that."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch

from fnkd_core.data import load_split
from fnkd_core.data.loader import Loader
from fnkd_core.errors import UserError
from fnkd_core.kd.methods import METHODS
from fnkd_core.models.inference import predict
from fnkd_core.stores.teacher_outputs import TeacherOutputs
from fnkd_core.training.augmented import Augmented
from fnkd_core.training.config import RunConfig
from fnkd_core.training.distributed import ALONE, Group
from fnkd_core.training.loop import Preparing, Ready, prepare_run
from fnkd_core.training.recipes import changed, with_recipe
from fnkd_core.training.resolve import identity_of, look_up, resolve
from fnkd_core.training.setup import objective_at
from fnkd_core.training.step import train_step
from fnkd_core.training.teacher import norm_weights
from tests.training.tools import KD, QUICK, assert_resumes_to_the_same_bits, first_batch, metrics, plain, stopped

T, ALPHA = 4.0, 0.9


def log_softmax(logits: torch.Tensor) -> torch.Tensor:
    return logits - logits.exp().sum(1, keepdim=True).log()


def by_hand(student: torch.Tensor, teacher: torch.Tensor, labels: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """kd's loss in double precision, each sample's terms times its weight, summed over the batch and divided by n."""
    student, teacher = student.double(), teacher.double()
    hard = -log_softmax(student)[torch.arange(len(labels)), labels]
    soft = -(log_softmax(teacher / T).exp() * log_softmax(student / T)).sum(1) * T**2
    return (weights.double() * ((1 - ALPHA) * hard + ALPHA * soft)).sum() / len(labels)


def test_the_gradient_is_that_of_the_weighted_loss_of_both_terms() -> None:
    setup, batch = plain()
    weights = torch.rand(48, generator=torch.Generator().manual_seed(3)) * 2
    assert setup.teacher is not None
    loss = by_hand(setup.student(batch.images).logits, setup.teacher(batch.images).logits, batch.labels, weights)
    parameters = list(setup.student.parameters())
    expected = torch.autograd.grad(loss, parameters)
    terms = train_step(setup, dataclasses.replace(batch, weights=weights), 0.0)
    assert float(terms["loss"].mean()) == pytest.approx(loss.item(), rel=1e-5)
    for parameter, gradient in zip(parameters, expected, strict=True):
        assert parameter.grad is not None
        torch.testing.assert_close(parameter.grad, gradient, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", [name for name, method in METHODS.items() if not method.couples_batch])
def test_every_method_of_samples_has_all_its_terms_weighted(name: str) -> None:
    found, _ = ready(RunConfig(**QUICK, method=name, teacher="digits-teacher", weight_by_norm=-2.0, precision="fp32"))
    found.setup.objective = objective_at(found.setup)
    batch = next(found.images.epoch(torch.arange(60), 60, 0, ALONE))
    weighed, without = (train_step(found.setup, one, 0.0) for one in (batch, dataclasses.replace(batch, weights=None)))
    assert batch.weights is not None and weighed.keys() == without.keys()
    for key in without:
        factor = batch.weights if key in ("loss", "hard", "soft") else True
        torch.testing.assert_close(weighed[key], factor * without[key], check_dtype=False)


def test_a_mixed_image_has_each_label_s_loss_by_the_weight_of_that_sample() -> None:
    setup, batch = first_batch(method="ce", teacher="digits-teacher", mixup=1.0)
    one, other = torch.rand(2, 60, generator=torch.Generator().manual_seed(1))
    assert batch.share is not None and batch.others is not None
    setup.student.eval()
    own, beside = (
        train_step(setup, dataclasses.replace(batch, labels=labels, others=None, share=None), 0.0)["hard"]
        for labels in (batch.labels, batch.others)
    )
    found = train_step(setup, dataclasses.replace(batch, weights=one, other_weights=other), 0.0)["hard"]
    torch.testing.assert_close(found, batch.share * one * own + (1 - batch.share) * other * beside)


def ready(config: RunConfig) -> tuple[Ready, list[Any]]:
    """What the run has before its first step, and the events until then."""
    with Loader() as loader:
        found = Ready(loader)
        events = list(prepare_run(resolve(config), ALONE, found))
    return found, events


@pytest.mark.parametrize("exponent", [1.0, -1.5])
@pytest.mark.parametrize("outputs", ["live", "cached"])
def test_a_run_s_weights_are_the_teacher_s_norms_to_that_power_over_their_mean(exponent: float, outputs: str) -> None:
    config = RunConfig(**QUICK, **KD, weight_by_norm=exponent, teacher_outputs=outputs, views=1)
    found, _ = ready(config)
    train = found.data.train
    assert found.setup.teacher is not None and isinstance(train.images, torch.Tensor)
    norms = torch.cat([o.features.double().pow(2).sum(1).sqrt() for o in predict(found.setup.teacher, train.images)])
    expected = (norms / norms.mean()) ** exponent
    expected = expected / (expected.sum() / len(expected))
    assert found.images.weights is not None
    torch.testing.assert_close(found.images.weights, expected.float(), rtol=1e-5, atol=1e-6)
    assert float(found.images.weights.mean()) == pytest.approx(1) and float(expected.std()) > 0.05
    batch = next(found.images.epoch(torch.arange(59, 29, -1), 30, 0, ALONE))
    assert batch.weights is not None and torch.equal(batch.weights, found.images.weights[batch.rows])


def test_each_of_several_processes_has_the_weights_of_its_own_samples_and_of_those_mixed_in() -> None:
    samples = load_split("digits", "train").subset(torch.arange(40))
    how = RunConfig(mixup=1.0).augmentation
    images = Augmented(samples, True, 0, torch.device("cpu"), how, weights=torch.arange(40.0))
    order = torch.randperm(40, generator=torch.Generator().manual_seed(2))
    (whole,) = images.epoch(order, 40, 0, ALONE)
    parts = [next(images.epoch(order, 40, 0, Group(rank, 3))) for rank in range(3)]
    parts += [part for batch in parts for part in batch.parts(2)]
    for name in ("weights", "other_weights"):
        joined = torch.cat([getattr(part, name) for part in parts[:3]])
        assert torch.equal(joined, getattr(whole, name))
        assert torch.equal(torch.cat([getattr(part, name) for part in parts[3:]]), joined)
    assert whole.weights is not None and torch.equal(whole.weights, order.float())
    assert whole.other_weights is not None and whole.others is not None
    assert torch.equal(samples.labels[whole.other_weights.long()], whole.others)


def test_the_norms_are_asked_for_once_for_all_runs() -> None:
    first, second = (ready(RunConfig(**QUICK, **KD, weight_by_norm=p))[1] for p in (1.0, -1.0))
    asked = [event.what for event in first if isinstance(event, Preparing)]
    assert "asking the teacher of the train split" in asked
    assert not [event for event in second if isinstance(event, Preparing)]


def test_it_stands_in_the_identity_only_where_it_is_used_and_ce_beside_a_teacher_can_have_it() -> None:
    without = RunConfig(**QUICK, **KD)
    weighing = dataclasses.replace(without, weight_by_norm=-1.0)
    assert "weight_by_norm" not in without.deciding() and weighing.deciding()["weight_by_norm"] == -1.0
    assert identity_of(weighing) != identity_of(without)
    assert look_up(weighing).to_dict()["config"]["weight_by_norm"] == -1.0
    one = RunConfig(**(QUICK | {"epochs": 1}), teacher="digits-teacher")
    plain_line, weighed = (metrics(dataclasses.replace(one, weight_by_norm=p))[0] for p in (0.0, 2.0))
    assert weighed["hard"] != plain_line["hard"] and weighed["loss"] == pytest.approx(weighed["hard"])


def test_it_resumes_to_the_same_bits_and_not_with_another_exponent(tmp_path: Path) -> None:
    config = RunConfig(**QUICK, **KD, weight_by_norm=1.0, teacher_outputs="cached", views=1)
    assert_resumes_to_the_same_bits(config, tmp_path)
    stopped(config, tmp_path / "other")
    with pytest.raises(UserError, match="another weight_by_norm"):
        metrics(dataclasses.replace(config, weight_by_norm=2.0), tmp_path / "other")


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"method": "ce"}, "weight_by_norm 1.0 would be ignored: there is no teacher whose feature norms could weigh"),
        ({"method": "dist", "teacher": "digits-teacher"}, "the loss of dist is of a whole batch and not of its sample"),
        ({"method": "ce", "teacher": "digits-teacher", "weight_by_norm": 9.0}, r"weight_by_norm must be in \[-8, 8\]"),
    ],
)
def test_without_a_teacher_and_where_the_loss_is_of_a_batch_it_is_refused(
    settings: dict[str, Any], problem: str
) -> None:
    with pytest.raises(UserError, match=problem):
        RunConfig(**({"weight_by_norm": 1.0} | settings))


def test_a_norm_of_zero_cannot_be_weighed_by_its_inverse(tmp_path: Path) -> None:
    store = TeacherOutputs(tmp_path, 4, 10, {})
    pieces = store.pieces(store.plain)
    norms = torch.tensor([0.0, 1.0, 2.0, 5.0]).numpy()
    for part in pieces.todo():
        pieces.write(part, predictions=norms.astype("int32"), norms=norms, stds=norms, maxima=norms)
    pieces.finish(lambda folder: None)
    with pytest.raises(UserError, match="norms lie from 0 to 5; choose one >= 0, or leave it out"):
        norm_weights(store, -1.0)
    torch.testing.assert_close(norm_weights(store, 1.0), torch.tensor([0.0, 0.5, 1.0, 2.5]))
    assert torch.equal(norm_weights(store, 0.0), torch.ones(4))


def test_a_recipe_keeps_the_weights_that_were_asked_for_and_says_that_they_are_not_its_own() -> None:
    config = RunConfig(**with_recipe("quick", {"method": "kd", "teacher": "digits-teacher", "weight_by_norm": 1.0}))
    assert config.weight_by_norm == 1.0 and changed("quick", config) == {"weight_by_norm": (1.0, 0.0)}

"""What makes students good: the settings of a recipe do what they say, and at their defaults nothing."""

from __future__ import annotations

import dataclasses
import itertools
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from fnkd_core.checkpoints.card import read_card
from fnkd_core.checkpoints.io import load_checkpoint, read_state, write_checkpoint
from fnkd_core.checkpoints.library import find_checkpoint
from fnkd_core.data import add_folder, dataset_info, load_split
from fnkd_core.errors import UserError
from fnkd_core.kd.losses import loss_terms
from fnkd_core.kd.methods import METHODS
from fnkd_core.kd.objective import complete
from fnkd_core.kd.outputs import Outputs
from fnkd_core.models.architecture import Architecture
from fnkd_core.models.classifier import Classifier
from fnkd_core.models.zoo import build
from fnkd_core.training.augmented import Augmented, Batch
from fnkd_core.training.config import LATER, RunConfig
from fnkd_core.training.distributed import ALONE
from fnkd_core.training.evaluate import evaluate
from fnkd_core.training.gradients import Gradients
from fnkd_core.training.loop import Metrics, Results, train
from fnkd_core.training.optim import learning_rate, make_optimizer
from fnkd_core.training.planned import augmentation, store_of
from fnkd_core.training.resolve import identity_of, look_up, resolve
from fnkd_core.training.setup import Setup, objective_of, prepare
from fnkd_core.training.state import copied
from fnkd_core.training.step import train_step
from fnkd_core.training.teacher import LiveTeacher
from tests.pictures import write_folder
from tests.tools import copy_checkpoint

KD = {"method": "kd", "teacher": "digits-teacher"}
QUICK: dict[str, Any] = {"epochs": 2, "per_class": 6, "batch_size": 30, "threads": 1}


def metrics(config: RunConfig, folder: Path | None = None) -> list[dict[str, Any]]:
    """The epochs' metrics, without what the clock says."""
    lines = [dataclasses.asdict(event) for event in train(config, folder) if isinstance(event, Metrics)]
    return [{k: v for k, v in line.items() if k not in ("seconds", "samples_per_s")} for line in lines]


def plain(**changes: Any) -> tuple[Setup, Batch]:
    """A setup whose student has no batch norm, and a batch of 48 digits."""
    config = RunConfig(**({"method": "kd", "teacher": "digits-teacher", "batch_size": 48} | changes))
    setup = prepare(resolve(config), 48)
    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))
    setup.student = Classifier(network, (0.3,), (0.4,), Architecture("cifar_resnet8", 10, 1), (8, 8))
    setup.forward, setup.optimizer = setup.student, make_optimizer(config, setup.student)
    assert setup.teacher is not None
    setup.teach, setup.objective = LiveTeacher(setup.teacher, "fp32"), objective_of(setup.resolved)
    samples = load_split("digits", "train").subset(torch.arange(48))
    (batch,) = Augmented(samples, False, 0, setup.device).epoch(torch.arange(48), 48, 0, setup.group)
    return setup, batch


def gradient(setup: Setup) -> torch.Tensor:
    return torch.cat([p.grad.flatten() for p in setup.student.parameters() if p.grad is not None])


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
}
"""A value for each of the later settings."""
BESIDE: dict[str, Any] = {"freeze": {"init": "digits-kd"}, "hard_weight": KD}
"""What one needs beside it."""


@pytest.mark.parametrize("name", LATER)
def test_each_of_the_later_settings_makes_another_run(name: str) -> None:
    usual = RunConfig(**(QUICK | BESIDE.get(name, {})))
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
        ({"smoothing": 0.1, "hard_weight": 0.0, **KD}, "smoothing 0.1 would be ignored: the hard term has weight 0"),
        ({"hard_weight": 0.5}, "hard_weight 0.5 would be ignored: the hard term is all that ce has"),
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
    whole = metrics(config, tmp_path / "whole")
    for _ in itertools.takewhile(lambda e: not isinstance(e, Metrics), train(config, tmp_path / "cut")):
        pass
    assert metrics(config, tmp_path / "cut") == whole[1:]
    a, b = (read_state(tmp_path / name / "model.safetensors") for name in ("whole", "cut"))
    assert all(torch.equal(a[k], b[k]) for k in a)


def test_a_run_is_not_continued_from_another_init_of_the_same_name(tmp_path: Path, home: Path) -> None:
    copy_checkpoint(home, "digits-kd", "mine")
    config = RunConfig(**QUICK, init="mine")
    for _ in itertools.takewhile(lambda e: not isinstance(e, Metrics), train(config, tmp_path)):
        pass
    for suffix in (".json", ".safetensors"):
        (home / "checkpoints" / f"mine{suffix}").unlink()
    copy_checkpoint(home, "digits-ce", "mine")
    with pytest.raises(UserError, match="began with other weights that it started from; restore that"):
        metrics(config, tmp_path)


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
    plain, smoothed = (
        loss_terms(
            objective_of(look_up(config), complete(name, {}, 4.0), learnt=torch.ones(())), student, labels, teacher
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


MIXED: dict[str, Any] = {"mixup": 0.4, "cutmix": 1.0, "trivial_augment": True, "erasing": 0.3}


def first_batch(**changes: Any) -> tuple[Setup, Batch]:
    """A setup, and the first batch of its first epoch on 60 digits."""
    config = RunConfig(**({"batch_size": 60} | changes))
    setup = prepare(resolve(config), 60)
    setup.objective = objective_of(setup.resolved, complete(config.method, config.parameters, 4.0))
    samples = load_split("digits", "train").subset(torch.arange(60))
    images = Augmented(samples, True, 0, setup.device, config.augmentation)
    (batch,) = images.epoch(torch.randperm(60, generator=torch.Generator().manual_seed(1)), 60, 0, setup.group)
    return setup, batch


@pytest.mark.parametrize("name", ["ce", "lsd", "fn", "dkd", "he"])
def test_the_loss_of_a_mixed_image_is_that_of_both_labels_with_their_shares(name: str) -> None:
    teacher = "digits-teacher" if METHODS[name].needs_teacher else None
    setup, batch = first_batch(method=name, teacher=teacher, mixup=1.0, cutmix=1.0)
    assert batch.others is not None and batch.share is not None and setup.objective is not None
    setup.student.eval()
    with torch.no_grad():
        student = setup.student(batch.images)
        said = setup.teacher(batch.images) if setup.teacher is not None else None
        own, other = (loss_terms(setup.objective, student, labels, said) for labels in (batch.labels, batch.others))
    if setup.teacher is not None:
        setup.teach = LiveTeacher(setup.teacher, "fp32")
    terms = train_step(setup, batch, 0.0)
    for key in ("loss", "hard", "soft"):
        torch.testing.assert_close(
            terms[key], batch.share * own[key] + (1 - batch.share) * other[key], rtol=1e-4, atol=1e-4
        )
    right = student.logits.argmax(1)
    torch.testing.assert_close(
        terms["correct"], batch.share * (right == batch.labels) + (1 - batch.share) * (right == batch.others)
    )


def test_a_view_is_the_same_in_another_batch_and_order_whatever_is_done_to_it() -> None:
    samples = load_split("digits", "train").subset(torch.arange(40))
    images = Augmented(samples, True, 3, torch.device("cpu"), RunConfig(**MIXED).augmentation)
    whole = next(images.views(torch.arange(40), 40, 2))
    order = torch.randperm(40, generator=torch.Generator().manual_seed(2))
    again = torch.cat([*images.views(order, 7, 2)])
    assert torch.equal(again, whole[order])
    assert not torch.equal(next(images.views(torch.arange(40), 40, 3)), whole)
    seen = [*images.epoch(order, 16, 2, ALONE)]
    assert torch.equal(torch.cat([batch.images for batch in seen]), whole[order])


@pytest.mark.parametrize("name", ["kd", "dkd"])
def test_kept_outputs_of_mixed_views_are_what_the_live_teacher_says_of_them(name: str) -> None:
    config = RunConfig(**(QUICK | {"method": name, "teacher": "digits-teacher", "view_seed": 5} | MIXED))
    live = metrics(config)
    cached = metrics(dataclasses.replace(config, teacher_outputs="cached"))
    for ours, theirs in zip(live, cached, strict=True):
        assert ours["soft"] == pytest.approx(theirs["soft"], rel=5e-3)
        assert ours["hard"] == pytest.approx(theirs["hard"], rel=5e-3)


def test_outputs_are_kept_apart_by_what_is_done_to_the_views_and_only_where_something_is() -> None:
    def where(**changes: Any) -> Path:
        return store_of(look_up(RunConfig(**(QUICK | KD | changes)))).path

    assert len({where(), *(where(**{name: value}) for name, value in MIXED.items())}) == 5
    assert augmentation(look_up(RunConfig(**QUICK, **KD))) == {"seed": 0, "pad": 1, "flip": False, "least_area": None}
    assert where(init="digits-kd") == where()


def test_a_run_on_mixed_views_gives_the_same_bits_and_resumes_to_them(tmp_path: Path) -> None:
    config = RunConfig(**(QUICK | KD | MIXED))
    whole = metrics(config, tmp_path / "whole")
    for _ in itertools.takewhile(lambda e: not isinstance(e, Metrics), train(config, tmp_path / "cut")):
        pass
    assert metrics(config, tmp_path / "cut") == whole[1:]
    a, b = (read_state(tmp_path / name / "model.safetensors") for name in ("whole", "cut"))
    assert all(torch.equal(a[k], b[k]) for k in a)


def test_mixed_photographs_in_files_are_decoded_with_their_partners(tmp_path: Path) -> None:
    root = write_folder(tmp_path / "set", size=(12, 12))
    add_folder("mine", str(root))
    line = metrics(RunConfig(dataset="mine", epochs=1, batch_size=4, threads=1, **MIXED))[0]
    assert 0 < line["hard"] < 10


def test_the_average_follows_the_weights_and_takes_few_steps_to_forget_where_they_began() -> None:
    setup, batch = first_batch(ema=0.9)
    assert setup.average is not None
    follow = {k: v.clone().double() for k, v in setup.student.state().items() if v.is_floating_point()}
    for n in range(12):
        setup.student.train()
        train_step(setup, batch, 0.1)
        decay = min(0.9, (1 + n) / (10 + n))
        for name, value in follow.items():
            value.mul_(decay).add_(setup.student.state()[name].double(), alpha=1 - decay)
    kept = setup.kept.state()
    for name, value in follow.items():
        torch.testing.assert_close(kept[name].double(), value, rtol=1e-4, atol=1e-5)
    assert kept["bn1.num_batches_tracked"] == 12 and not setup.kept.training


def test_the_average_is_what_is_kept_and_chosen_and_the_raw_weights_are_evaluated_too(tmp_path: Path) -> None:
    config = RunConfig(**(QUICK | {"epochs": 3}), ema=0.95)
    *_, found = train(config, tmp_path)
    assert isinstance(found, Results) and found.raw is not None and found.raw["epoch"] == 3
    test = load_split("digits", "test")
    card = read_card(tmp_path / "model.json")
    assert card.metrics["ema"] == 0.95 and card.metrics["weights"] == "last"
    assert card.metrics["raw"] == dict(found.raw) and card.metrics["raw"]["nll"] != card.metrics["last"]["nll"]
    for file, reached in (("model", found.last), ("best", found.best)):
        kept, _ = load_checkpoint(tmp_path / f"{file}.safetensors")
        assert reached is not None and evaluate(kept, test)["nll"] == pytest.approx(reached["nll"], rel=1e-6)
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    plain = metrics(RunConfig(**(QUICK | {"epochs": 3})))
    assert [line["raw_accuracy"] for line in lines] == [line["accuracy"] for line in plain]
    assert "ema" not in read_card(begun(tmp_path / "plain") / "model.json").metrics


def begun(folder: Path) -> Path:
    """The folder of a finished run without later settings."""
    metrics(RunConfig(**QUICK), folder)
    return folder


def test_a_run_with_an_average_resumes_to_the_same_bits(tmp_path: Path) -> None:
    config = RunConfig(**(QUICK | {"epochs": 3}), ema=0.9)
    whole = metrics(config, tmp_path / "whole")
    for _ in itertools.takewhile(lambda e: not isinstance(e, Metrics), train(config, tmp_path / "cut")):
        pass
    assert metrics(config, tmp_path / "cut") == whole[1:]
    for file in ("model", "best"):
        a, b = (read_state(tmp_path / name / f"{file}.safetensors") for name in ("whole", "cut"))
        assert all(torch.equal(a[k], b[k]) for k in a)

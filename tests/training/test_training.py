"""Training: it learns, the same seed gives the same bits, and a killed run resumes to the same result."""

from __future__ import annotations

import dataclasses
import itertools
import json
import math
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fnkd_core.checkpoints.card import read_card
from fnkd_core.checkpoints.io import load_checkpoint
from fnkd_core.data import Samples, dataset_info, load_split
from fnkd_core.data.label_noise import few_labels, flip_labels
from fnkd_core.errors import UserError
from fnkd_core.kd.methods import METHODS
from fnkd_core.models.architecture import Architecture
from fnkd_core.models.zoo import build
from fnkd_core.training.config import RunConfig
from fnkd_core.training.estimate import seconds_for
from fnkd_core.training.evaluate import evaluate
from fnkd_core.training.loop import Metrics, Progress, train
from fnkd_core.training.optim import learning_rate, make_optimizer
from fnkd_core.training.prepare import prepare, set_objective
from fnkd_core.training.step import train_step


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Digits with 128 samples to train and 100 to test on, so that a run takes a second."""

    def some(name: str, split: str, **_: object) -> Samples:
        whole = load_split(name, split)
        n = 128 if split == "train" else 100
        return dataclasses.replace(whole, images=whole.images[:n], labels=whole.labels[:n], keys=whole.keys[:n])

    monkeypatch.setattr("fnkd_core.training.loop.load_split", some)


def config(method: str = "ce", **changes: object) -> RunConfig:
    teacher = "digits-teacher" if METHODS[method].needs_teacher else None
    return RunConfig(**({"method": method, "teacher": teacher, "epochs": 3, "batch_size": 32} | changes))  # type: ignore[arg-type]


def metrics(run: RunConfig, folder: Path | None = None) -> list[Metrics]:
    return [event for event in train(run, folder) if isinstance(event, Metrics)]


def without_time(line: Metrics) -> dict[str, float]:
    return {k: v for k, v in dataclasses.asdict(line).items() if k not in ("seconds", "samples_per_s")}


@pytest.mark.parametrize("method", list(METHODS))
def test_every_method_learns_64_digits_by_heart(method: str) -> None:
    torch.manual_seed(0)
    samples, info = load_split("digits", "train"), dataset_info("digits")
    images, labels = samples.images[:64], samples.labels[:64]
    setup = prepare(config(method, batch_size=64, student="cifar_resnet20", weight_decay=0.0), info, 64)
    set_objective(setup, images)
    losses = []
    # Lower than the default: dtkd's four terms of the size of kd's stall at 0.1.
    for _ in range(80):
        terms = train_step(setup, images, labels, 0.02)
        losses.append(float(terms["loss"].mean()))
    assert float(terms["correct"].float().mean()) == 1.0
    assert losses[-1] < 0.6 * losses[0]


def test_the_same_configuration_gives_the_same_bits(few: None, tmp_path: Path) -> None:
    first, second = (metrics(config("fn"), tmp_path / name) for name in "ab")
    assert [without_time(m) for m in first] == [without_time(m) for m in second]
    a, b = (load_checkpoint(tmp_path / name / "model.safetensors")[0].state() for name in "ab")
    assert all(torch.equal(a[k], b[k]) for k in a)


def test_another_seed_gives_another_student(few: None) -> None:
    assert without_time(metrics(config(epochs=1))[0]) != without_time(metrics(config(epochs=1, seed=1))[0])


@pytest.mark.parametrize(("method", "optimizer"), [("fn", "sgd"), ("ce", "adamw"), ("ctkd", "sgd"), ("dtkd", "sgd")])
@pytest.mark.parametrize("stopped_in", ["an epoch", "between"])
def test_a_stopped_run_resumes_to_the_same_result(
    few: None, tmp_path: Path, method: str, optimizer: str, stopped_in: str
) -> None:
    run = config(method, optimizer=optimizer, lr=0.01, epochs=4)
    whole = metrics(run, tmp_path / "whole")
    steps = 4 * 2 + 2 + (1 if stopped_in == "between" else 3)
    for _ in itertools.islice(train(run, tmp_path / "cut"), steps):
        pass
    done = len((tmp_path / "cut" / "metrics.jsonl").read_text().splitlines())
    assert done >= 2
    rest = metrics(run, tmp_path / "cut")
    assert [without_time(m) for m in rest] == [without_time(m) for m in whole[done:]]
    a, b = (load_checkpoint(tmp_path / name / "model.safetensors")[0].state() for name in ("whole", "cut"))
    assert all(torch.equal(a[k], b[k]) for k in a)
    lines = [json.loads(line) for line in (tmp_path / "cut" / "metrics.jsonl").read_text().splitlines()]
    assert [line["epoch"] for line in lines] == [1, 2, 3, 4]


def test_a_folder_of_another_configuration_is_not_continued(few: None, tmp_path: Path) -> None:
    metrics(config(epochs=1), tmp_path)
    with pytest.raises(UserError, match="another lr"):
        metrics(config(epochs=1, lr=0.05), tmp_path)


def test_last_and_best_are_kept_apart_and_say_which_they_are(few: None, tmp_path: Path) -> None:
    lines = metrics(config(epochs=4, lr=0.3), tmp_path)
    best = max(lines, key=lambda m: m.test_accuracy)
    for name, expected in (("model", lines[-1]), ("best", best)):
        card = read_card(tmp_path / f"{name}.json")
        weights = card.metrics["weights"]
        assert card.metrics[weights]["accuracy"] == expected.test_accuracy
        assert card.metrics[weights]["epoch"] == expected.epoch
        classifier, _ = load_checkpoint(tmp_path / f"{name}.safetensors")
        whole = load_split("digits", "test")
        part = dataclasses.replace(whole, images=whole.images[:100], labels=whole.labels[:100])
        assert evaluate(classifier, part)["accuracy"] == pytest.approx(expected.test_accuracy, abs=1e-9)


def test_the_learnt_temperature_climbs_the_loss_and_resumes_where_it_was(few: None, tmp_path: Path) -> None:
    lines = metrics(config("ctkd", epochs=4, lr=0.05), tmp_path)
    temperatures = [line.temperature for line in lines]
    # theta starts at 1, so T at 1 + 20 sigmoid(1); its first steps are small because the curriculum sets in slowly.
    assert temperatures[0] == pytest.approx(1 + 20 / (1 + math.exp(-1)), rel=0.05)
    assert len(set(temperatures)) == 4
    state = torch.load(tmp_path / "state.pt", weights_only=True)
    assert float(state["learnt"].detach()) != 1.0


def test_a_warm_up_raises_the_soft_term_from_epoch_to_epoch(few: None, tmp_path: Path) -> None:
    lines = metrics(RunConfig(method="dkd", parameters={"warmup": 0.5}, teacher="digits-teacher", epochs=4))
    shares = [(line.loss - line.hard) / line.soft for line in lines]
    assert shares == pytest.approx([0.5, 1, 1, 1], rel=1e-4)


def test_tau_left_open_is_a_quarter_of_the_teachers_mean_norm_on_the_training_set(tmp_path: Path, few: None) -> None:
    from fnkd_core.models.inference import predict

    metrics(config("fn", epochs=1), tmp_path)
    teacher, _ = load_checkpoint("digits-teacher")
    images = load_split("digits", "train").images[:128]
    mean = torch.cat([o.norms for o in predict(teacher, images)]).double().mean()
    assert read_card(tmp_path / "model.json").parameters["tau"] == pytest.approx(float(mean) / 4, rel=1e-6)


def test_progress_counts_to_the_end(few: None) -> None:
    events = list(train(config(epochs=2)))
    progress = [e for e in events if isinstance(e, Progress)]
    assert [(e.epoch, e.step) for e in progress] == [(e, s) for e in (1, 2) for s in (1, 2, 3, 4)]
    assert progress[-1].eta_s == pytest.approx(0, abs=1e-9)
    assert all(e.steps == 4 for e in progress)


def test_evaluation_is_that_of_scikit_learn() -> None:
    import sklearn.metrics

    torch.manual_seed(0)
    classifier = build(Architecture("cifar_resnet8", 10, 1), (0.3,), (0.4,), (8, 8)).eval()
    test = load_split("digits", "test")
    with torch.no_grad():
        outputs = classifier(test.images)
    found, p = evaluate(classifier, test), outputs.logits.double().softmax(1).numpy()
    assert found["nll"] == pytest.approx(sklearn.metrics.log_loss(test.labels, p, labels=range(10)), rel=1e-5)
    assert found["accuracy"] == pytest.approx(sklearn.metrics.accuracy_score(test.labels, p.argmax(1)))
    assert found["norm"] == pytest.approx(float(outputs.features.norm(dim=1).mean()), rel=1e-5)


def test_a_loss_that_leaves_the_numbers_is_one_line(few: None) -> None:
    with pytest.raises(UserError, match="lower lr"):
        metrics(config(lr=1e12, epochs=5))


def test_the_estimate_is_of_the_order_of_the_run() -> None:
    short, long = (seconds_for(config(epochs=e), dataset_info("digits")) for e in (1, 100))
    assert 0 < short < 60
    assert long > 10 * short


def test_the_learning_rate_of_a_schedule_starts_and_ends_where_it_should() -> None:
    run = config(epochs=10, lr=0.1)
    assert learning_rate(run, 0, 5) == 0.1 and learning_rate(run, 50, 5) == pytest.approx(0)
    steps = config(epochs=10, lr=0.1, schedule="multistep", milestones=(0.5, 0.8), gamma=0.1)
    assert [round(learning_rate(steps, s, 5), 6) for s in (0, 24, 25, 39, 40)] == [0.1, 0.1, 0.01, 0.01, 0.001]
    cycle = config(epochs=10, lr=0.1, schedule="onecycle")
    assert learning_rate(cycle, 0, 5) == pytest.approx(0.004)
    assert learning_rate(cycle, 15, 5) == pytest.approx(0.1)
    warm = config(epochs=10, lr=0.1, warmup_epochs=2.0)
    rising = [learning_rate(warm, s, 5) for s in range(11)]
    assert rising == sorted(rising) and rising[-1] == pytest.approx(0.1)


@given(step=st.integers(0, 99), schedule=st.sampled_from(["cosine", "multistep", "onecycle", "constant"]))
def test_a_learning_rate_lies_between_zero_and_its_peak(step: int, schedule: str) -> None:
    assert 0 <= learning_rate(config(epochs=10, schedule=schedule), step, 10) <= 0.1 + 1e-12


def test_weight_decay_can_leave_out_biases_and_normalisation() -> None:
    network = build(Architecture("cifar_resnet8", 10, 1), (0.3,), (0.4,), (8, 8))
    optimizer = make_optimizer(config(decay_norm_and_bias=False), network.parameters())
    assert [group["weight_decay"] for group in optimizer.param_groups] == [5e-4, 0.0]
    assert all(p.ndim == 1 for p in optimizer.param_groups[1]["params"])
    count = sum(p.numel() for group in optimizer.param_groups for p in group["params"])
    assert count == sum(p.numel() for p in network.parameters())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"epochs": 0}, "epochs must be >= 1, got 0"),
        ({"lr": -1.0}, "lr must be > 0, got -1.0"),
        ({"lr": math.nan}, "lr must be"),
        ({"batch_size": 1}, "batch_size must be >= 2"),
        ({"method": "kdd"}, "Unknown method 'kdd'. Available: .*kd"),
        ({"method": "kd", "teacher": None}, "Choose a teacher"),
        ({"schedule": "linear"}, "Unknown schedule 'linear'"),
        ({"parameters": {"tau": 1.0}}, "Unknown parameter of method 'ce' 'tau'"),
        ({"method": "lsd", "parameters": {"epsilon": 2.0}}, "epsilon must be <= 1, got 2.0"),
        ({"milestones": (0.9, 0.1)}, "milestones must rise"),
        ({"warmup_epochs": 9.0}, "below epochs"),
        ({"seed": True}, "seed must be a number"),
    ],
)
def test_a_wrong_setting_names_value_and_constraint(changes: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        RunConfig(**({"epochs": 3} | changes))  # type: ignore[arg-type]


def test_a_configuration_survives_json() -> None:
    run = config("fn", parameters={"tau": 2.0}, milestones=(0.3, 0.6))
    assert RunConfig.from_dict(json.loads(json.dumps(run.to_dict()))) == run
    with pytest.raises(UserError, match="Unknown setting of a run 'speed'"):
        RunConfig.from_dict({"speed": 1})


def test_few_labels_are_as_many_of_each_class_and_the_seed_draws_them() -> None:
    whole = load_split("digits", "train")
    some = few_labels(whole, 10, seed=3)
    assert some.labels.bincount().tolist() == [10] * 10
    place = {key: i for i, key in enumerate(whole.keys)}
    index = [place[key] for key in some.keys]
    assert index == sorted(index)
    assert torch.equal(some.images, whole.images[index])
    assert torch.equal(some.labels, whole.labels[index])
    assert some.keys == few_labels(whole, 10, seed=3).keys
    assert some.keys != few_labels(whole, 10, seed=4).keys
    assert few_labels(whole, 10_000, seed=3).keys == whole.keys


@given(st.floats(0, 0.9), st.integers(0, 5))
def test_uniform_noise_replaces_its_share_of_labels_by_other_classes(rate: float, seed: int) -> None:
    whole = load_split("digits", "train")
    noisy = flip_labels(whole, rate, "uniform", (), seed)
    assert int((noisy.labels != whole.labels).sum()) == round(rate * len(whole.labels))
    assert int(noisy.labels.min()) >= 0 and int(noisy.labels.max()) <= 9
    assert torch.equal(noisy.images, whole.images)


def test_noise_between_similar_classes_stays_within_them() -> None:
    whole = load_split("digits", "train")
    similar = ((), (7,), (), (5, 8), (), (3, 8), (), (1,), (3, 5), ())
    noisy = flip_labels(whole, 0.5, "similar", similar, 0)
    changed = noisy.labels != whole.labels
    assert all(int(b) in similar[int(a)] for a, b in zip(whole.labels[changed], noisy.labels[changed], strict=True))
    can = torch.tensor([bool(s) for s in similar])[whole.labels]
    assert int(changed.sum()) == round(0.5 * int(can.sum()))
    with pytest.raises(UserError, match="digits has no similar classes to confuse"):
        flip_labels(whole, 0.5, "similar", ((),) * 10, 0)


def test_a_run_trains_on_the_few_and_wrong_labels_it_was_given(tmp_path: Path) -> None:
    line = metrics(RunConfig(epochs=1, per_class=5, label_noise=0.4, batch_size=50, lr=0.01), tmp_path)[0]
    assert 0 <= line.train_accuracy <= 1
    # 50 samples in a step, so the share of right ones has a denominator of 50.
    assert line.train_accuracy * 50 == pytest.approx(round(line.train_accuracy * 50))
    with pytest.raises(UserError, match="no similar classes"):
        metrics(RunConfig(epochs=1, label_noise=0.4, noise_kind="similar"))


def test_agreement_is_with_the_given_teacher_even_where_the_method_has_none(few: None) -> None:
    line = metrics(config("ce", teacher="digits-teacher"))[-1]
    assert line.test_agreement is not None
    # Both are right on at least so many, and wrong together at most on the rest.
    assert line.test_agreement >= line.test_accuracy + 0.99 - 1
    assert metrics(config("ce", epochs=1))[0].test_agreement is None

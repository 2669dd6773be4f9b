"""Training: it learns, the same seed gives the same bits, and a killed run resumes to the same result."""

from __future__ import annotations

import dataclasses
import itertools
import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fnkd_core.checkpoints.card import read_card
from fnkd_core.checkpoints.io import load_checkpoint, read_state
from fnkd_core.data import DatasetInfo, Samples, dataset_info, load_split, load_training
from fnkd_core.errors import UserError
from fnkd_core.kd.methods import METHODS
from fnkd_core.models.architecture import Architecture
from fnkd_core.models.zoo import build
from fnkd_core.training import loop
from fnkd_core.training.augmented import Augmented
from fnkd_core.training.config import RunConfig
from fnkd_core.training.evaluate import evaluate
from fnkd_core.training.loop import Metrics, Progress, Results, train
from fnkd_core.training.optim import learning_rate, make_optimizer
from fnkd_core.training.resolve import resolve
from fnkd_core.training.setup import completed, objective_at, prepare, teach
from fnkd_core.training.step import train_step


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Digits with 128 samples to train, 40 to choose by and 100 to test on, so that a run takes a second."""

    def training(info: DatasetInfo, validation: float) -> tuple[Samples, Samples | None]:
        train, held = load_training(info, validation)
        return train.subset(torch.arange(128)), None if held is None else held.subset(torch.arange(40))

    def split(info: DatasetInfo, name: str) -> Samples:
        return load_split(info, name).subset(torch.arange(100))

    monkeypatch.setattr("fnkd_core.training.setup.load_training", training)
    monkeypatch.setattr("fnkd_core.training.setup.load_split", split)


def config(method: str = "ce", **changes: object) -> RunConfig:
    teacher = "digits-teacher" if METHODS[method].needs_teacher else None
    return RunConfig(**({"method": method, "teacher": teacher, "epochs": 3, "batch_size": 32} | changes))  # type: ignore[arg-type]


def metrics(run: RunConfig, folder: Path | None = None) -> list[Metrics]:
    return [event for event in train(run, folder) if isinstance(event, Metrics)]


def results(run: RunConfig, folder: Path | None = None) -> Results:
    *_, last = train(run, folder)
    assert isinstance(last, Results)
    return last


def without_time(line: Metrics) -> dict[str, float]:
    return {k: v for k, v in dataclasses.asdict(line).items() if k not in ("seconds", "samples_per_s")}


@pytest.mark.parametrize("method", list(METHODS))
def test_every_method_learns_64_digits_by_heart(method: str) -> None:
    torch.manual_seed(0)
    samples = load_split("digits", "train")
    setup = prepare(resolve(config(method, batch_size=64, student="cifar_resnet8", weight_decay=0.0)), 64)
    few = samples.subset(torch.arange(64))
    for event in completed(setup, few):
        assert event.what
    seen = Augmented(few, False, 0, setup.device)
    if setup.teacher is not None:
        assert not list(teach(setup, seen))
    setup.objective = objective_at(setup)
    losses, right = [], 0.0
    while not losses or right < 1.0 or losses[-1] >= 0.6 * losses[0]:
        assert len(losses) < 80, f"accuracy {right:.3f}; losses {losses[0]:.3g} to {losses[-1]:.3g}"
        (batch,) = seen.epoch(torch.arange(64), 64, 0, setup.group)
        # Lower than the default: dtkd's four terms of the size of kd's stall there.
        terms = train_step(setup, batch, 0.01)
        losses.append(float(terms["loss"].mean()))
        right = float(terms["correct"].float().mean())


def test_the_same_configuration_gives_the_same_bits(few: None, tmp_path: Path) -> None:
    first, second = (metrics(config("fn"), tmp_path / name) for name in "ab")
    assert [without_time(m) for m in first] == [without_time(m) for m in second]
    a, b = (load_checkpoint(tmp_path / name / "model.safetensors")[0].state() for name in "ab")
    assert all(torch.equal(a[k], b[k]) for k in a)


def test_the_best_model_is_of_the_epoch_that_the_record_says_where_one_was_lost_before_it_was_saved(
    few: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reached = iter([0.5, 0.9, 0.1])  # the last of the second epoch done again, which comes out otherwise
    real = loop.evaluate_with_norms

    def found(*args: Any) -> Any:
        measured, norms = real(*args)
        return measured | {"accuracy": next(reached)}, norms

    monkeypatch.setattr(loop, "evaluate_with_norms", found)
    events = train(config(epochs=2), tmp_path)
    next(event for event in events if isinstance(event, Metrics))
    first = read_state(tmp_path / "best.safetensors")
    with monkeypatch.context() as patch:
        patch.setattr("torch.save", lambda *_: (_ for _ in ()).throw(OSError("no room")))
        with pytest.raises(OSError, match="no room"):
            list(events)
    assert results(config(epochs=2), tmp_path).best["epoch"] == 1  # type: ignore[index]
    best = read_state(tmp_path / "best.safetensors")
    assert all(torch.equal(best[name], first[name]) for name in first) and not list(tmp_path.glob("best-next*"))


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


def test_the_best_epoch_is_chosen_on_validation_and_both_are_measured_on_test_at_the_end(
    few: None, tmp_path: Path
) -> None:
    run = config(epochs=6, lr=0.3)
    *lines, found = (event for event in train(run, tmp_path) if not isinstance(event, Progress))
    assert isinstance(found, Results) and found.best is not None and found.best_on_test is None
    assert {line.evaluated_on for line in lines} == {"validation"}  # type: ignore[union-attr]
    best = max(lines, key=lambda line: line.accuracy)  # type: ignore[union-attr]
    assert found.best["epoch"] == best.epoch and found.last["epoch"] == 6  # type: ignore[union-attr]
    test = load_split("digits", "test").subset(torch.arange(100))
    for name, reached in (("model", found.last), ("best", found.best)):
        card = read_card(tmp_path / f"{name}.json")
        assert card.metrics[card.metrics["weights"]] == dict(reached)
        classifier, _ = load_checkpoint(tmp_path / f"{name}.safetensors")
        assert evaluate(classifier, test)["accuracy"] == pytest.approx(reached["accuracy"], abs=1e-9)
    assert json.loads((tmp_path / "results.json").read_text()) == dataclasses.asdict(found)
    assert not (tmp_path / "state.pt").exists()


def test_nothing_looks_at_the_test_split_before_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def other_test(info: DatasetInfo, name: str) -> Samples:
        samples = load_split(info, name)
        return dataclasses.replace(samples, labels=samples.labels.flip(0), images=samples.images * 0)

    run = config(epochs=3)
    whole = list(train(run, tmp_path / "a"))
    monkeypatch.setattr("fnkd_core.training.setup.load_split", other_test)
    other = list(train(run, tmp_path / "b"))
    a, b = ([without_time(m) for m in events if isinstance(m, Metrics)] for events in (whole, other))
    assert a == b and whole[-1] != other[-1]
    for name in ("model", "best"):
        weights = [load_checkpoint(tmp_path / folder / f"{name}.safetensors")[0].state() for folder in "ab"]
        assert all(torch.equal(weights[0][k], weights[1][k]) for k in weights[0])


def test_with_nothing_held_out_nothing_is_chosen(few: None, tmp_path: Path) -> None:
    found = results(config(epochs=3, validation=0.0), tmp_path)
    assert found.best is None and not (tmp_path / "best.safetensors").exists()
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert {line["evaluated_on"] for line in lines} == {"test"}
    assert found.best_on_test is not None
    assert found.best_on_test["accuracy"] == max(line["accuracy"] for line in lines)


def test_a_run_without_a_folder_measures_its_best_epoch_too(few: None, tmp_path: Path) -> None:
    assert results(config(epochs=3)) == results(config(epochs=3), tmp_path)


def test_the_learnt_temperature_climbs_the_loss_and_resumes_where_it_was(few: None, tmp_path: Path) -> None:
    lines = metrics(config("ctkd", epochs=4, lr=0.05), tmp_path)
    temperatures = [line.temperature for line in lines]
    # theta starts at 1, so T at 1 + 20 sigmoid(1); its first steps are small because the curriculum sets in slowly.
    assert temperatures[0] == pytest.approx(1 + 20 / (1 + math.exp(-1)), rel=0.05)
    assert len(set(temperatures)) == 4
    cut = train(config("ctkd", epochs=4, lr=0.05), tmp_path / "cut")
    for event in cut:
        if isinstance(event, Metrics) and event.epoch == 3:
            break
    state = torch.load(tmp_path / "cut" / "state.pt", weights_only=True)
    assert float(state["learnt"].detach()) != 1.0


def test_a_warm_up_raises_the_soft_term_from_epoch_to_epoch(few: None, tmp_path: Path) -> None:
    lines = metrics(RunConfig(method="dkd", parameters={"warmup": 0.5}, teacher="digits-teacher", epochs=4))
    shares = [(line.loss - line.hard) / line.soft for line in lines]
    assert shares == pytest.approx([0.5, 1, 1, 1], rel=1e-4)


def test_tau_left_open_is_a_quarter_of_the_teachers_mean_norm_on_the_training_set(tmp_path: Path, few: None) -> None:
    from fnkd_core.models.inference import predict

    metrics(config("fn", epochs=1), tmp_path)
    teacher, _ = load_checkpoint("digits-teacher")
    images = load_training(dataset_info("digits"), 0.1)[0].images[:128]
    mean = torch.cat([o.norms for o in predict(teacher, images)]).double().mean()
    assert read_card(tmp_path / "model.json").parameters["tau"] == pytest.approx(float(mean) / 4, rel=1e-6)


@pytest.mark.parametrize("policy", ["norm", "std", "max"])
def test_a_unit_left_open_is_the_teachers_mean_on_the_training_set(policy: str, tmp_path: Path, few: None) -> None:
    from fnkd_core.models.inference import predict

    parameters = {"policy": policy, "warmup": 0.0}
    (line,) = metrics(config("dkd", epochs=1, parameters=parameters, augment=False), tmp_path)
    teacher, _ = load_checkpoint("digits-teacher")
    said = list(predict(teacher, load_training(dataset_info("digits"), 0.1)[0].images[:128]))
    read = {"norm": lambda o: o.norms, "std": lambda o: o.logits.std(dim=1), "max": lambda o: o.logits.amax(1)}[policy]
    mean = float(torch.cat([read(o) for o in said]).double().mean())
    assert read_card(tmp_path / "model.json").parameters["unit"] == pytest.approx(mean, rel=1e-5)
    # Without augmentation training sees what the mean is of.
    assert line.temperature == pytest.approx(4.0, rel=0.01)


def test_what_was_kept_of_a_teacher_before_there_were_policies_is_asked_anew(tmp_path: Path, few: None) -> None:
    from fnkd_core.paths import teacher_outputs_dir

    metrics(config("fn", epochs=1), tmp_path / "a")
    for path in teacher_outputs_dir().rglob("plain/*.npy"):
        if path.stem in ("stds", "maxima"):
            path.unlink()
    metrics(config("kd", epochs=1, parameters={"policy": "max"}), tmp_path / "b")
    assert read_card(tmp_path / "b" / "model.json").parameters["unit"] > 0


def test_a_run_that_began_before_there_were_policies_goes_on(tmp_path: Path, few: None) -> None:
    run = config("kd", epochs=2)
    whole = metrics(run, tmp_path / "whole")
    events = train(run, tmp_path / "cut")
    next(event for event in events if isinstance(event, Metrics))
    events.close()  # type: ignore[attr-defined]
    path = tmp_path / "cut" / "resolved.json"
    record = json.loads(path.read_text())
    for parameters in (record["parameters"], record["config"]["parameters"]):
        for name in set(parameters) - {"T", "alpha", "t_squared"}:
            del parameters[name]
    path.write_text(json.dumps(record))
    assert without_time(metrics(run, tmp_path / "cut")[0]) == without_time(whole[1])


def test_progress_counts_to_the_end(few: None) -> None:
    events = list(train(config(epochs=2)))
    progress = [e for e in events if isinstance(e, Progress)]
    assert [(e.epoch, e.step) for e in progress] == [(e, s) for e in (1, 2) for s in (1, 2, 3, 4)]
    # After the last step there is an evaluation on each of two splits, and no more.
    assert 0 < progress[-1].eta_s < progress[-1].elapsed_s
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
    assert 0 <= learning_rate(config(epochs=10, lr=0.1, schedule=schedule), step, 10) <= 0.1 + 1e-12


def test_weight_decay_can_leave_out_biases_and_normalisation() -> None:
    network = build(Architecture("cifar_resnet8", 10, 1), (0.3,), (0.4,), (8, 8))
    optimizer = make_optimizer(config(decay_norm_and_bias=False), network)
    assert [group["weight_decay"] for group in optimizer.param_groups] == [5e-4, 0.0]
    assert all(p.ndim == 1 for p in optimizer.param_groups[1]["params"])
    count = sum(p.numel() for group in optimizer.param_groups for p in group["params"])
    assert count == sum(p.numel() for p in network.parameters())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"epochs": 0}, "epochs must be >= 1, got 0"),
        ({"lr": -1.0}, "lr must be > 0, or 0 for the optimiser's usual, got -1.0"),
        ({"validation": 0.9}, r"validation must be a share in \[0, 0.5\]"),
        ({"optimizer": "adamw", "momentum": 0.5}, "momentum 0.5 would be ignored: adamw has none; leave it out"),
        ({"schedule": "onecycle", "warmup_epochs": 1.0}, "warmup_epochs 1.0 would be ignored: onecycle warms up"),
        ({"gamma": 0.5}, "gamma 0.5 would be ignored: the schedule cosine has none"),
        ({"milestones": (0.2,)}, "milestones .* would be ignored"),
        ({"weight_decay": 0.0, "decay_norm_and_bias": False}, "would be ignored: there is no weight decay"),
        ({"noise_kind": "similar"}, "would be ignored: label_noise is 0"),
        ({"similar": "none"}, "would be ignored: neither ce nor label noise reads similar classes"),
        ({"lr": math.nan}, "lr must be"),
        ({"batch_size": 1}, "batch_size must be >= 2"),
        ({"method": "kdd"}, "Unknown method 'kdd'. Nearest of [0-9]+: .*kd"),
        ({"method": "kd", "teacher": None}, "Choose a teacher"),
        ({"schedule": "linear"}, "Unknown schedule 'linear'"),
        ({"parameters": {"tau": 1.0}}, "Unknown parameter of method 'ce' 'tau'"),
        ({"method": "lsd", "parameters": {"epsilon": 2.0}}, "epsilon must be <= 1, got 2.0"),
        ({"milestones": (0.9, 0.1), "schedule": "multistep"}, "milestones must rise"),
        ({"warmup_epochs": 9.0}, "below epochs"),
        ({"seed": True}, "seed must be a whole number, got True"),
    ],
)
def test_a_wrong_setting_names_value_and_constraint(changes: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        RunConfig(**({"epochs": 3} | changes))  # type: ignore[arg-type]


def test_a_configuration_survives_json() -> None:
    run = config("fn", parameters={"tau": 2.0}, schedule="multistep", milestones=(0.3, 0.6))
    assert RunConfig.from_dict(json.loads(json.dumps(run.to_dict()))) == run
    with pytest.raises(UserError, match="Unknown setting of a run 'speed'"):
        RunConfig.from_dict({"speed": 1})


def test_a_run_trains_on_the_few_and_wrong_labels_it_was_given(tmp_path: Path) -> None:
    line = metrics(RunConfig(epochs=1, per_class=5, label_noise=0.4, batch_size=50, lr=0.01), tmp_path)[0]
    assert 0 <= line.train_accuracy <= 1
    # 50 samples in a step, so the share of right ones has a denominator of 50.
    assert line.train_accuracy * 50 == pytest.approx(round(line.train_accuracy * 50))
    with pytest.raises(UserError, match="no similar classes"):
        metrics(RunConfig(epochs=1, label_noise=0.4, noise_kind="similar"))


def test_agreement_is_with_the_given_teacher_even_where_the_method_has_none(few: None) -> None:
    line = metrics(config("ce", teacher="digits-teacher"))[-1]
    held = load_training(dataset_info("digits"), 0.1)[1]
    assert line.agreement is not None and held is not None
    right = evaluate(load_checkpoint("digits-teacher")[0], held.subset(torch.arange(40)))["accuracy"]
    # Both are right on at least so many, and wrong together at most on the rest.
    assert right is not None and line.accuracy + right - 1 <= line.agreement <= 1
    assert metrics(config("ce", epochs=1))[0].agreement is None

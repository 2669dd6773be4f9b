"""What can be seen of a run: it is right, it is small, and the run is the same whether or not anybody looks."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from fnkd_core.checkpoints.io import read_state
from fnkd_core.data import load_split
from fnkd_core.errors import UserError
from fnkd_core.files import append_json
from fnkd_core.kd.losses import loss_terms
from fnkd_core.training import loop, telemetry
from fnkd_core.training.augmented import Augmented, Batch
from fnkd_core.training.compiled import Compiled
from fnkd_core.training.config import RunConfig
from fnkd_core.training.distributed import ALONE
from fnkd_core.training.gradients import STEPS_BETWEEN, Gradients, is_measured
from fnkd_core.training.loop import Metrics, Progress, train
from fnkd_core.training.resolve import resolve
from fnkd_core.training.setup import Setup, completed, objective_at, prepare, rehearse, teach
from fnkd_core.training.step import train_step
from fnkd_core.training.telemetry import histogram, steps_between
from tests.training.tools import plain

FILES = ("steps.jsonl", "norms.jsonl")
USUAL: dict[str, Any] = {"method": "fn", "teacher": "digits-teacher", "epochs": 3, "batch_size": 40, "per_class": 13}


def config(**changes: Any) -> RunConfig:
    return RunConfig(**(USUAL | {"threads": 1} | changes))


def trained(folder: Path | None, **changes: Any) -> list[Metrics]:
    return [event for event in train(config(**changes), folder) if isinstance(event, Metrics)]


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def timeless(line: dict[str, Any]) -> dict[str, Any]:
    """The line without what no two runs have in common."""
    varying = ("seconds", "samples_per_s", "memory", "memory_peak", "device_memory_peak")
    return {k: v for k, v in line.items() if k not in varying}


def begun(**changes: Any) -> tuple[Setup, Batch]:
    """A run before its first step, and a batch of it."""
    samples = load_split("digits", "train").subset(torch.arange(64))
    setup = prepare(resolve(config(**changes)), 64)
    list(completed(setup, samples))
    images = Augmented(samples, False, 0, setup.device)
    if setup.teacher is not None:
        list(teach(setup, images))
    setup.objective = objective_at(setup)
    setup.student.train()
    return setup, next(images.epoch(torch.arange(64), 64, 0, ALONE))


def test_a_line_of_steps_is_the_mean_since_the_line_before(tmp_path: Path) -> None:
    epochs = trained(tmp_path)
    found = lines(tmp_path / "steps.jsonl")
    assert [(line["epoch"], line["step"]) for line in found] == [(e, s) for e in (1, 2, 3) for s in (1, 2, 3, 4)]
    for metrics in epochs:
        own = [line for line in found if line["epoch"] == metrics.epoch]
        for name in ("loss", "hard", "soft", "temperature"):
            # 130 samples, of which the last batch has 10.
            mean = np.average([line[name] for line in own], weights=[40, 40, 40, 10])
            assert mean == pytest.approx(getattr(metrics, name), rel=1e-5)
        assert own[-1]["lr"] == pytest.approx(metrics.lr, rel=1e-5, abs=1e-9)
    assert all(0 < line["memory"] <= line["memory_peak"] and line["samples_per_s"] > 0 for line in found)
    assert {line["device_memory_peak"] for line in found} == {None}


def test_the_histogram_is_of_the_norms_that_the_epoch_is_evaluated_by(tmp_path: Path) -> None:
    epochs = trained(tmp_path)
    found = lines(tmp_path / "norms.jsonl")
    assert [line["epoch"] for line in found] == [1, 2, 3] and {line["split"] for line in found} == {"validation"}
    for line, metrics in zip(found, epochs, strict=True):
        assert sum(line["counts"]) == 142 and len(line["counts"]) == 40
        width = (line["high"] - line["low"]) / 40
        middles = line["low"] + (np.arange(40) + 0.5) * width
        assert np.average(middles, weights=line["counts"]) == pytest.approx(metrics.norm, abs=width / 2)


def test_norms_that_are_all_equal_have_a_histogram() -> None:
    found = histogram(torch.zeros(7))
    assert found["low"] < 0 < found["high"] and sum(found["counts"]) == 7


@pytest.mark.parametrize(("epochs", "steps"), [(240, 782), (10_000, 12), (1, 100_000), (3, 5)])
def test_a_run_of_any_length_has_about_two_thousand_lines_at_most(epochs: int, steps: int) -> None:
    between = steps_between(epochs, steps)
    assert epochs * steps / between <= 2000 and steps / between <= 200
    assert between == 1 or epochs * steps / between > 150


def test_the_lines_of_240_epochs_take_less_than_a_megabyte(tmp_path: Path) -> None:
    """Driven as a loop drives it that reads its sums every 20 steps."""
    setup, _ = begun(epochs=240)
    setup.steps_per_epoch = 800
    with telemetry.Telemetry(setup, tmp_path, 0) as watching:
        for epoch in range(240):
            watching.begin_epoch(epoch)
            for step in range(20, 801, 20):
                totals = dict.fromkeys(("loss", "hard", "soft", "temperature", "correct"), math.pi * 128 * step)
                watching.stepped(step, totals, 128 * step, 0.1 / 3)
            line = {"epoch": epoch + 1, "evaluated_on": "validation"}
            watching.end_epoch(line, torch.linspace(0.1, 9.7, 5000))
    assert 1500 < len(lines(tmp_path / "steps.jsonl")) <= 2000
    assert sum((tmp_path / name).stat().st_size for name in FILES) < 1e6


def test_a_run_that_is_watched_is_to_the_bit_one_that_is_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    watched = trained(tmp_path / "watched", tensorboard=True)
    state = torch.get_rng_state()
    without = trained(None)
    assert torch.equal(state, torch.get_rng_state())
    assert [timeless(dataclasses.asdict(m)) for m in watched] == [timeless(dataclasses.asdict(m)) for m in without]
    monkeypatch.setattr(loop, "is_measured", lambda epoch, steps: False)
    monkeypatch.setattr(telemetry.Telemetry, "stepped", lambda *_: None)
    trained(tmp_path / "blind")
    a, b = (read_state(tmp_path / name / "model.safetensors") for name in ("watched", "blind"))
    assert a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)
    assert lines(tmp_path / "blind" / "metrics.jsonl")[0]["soft_share"] is None


@pytest.mark.parametrize("stop", [(1, 2), (2, 1), (2, 4), (3, 3)])
def test_a_run_that_was_stopped_anywhere_ends_with_the_lines_of_one_that_was_not(
    stop: tuple[int, int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(telemetry, "WAIT_S", -1.0)  # each line at once, as of a run whose steps take long
    trained(tmp_path / "whole")
    cut = tmp_path / "cut"
    for event in train(config(), cut):
        if isinstance(event, Progress) and (event.epoch, event.step) == stop:
            break
    assert lines(cut / "steps.jsonl")
    # What a killed process leaves: half a line, and lines of an epoch that was not saved.
    with (cut / "steps.jsonl").open("a") as file:
        file.write('{"epoch": 3, "ste')
    append_json(cut / "norms.jsonl", {"epoch": 3, "split": "validation", "low": 0.0, "high": 1.0, "counts": [1]})
    trained(cut)
    for name in FILES:
        resumed, whole = ([timeless(line) for line in lines(tmp_path / run / name)] for run in ("cut", "whole"))
        assert resumed == whole


def test_a_damaged_file_of_lines_stops_no_run(tmp_path: Path) -> None:
    for event in train(config(), tmp_path):
        if isinstance(event, Metrics):
            break
    for name in FILES:
        (tmp_path / name).write_bytes(b"\0\xff\n{}\n")
    assert [line.epoch for line in trained(tmp_path)] == [2, 3]
    for name in FILES:
        assert {line["epoch"] for line in lines(tmp_path / name)} == {2, 3}


@pytest.mark.parametrize("method", ["fn", "kd", "dkd", "ctkd", "ce"])
def test_the_two_gradients_are_those_of_each_term_on_its_own(method: str) -> None:
    teacher = None if method == "ce" else "digits-teacher"
    setup, batch = begun(method=method, teacher=teacher, student="cifar_resnet8")
    objective = setup.objective
    assert objective is not None
    with torch.random.fork_rng():
        before = {k: v.clone() for k, v in setup.student.state_dict().items()}
        terms = loss_terms(
            objective, setup.student(batch.images), batch.labels, setup.teach(batch) if setup.teach else None
        )
        weights = list(setup.student.parameters())

        def gradient(term: torch.Tensor) -> torch.Tensor:
            found = torch.autograd.grad(term.mean(), weights, retain_graph=True, allow_unused=True)
            return torch.cat(
                [(torch.zeros_like(p) if g is None else g).flatten() for p, g in zip(weights, found, strict=True)]
            )

        hard = gradient(objective.hard_weight * terms["hard"])
        soft = gradient(objective.soft_weight * terms["soft"]) if objective.soft else hard * 0
        setup.student.load_state_dict(before)
    apart = Gradients(setup)
    train_step(setup, batch, 0.01, apart)
    found = apart.read()
    assert found["gradient_hard"] == pytest.approx(float(hard.norm()), rel=1e-4)
    if method == "ce":
        assert found["gradient_soft"] is None and found["soft_share"] is None
        return
    assert found["gradient_soft"] == pytest.approx(float(soft.norm()), rel=1e-4)
    cosine = float(torch.nn.functional.cosine_similarity(hard, soft, dim=0))
    assert found["gradient_cosine"] == pytest.approx(cosine, abs=1e-4)
    assert found["soft_share"] == pytest.approx(float(soft.norm() / (hard.norm() + soft.norm())), rel=1e-4)


def test_a_soft_term_without_weight_does_nothing_and_is_said_to() -> None:
    setup, batch = begun(parameters={"lambda": 0.0})
    apart = Gradients(setup)
    train_step(setup, batch, 0.01, apart)
    found = apart.read()
    assert found["gradient_soft"] == 0 and found["soft_share"] == 0 and found["gradient_cosine"] is None
    assert found["gradient_hard"]


def test_gradients_of_a_scaled_loss_are_those_of_the_loss() -> None:
    """As float16 has it: the scaler's factor is in every gradient."""
    read = []
    for enabled in (False, True):
        setup, batch = begun()
        setup.scaler = torch.amp.GradScaler("cpu", init_scale=1024.0, enabled=enabled)
        apart = Gradients(setup)
        train_step(setup, batch, 0.01, apart)
        read.append(apart.read())
    assert read[0] == pytest.approx(read[1], rel=1e-3)


def test_the_gradients_of_a_compiled_student_are_taken_apart_too() -> None:
    read = []
    for compiled in (False, True):
        setup, batch = plain()
        if compiled:
            setup.forward = Compiled(setup.student)
        apart = Gradients(setup)
        train_step(setup, batch, 0.01, apart)
        read.append(apart.read())
    assert read[0] == pytest.approx(read[1], rel=1e-3)


def test_gradients_are_taken_apart_once_an_epoch_and_at_most_once_in_so_many_steps() -> None:
    assert all(is_measured(epoch, STEPS_BETWEEN) for epoch in range(5))
    for steps in (1, 12, 63, 64, 800):
        count = sum(is_measured(epoch, steps) for epoch in range(500))
        assert count == pytest.approx(min(500, 500 * steps / STEPS_BETWEEN), abs=1)


def test_without_the_package_for_tensorboard_one_line_says_how_to_install_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    for begin in (lambda: rehearse(config(tensorboard=True)), lambda: trained(tmp_path / "run", tensorboard=True)):
        with pytest.raises(UserError, match=r"pip install 'fnkd-lab\[tensorboard\]'"):
            begin()
    assert not (tmp_path / "run").exists()


def test_event_files_hold_what_the_lines_hold_and_a_run_that_goes_on_leaves_no_doubles(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    for event in train(config(tensorboard=True), tmp_path):
        if isinstance(event, Progress) and (event.epoch, event.step) == (2, 3):
            break
    trained(tmp_path, tensorboard=True)
    assert len(list((tmp_path / "tensorboard").iterdir())) == 2
    events = EventAccumulator(str(tmp_path / "tensorboard"), {"histograms": 0, "scalars": 0}).Reload()
    steps, epochs = lines(tmp_path / "steps.jsonl"), lines(tmp_path / "metrics.jsonl")
    for name in ("loss", "hard", "soft", "lr", "memory"):
        found = [(one.step, one.value) for one in events.Scalars(f"step/{name}")]
        assert [step for step, _ in found] == list(range(1, 13))
        assert [value for _, value in found] == pytest.approx([line[name] for line in steps], rel=1e-6)
    for name in ("accuracy", "norm"):
        found = [(one.step, one.value) for one in events.Scalars(f"epoch/{name}")]
        assert found == [(4 * line["epoch"], pytest.approx(line[name], rel=1e-6)) for line in epochs]
    assert [one.step for one in events.Scalars("epoch/soft_share")] == [4]
    histograms = events.Histograms("norm on validation")
    for one, line in zip(histograms, lines(tmp_path / "norms.jsonl"), strict=True):
        assert one.step == 4 * line["epoch"] and one.histogram_value.num == 142
        assert [n for n in one.histogram_value.bucket if n] == [n for n in line["counts"] if n]


def test_a_setting_that_changes_no_result_is_no_part_of_what_a_run_is(tmp_path: Path) -> None:
    for event in train(config(), tmp_path):
        if isinstance(event, Metrics):
            break
    assert [line.epoch for line in trained(tmp_path, tensorboard=True)] == [2, 3]
    assert resolve(config(tensorboard=True)).identity == resolve(config()).identity

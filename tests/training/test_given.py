"""What a method reads of its teacher besides outputs: made once, right, and no part of the student."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from fnkd_core.checkpoints.io import load_checkpoint, read_state
from fnkd_core.data import Samples, load_split
from fnkd_core.kd.transport import head_distances
from fnkd_core.models.inference import predict
from fnkd_core.paths import teacher_outputs_dir
from fnkd_core.training.config import RunConfig
from fnkd_core.training.estimate import measure
from fnkd_core.training.loop import Metrics, train
from fnkd_core.training.resolve import resolve
from fnkd_core.training.setup import Setup, completed, objective_at, prepare


@pytest.fixture
def samples() -> Samples:
    return load_split("digits", "train").subset(torch.arange(192))


def config(method: str = "nd", **changes: object) -> RunConfig:
    usual = {"epochs": 2, "batch_size": 64, "per_class": 10, "student": "cifar_resnet8", "augment": False}
    return RunConfig(**({"method": method, "teacher": "digits-teacher"} | usual | changes))  # type: ignore[arg-type]


def ready(run: RunConfig, samples: Samples) -> Setup:
    setup = prepare(resolve(run), len(samples))
    for event in completed(setup, samples):
        assert event.total == len(samples)
    return setup


def lines(run: RunConfig, folder: Path | None = None) -> list[tuple[float, ...]]:
    found = [event for event in train(run, folder) if isinstance(event, Metrics)]
    return [(event.loss, event.hard, event.soft, event.accuracy) for event in found]


def test_class_means_are_the_teacher_s_mean_features_by_class(samples: Samples) -> None:
    found = ready(config(), samples).given["class_means"]
    teacher, _ = load_checkpoint("digits-teacher")
    features = torch.cat([outputs.features for outputs in predict(teacher, samples.images)]).double()
    for label in range(10):
        expected = features[samples.labels == label].mean(0)
        torch.testing.assert_close(found[label].double(), expected, rtol=2e-3, atol=2e-3)
    assert found.shape == (10, features.shape[1])


def test_class_means_are_made_once_for_all_runs_with_the_same_labels(samples: Samples) -> None:
    # Few labels would be drawn by the seed.
    ready(config(per_class=None), samples)
    (path,) = teacher_outputs_dir().rglob("class_means.npy")
    made = path.stat().st_mtime_ns
    assert not list(completed(prepare(resolve(config(per_class=None, seed=3)), 192), samples))
    assert path.stat().st_mtime_ns == made and not list(teacher_outputs_dir().rglob("features.npy"))
    # Wrong labels give other means; those of the right ones stay.
    wrong = Samples(**{**vars(samples), "labels": (samples.labels + 1) % 10})
    others = ready(config(per_class=None), wrong).given["class_means"]
    torch.testing.assert_close(others[1:], ready(config(per_class=None), samples).given["class_means"][:-1])
    assert len(list(teacher_outputs_dir().rglob("class_means.npy"))) == 2


def test_damaged_class_means_are_made_anew(samples: Samples) -> None:
    whole = ready(config(), samples).given["class_means"]
    (path,) = teacher_outputs_dir().rglob("class_means.npy")
    path.write_bytes(path.read_bytes()[:-8])
    assert torch.equal(ready(config(), samples).given["class_means"], whole)


def test_class_distances_are_of_the_teacher_s_head_or_of_the_groups(samples: Samples) -> None:
    setup = ready(config("wkd"), samples)
    teacher, _ = load_checkpoint("digits-teacher")
    assert torch.equal(setup.given["distances"], head_distances(teacher.head.weight))
    (of_head, _label) = objective_at(setup).soft
    assert of_head.divergence.distances is setup.given["distances"]  # type: ignore[union-attr]
    groups = ready(config("wkd", parameters={"costs": "similar"}, similar="none"), samples)
    (of_groups, _label) = objective_at(groups).soft
    expected = 1 - torch.eye(10)
    assert torch.equal(of_groups.divergence.distances.cpu(), expected)  # type: ignore[union-attr]


def test_a_projector_is_learnt_where_the_widths_differ_and_is_no_part_of_the_student(tmp_path: Path) -> None:
    run = config(student="wrn_16_2", batch_size=32, per_class=4, lr=0.01)
    whole = lines(run, tmp_path / "whole")
    assert not any("project" in name for name in read_state(tmp_path / "whole" / "model.safetensors"))
    events = train(run, tmp_path / "cut")
    next(event for event in events if isinstance(event, Metrics))
    events.close()  # type: ignore[attr-defined]
    saved = torch.load(tmp_path / "cut" / "state.pt", weights_only=True)["projector"]["weight"]
    began = prepare(resolve(run), 40)
    assert began.projector is not None and began.student.num_features == saved.shape[1] != saved.shape[0]
    assert not torch.equal(began.projector.weight.detach(), saved)
    assert lines(run, tmp_path / "cut") == whole[1:]


def test_a_student_of_the_teacher_s_width_has_no_projector(samples: Samples) -> None:
    setup = ready(config(), samples)
    assert setup.projector is None and setup.beside == []


def test_time_is_measured_without_the_teacher_s_means() -> None:
    for method in ("nd", "wkd"):
        assert measure(config(method), num_steps=1).step_s > 0
    assert not list(teacher_outputs_dir().rglob("class_means.npy"))


@pytest.mark.parametrize("method", ["nd", "wkd"])
def test_resuming_gives_what_an_uninterrupted_run_gives(method: str, tmp_path: Path) -> None:
    run = config(method)
    whole = lines(run)
    events = train(run, tmp_path)
    next(event for event in events if isinstance(event, Metrics))
    events.close()  # type: ignore[attr-defined]
    assert lines(run, tmp_path) == whole[1:]

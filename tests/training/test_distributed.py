"""Several processes train the student that one would: the same batches, each sample once, one that writes."""

from __future__ import annotations

import functools
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest
import torch
import torch.distributed as dist
from torch.distributed.algorithms.ddp_comm_hooks.default_hooks import allreduce_hook

from fnkd_core.checkpoints.io import load_checkpoint, read_state
from fnkd_core.cli import main
from fnkd_core.cli.train import _shared_run
from fnkd_core.data import load_split
from fnkd_core.data.views import Augmentation
from fnkd_core.errors import UserError
from fnkd_core.jobs.control import cancel, end_run, reopen, start, submit, wait
from fnkd_core.jobs.launch.rank import ranks_lock, words_of_others
from fnkd_core.jobs.run import Run, create_run
from fnkd_core.jobs.worker import work
from fnkd_core.locks import in_use
from fnkd_core.models.classifier import Classifier
from fnkd_core.paths import environment, teacher_outputs_dir
from fnkd_core.stores.epochs import kept_epochs, unseen
from fnkd_core.training.augmented import Augmented, Batch
from fnkd_core.training.compiled import Compiled
from fnkd_core.training.config import RunConfig
from fnkd_core.training.distributed import Group, synchronise
from fnkd_core.training.evaluate import evaluate
from fnkd_core.training.gradients import Gradients
from fnkd_core.training.loop import _placed
from fnkd_core.training.resolve import resolve
from fnkd_core.training.setup import Setup, completed, objective_at, prepare, teach
from fnkd_core.training.step import train_step
from tests.training.tools import gradient, plain
from tests.waiting import until

LIMIT_S = 300
# A batch that two processes cannot halve, and a split of odd size.
USUAL: dict[str, Any] = {"method": "fn", "teacher": "digits-teacher", "batch_size": 33, "epochs": 1, "per_class": 67}
# Each of the processes trains a network without batch norm under the name of one with it, and takes a step.
RANK = """
import json, sys
from pathlib import Path
import torch
from torch import nn
from fnkd_core.models import zoo
from fnkd_core.training.config import RunConfig
from fnkd_core.training.distributed import joined_group, shared
from fnkd_core.training.loop import train
from tests.training.test_distributed import one_step

class Plain(nn.Module):
    def __init__(self, classes, channels, depth):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(channels, 16, 3), nn.ReLU(), nn.Flatten(), nn.Linear(576, 32), nn.ReLU())
        self.fc = nn.Linear(32, classes)

    def forward(self, images):
        return self.fc(self.body(images))

zoo.FAMILIES[r"cifar_vgg(\\d+)"] = Plain
with joined_group() as group:
    for name, settings in json.loads(sys.argv[2]).items():
        for _ in train(RunConfig.from_dict(settings), Path(sys.argv[1], name)):
            pass
    found = one_step(group, lambda student: shared(student, False, torch.device("cpu"), group))
    if group.leads:
        torch.save(found, Path(sys.argv[1], "step.pt"))
threads = [one.read_text() for one in Path("/proc/self/task").glob("*/comm")]
assert not [name for name in threads if "gloo" in name], "the group outlives the training"
"""
SHARED = """
from fnkd_core.training.distributed import joined_group
from tests.training.test_distributed import assert_averaged_once, assert_compiles, assert_steps_compiled

with joined_group() as group:
    assert_averaged_once(group)
    assert_compiles(group)
    assert_steps_compiled(group)
print("done")
"""


def config(**changes: Any) -> RunConfig:
    return RunConfig(**(USUAL | {"threads": 1, "precision": "fp32", "lr": 0.01} | changes))


def weights(run: Run) -> dict[str, torch.Tensor]:
    return read_state(run.path / "model.safetensors")


def same_metrics(one: Run, two: Run, tolerance: float) -> None:
    for first, second in zip(one.metrics(), two.metrics(), strict=True):
        terms = (
            "loss",
            "hard",
            "soft",
            "temperature",
            "gradient_hard",
            "gradient_soft",
            "gradient_cosine",
            "soft_share",
        )
        for key in (*terms, "train_accuracy", "accuracy", "norm", "agreement"):
            assert second[key] == pytest.approx(first[key], rel=tolerance, abs=tolerance), key


TORCHRUN = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
RECIPE: dict[str, Any] = {
    "accumulate": 2, "clip_norm": 0.5, "mixup": 1.0, "cutmix": 1.0, "ema": 0.9, "body_lr": 0.5, "smoothing": 0.1,
    "weight_by_norm": -1.0,
    "method": "nd",  # learns a projector beside this student, which has other features than its teacher
}  # fmt: skip


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Under one/ what a process made, under two/ what two did: runs without batch norm and with it, of two in both of
    its kinds, and the terms of a step."""
    folder = tmp_path_factory.mktemp("made")
    (script := folder / "rank.py").write_text(RANK)
    usual: dict[str, Any] = {"student": "cifar_vgg8", "view_seed": 1, "keep_epochs": True}
    settings = {
        "live": config(**usual, teacher_outputs="live").to_dict(),
        "cached, with a recipe": config(**(usual | RECIPE), teacher_outputs="cached").to_dict(),
        "synchronised": config(student="cifar_resnet8").to_dict(),
        "local": config(student="cifar_resnet8", batch_norm="local").to_dict(),
    }
    for name, starter in (("one", []), ("two", TORCHRUN)):
        # One process has the same batch norm either way.
        trained = {kind: given for kind, given in settings.items() if starter or kind != "local"}
        command = [sys.executable, *starter, str(script), str(folder / name), json.dumps(trained)]
        place = environment() | {"FNKD_HOME": str(folder)}
        done = subprocess.run(command, env=place, capture_output=True, text=True, check=False, timeout=LIMIT_S)
        assert done.returncode == 0, done.stderr
        assert "FutureWarning" not in done.stderr
    return folder


@pytest.mark.parametrize("outputs", ["live", "cached, with a recipe"])
def test_without_batch_norm_two_processes_train_what_one_trains(outputs: str, made: Path) -> None:
    one, two = Run(made / "one" / outputs), Run(made / "two" / outputs)
    assert json.loads((two.path / "resolved.json").read_text())["world_size"] == 2
    a, b = weights(one), weights(two)
    assert a.keys() == b.keys() and any("body.3" in name for name in a)
    for name in a:  # after 21 steps
        torch.testing.assert_close(b[name], a[name], atol=1e-5, rtol=1e-5)
    same_metrics(one, two, 1e-5)
    (first,), (second,) = one.norms(), two.norms()
    assert sum(first["counts"]) == sum(second["counts"]) and second["high"] == pytest.approx(first["high"], rel=1e-5)
    assert [(line["epoch"], line["step"]) for line in two.steps()] == [(1, 20), (1, 21)]  # the sums are read then
    assert two.steps()[-1]["samples_per_s"] > 0
    kept, of_two = (kept_epochs(run.path) for run in (one, two))
    assert kept is not None and of_two is not None and kept.samples.equals(of_two.samples)
    alone, shared = kept.read(1), of_two.read(1)
    assert (alone["prediction"] == unseen(10)).sum() == 670 % 33 % 2 and len(alone) == 670
    for column in ("norm", "p_label"):  # the last of 21 steps sees weights that differ by rounding
        np.testing.assert_allclose(alone[column].astype(float), shared[column].astype(float), rtol=2e-3, atol=2e-3)
    assert (alone["prediction"] == shared["prediction"]).mean() > 0.99


def one_step(group: Group, share: Callable[[Classifier], Any]) -> dict[str, torch.Tensor]:
    """The gradient of a step of `dist` on mixed images by the norms' temperatures, with its terms in whole."""
    torch.set_num_threads(1)
    parameters = {"policy": "norm", "unit": 9.0, "columns": 2.0}
    setup, _ = plain(method="dist", teacher="digits-teacher+digits-kd", parameters=parameters, lr=0.0001)
    setup.group, setup.forward = group, share(setup.student)
    samples = load_split("digits", "train").subset(torch.arange(47))  # which two processes cannot halve
    images = Augmented(samples, True, 0, setup.device, Augmentation(mixup=0.5))
    (batch,) = images.epoch(torch.arange(47), 47, 0, group)
    gradients = Gradients(setup)
    terms = train_step(setup, batch, 0.0, gradients)
    read = torch.tensor([value or 0.0 for value in gradients.read().values()])
    return {"gradient": gradient(setup), "taken apart": read} | {k: group.joined(v) for k, v in terms.items()}


def assert_averaged_once(group: Group) -> None:
    """A step of three parts averages the gradients of its layers over the processes once."""
    asked: list[int] = []
    setup, batch = plain_of(group, accumulate=3)
    assert isinstance(setup.forward, torch.nn.parallel.DistributedDataParallel)
    setup.forward.register_comm_hook(
        None, lambda _, bucket: (asked.append(bucket.index()), allreduce_hook(dist.group.WORLD, bucket))[1]
    )
    train_step(setup, batch, 0.1)
    assert asked and sorted(asked) == [*range(len(asked))]


def assert_compiles(group: Group) -> None:
    """Synchronised batch norm is one graph, which computes what it computes without."""
    torch.manual_seed(group.rank)
    images, found = torch.randn(5 + group.rank, 3, 4, 4), []
    for kind in (lambda layer: layer, functools.partial(torch.compile, backend="aot_eager", fullgraph=True)):
        network = torch.nn.Sequential(torch.nn.BatchNorm2d(3), torch.nn.ReLU())
        synchronise(network, native=False)
        x = images.clone().requires_grad_()
        (kind(network)(x) ** 2).sum().backward()
        found.append([x.grad, *(p.grad for p in network.parameters()), *network.buffers()])
    torch.testing.assert_close(found[1], found[0])


def assert_steps_compiled(group: Group) -> None:
    """A step of a student with synchronised batch norm is the same compiled, its terms taken apart too."""
    found = []
    plainly = torch.compile
    for compiled in (False, True):
        with mock.patch.object(torch, "compile", functools.partial(plainly, backend="aot_eager")):
            setup, batch = plain_of(group, student="cifar_resnet8", compile="on" if compiled else "off")
        assert isinstance(setup.forward, Compiled) == compiled
        gradients = Gradients(setup)
        terms = train_step(setup, batch, 0.1, gradients)
        assert not compiled or setup.forward._compiled is not None
        read = torch.tensor([value or 0.0 for value in gradients.read().values()])
        found.append([*terms.values(), read, *setup.student.state_dict().values()])
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(other, one, rtol=1e-4, atol=1e-5)


def plain_of(group: Group, **changes: Any) -> tuple[Setup, Batch]:
    """A setup as a run has it, and a process's part of a batch."""
    run = config(**changes)
    setup = prepare(resolve(run), 33, group)
    samples = load_split("digits", "train").subset(torch.arange(33))
    images = Augmented(samples, True, 0, setup.device)
    list(completed(setup, samples))
    setup.objective = objective_at(setup)
    list(teach(setup, images))
    (batch,) = images.epoch(torch.arange(33), 33, 0, group)
    return setup, batch


def test_gradients_are_averaged_once_a_step_though_a_batch_has_parts_and_batch_norm_is_compiled(tmp_path: Path) -> None:
    (script := tmp_path / "rank.py").write_text(SHARED)
    command = [sys.executable, *TORCHRUN, str(script)]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, check=False, timeout=LIMIT_S)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("done") == 2


def test_a_loss_of_a_whole_batch_is_that_of_all_processes_images(made: Path) -> None:
    one, two = (torch.load(made / name / "step.pt") for name in ("one", "two"))
    assert one.keys() == two.keys() and len(two["loss"]) == 47 and float(one["gradient"].norm()) > 0
    for name, values in one.items():
        torch.testing.assert_close(two[name], values, rtol=1e-4, atol=1e-6, msg=lambda text, of=name: f"{of}: {text}")


def test_with_synchronised_batch_norm_two_processes_train_what_one_trains(made: Path) -> None:
    one, two = Run(made / "one" / "synchronised"), Run(made / "two" / "synchronised")
    a, b = weights(one), weights(two)
    assert a.keys() == b.keys() and any("running_var" in name for name in a)
    # Rounding grows by a factor of about 1.5 a step.
    for name in a:
        torch.testing.assert_close(b[name], a[name], atol=2e-3, rtol=2e-3)
    same_metrics(one, two, 5e-3)
    assert one.results["last"]["accuracy"] == pytest.approx(two.results["last"]["accuracy"], abs=0.01)
    # A checkpoint of it is one like any other, and names no process.
    assert load_checkpoint(two.path / "model.safetensors")[0].num_classes == 10


def test_batch_norm_of_each_process_s_own_part_is_another_training(made: Path) -> None:
    a, b = (weights(Run(made / "two" / name)) for name in ("synchronised", "local"))
    assert max(float((a[name] - b[name]).abs().max()) for name in a if "running" not in name) > 0.01


@pytest.mark.parametrize("kind", ["local", "synchronised"])
def test_what_a_run_says_of_its_student_is_so_of_the_file_that_it_leaves(made: Path, kind: str) -> None:
    run = Run(made / "two" / kind)
    student = load_checkpoint(run.path / "model.safetensors")[0]
    found = evaluate(student, load_split("digits", "test"))
    for name in ("accuracy", "nll", "ece", "norm"):
        assert run.results["last"][name] == pytest.approx(found[name], rel=1e-4), name


@pytest.mark.parametrize(
    ("device", "seen", "found"),
    [
        ("auto", 2, "cuda:1"), ("cuda", 2, "cuda:1"), ("cpu", 0, "cpu"), ("cpu", 1, "cpu"), ("auto", 0, "auto"),
        ("auto", 1, "2 processes of this run are on a machine with 1 GPU for them; give --device cpu, or as many"),
        ("cuda:1", 2, "device cuda:1 is one, and 2 processes share this run; give --device cuda, or"),
    ],
)  # fmt: skip
def test_every_process_has_a_gpu_of_its_own_or_none_of_them_has(
    device: str, seen: int, found: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: seen > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: seen)
    placed = functools.partial(_placed, config(device=device, devices=2), Group(1, 2, 1, 2))
    if " " not in found:
        assert placed().device == found
        return
    with pytest.raises(UserError) as caught:
        placed()
    assert str(caught.value).startswith(found)


def test_a_run_on_two_devices_that_still_asks_its_teacher_is_cancelled() -> None:
    run = submit(
        config(student="cifar_resnet8", devices=2, epochs=200, teacher_outputs="cached", view_seed=0).to_dict()
    )
    until(lambda: any(teacher_outputs_dir().rglob("view-*")))
    cancel(run)
    assert wait(run, LIMIT_S) == "cancelled" and not run.metrics()
    assert 0 < len(list(teacher_outputs_dir().rglob("view-*"))) < 200


def test_the_same_command_goes_on_with_a_run_of_several_machines_that_failed(tmp_path: Path) -> None:
    made = _shared_run(config(devices=2), str(tmp_path / "run"))
    run = Run(made)
    end_run(run, "failed", error="A process of this run was killed.")
    assert _shared_run(config(devices=2), str(tmp_path / "run")) == made and run.end is None
    end_run(run, "finished")
    assert _shared_run(config(devices=2), str(tmp_path / "run")) == made and run.state == "finished"
    with pytest.raises(UserError, match="other settings"):
        _shared_run(config(devices=2, epochs=9), str(tmp_path / "run"))


def test_a_run_on_two_devices_trains_what_one_process_trains_and_leaves_nothing_elsewhere(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = tmp_path / "temporary"
    elsewhere.mkdir()
    monkeypatch.setenv("TMPDIR", str(elsewhere))
    run = create_run(config(student="cifar_resnet8", devices=2).to_dict(), tmp_path / "run")
    assert work(run.path, queue=False) == 0
    assert run.state == "finished" and not in_use(ranks_lock(run))
    a, b = weights(Run(made / "one" / "synchronised")), weights(run)
    assert a.keys() == b.keys()
    for name in a:
        torch.testing.assert_close(b[name], a[name], atol=2e-3, rtol=2e-3)
    same_metrics(Run(made / "one" / "synchronised"), run, 5e-3)
    assert [path.name for path in elsewhere.iterdir() if "elastic" in path.name] == []


def test_a_run_on_two_devices_that_was_killed_goes_on_and_no_rank_outlives_it(tmp_path: Path) -> None:
    run = submit(config(devices=2, epochs=400, student="cifar_resnet8", per_class=20).to_dict())
    until(lambda: len(run.metrics()) >= 2 or run.state not in ("queued", "running"))
    assert run.state == "running" and in_use(ranks_lock(run))
    os.kill(json.loads((run.path / "started.json").read_text())["pid"], signal.SIGKILL)
    until(lambda: not in_use(ranks_lock(run)) and run.state == "interrupted")
    done = len(run.metrics())
    reopen(run)
    start(run)
    until(lambda: len(run.metrics()) > done or run.state not in ("queued", "running"))
    cancel(run)
    assert wait(run, 180) == "cancelled"
    assert [line["epoch"] for line in run.metrics()] == list(range(1, len(run.metrics()) + 1))
    assert not in_use(ranks_lock(run))


def test_a_rank_that_is_killed_ends_the_others_and_the_run_says_so_and_goes_on(tmp_path: Path) -> None:
    run = submit(config(devices=2, epochs=400, student="cifar_resnet8", per_class=20).to_dict())
    until(lambda: len(run.metrics()) >= 1 or run.state not in ("queued", "running"))
    ranks = [int(p) for p in ranks_of(run)]
    assert len(ranks) == 2
    os.kill(ranks[1], signal.SIGKILL)
    assert wait(run, 180) == "failed"
    assert "was killed" in run.end["error"] and "resume" in run.end["error"], run.end  # type: ignore[index]
    others = words_of_others(run)  # torchrun may end the other before it notices
    assert (f"one of the others with: {others}" in run.end["error"]) is bool(others)  # type: ignore[index]
    assert len(run.end["error"].splitlines()) == 1  # type: ignore[index]
    assert not ranks_of(run) and not in_use(ranks_lock(run))


def test_a_loss_that_is_no_number_ends_all_ranks_with_the_sentence_of_one(tmp_path: Path) -> None:
    run = create_run(config(devices=2, student="cifar_resnet8", lr=1e30).to_dict(), tmp_path / "run")
    assert work(run.path, queue=False) == 2
    assert "lower lr" in run.end["error"] and not in_use(ranks_lock(run))  # type: ignore[index]


def test_more_processes_than_a_batch_has_pairs_is_one_line() -> None:
    with pytest.raises(UserError, match="batch_size must be >= 2 for each of 20 devices, got 33"):
        config(devices=20)


def test_two_nodes_that_are_given_the_same_command_share_a_run(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        endpoint = f"127.0.0.1:{free.getsockname()[1]}"
    command = [sys.executable, "-m", "fnkd_core", "train", "--dataset", "digits", "--method", "ce", "--epochs", "1"]
    command += ["--per-class", "40", "--batch-size", "32", "--run-dir", str(tmp_path / "run"), "--threads", "1"]
    command += ["--nodes", "2", "--rdzv-endpoint", endpoint]
    nodes = [subprocess.Popen(command, env=environment(), stdin=subprocess.DEVNULL) for _ in range(2)]
    try:
        assert [node.wait(LIMIT_S) for node in nodes] == [0, 0]
    finally:
        for node in nodes:
            node.terminate()  # one that waits for the other would wait on
            node.wait(LIMIT_S)
    run = Run(tmp_path / "run")
    assert run.state == "finished" and len(run.metrics()) == 1
    assert json.loads((run.path / "resolved.json").read_text())["world_size"] == 2


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--nodes", "2"], "2 nodes need a place to meet; give --rdzv-endpoint HOST:PORT"),
        (["--nodes", "2", "--rdzv-endpoint", "a:1"], "2 nodes work in one folder; give --run-dir"),
        (["--rdzv-endpoint", "a:1"], "--rdzv-endpoint would be ignored: give --nodes N"),
        (["--nodes", "0"], "nodes must be >= 1, got 0"),
    ],
)
def test_nodes_that_cannot_meet_are_one_line(options: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "--dataset", "digits", "--method", "ce", *options]) == 2
    assert said in capsys.readouterr().err


def ranks_of(run: Run) -> list[str]:
    """The process ids of those that train in the run's folder."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().split(b"\0")
        except OSError:
            continue
        if b"fnkd_core.jobs.launch.rank" in words and str(run.path).encode() in words and b"-u" in words:
            found.append(path.parent.name)
    return sorted(found, key=int)

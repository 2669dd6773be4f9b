"""`fnkd train --engine ray` on a cluster of two nodes: one run, a process on each."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest

from fnkd_core.checkpoints.io import read_state
from fnkd_core.jobs.control import cancel
from fnkd_core.jobs.run import Run, create_run, list_runs
from fnkd_core.jobs.worker import work
from fnkd_core.training.config import RunConfig
from tests.pictures import write_folder
from tests.ray.tools import Cluster, Fnkd, answer
from tests.waiting import until

pytestmark = [pytest.mark.ray, pytest.mark.xdist_group("ray")]

SETTINGS: dict[str, Any] = {"teacher": "digits-teacher", "per_class": 20, "batch_size": 33, "threads": 1}


def start(fnkd: Fnkd, *arguments: str) -> Any:
    settings = [text for key, value in SETTINGS.items() for text in ("--" + key.replace("_", "-"), str(value))]
    where = ["--engine", "ray", "--address", fnkd.cluster.address]
    return fnkd.start("train", "--dataset", "digits", "--method", "fn", *settings, *arguments, *where, "--json")


def weights(run: Run) -> dict[str, bytes]:
    return {name: tensor.numpy().tobytes() for name, tensor in read_state(run.path / "model.safetensors").items()}


def local(folder: Path, **changes: Any) -> Run:
    run = create_run(RunConfig(dataset="digits", method="fn", **SETTINGS, **changes).to_dict(), folder)
    assert work(run.path, queue=False) == 0
    return run


def test_two_nodes_train_what_torchrun_trains_with_two_processes(fnkd: Fnkd, tmp_path: Path) -> None:
    done = answer(start(fnkd, "--epochs", "2", "--devices", "2"))
    run = list_runs()[0]
    assert done["state"] == "finished" == run.state and done["id"] == run.id
    assert "Finished." not in run.log_tail() and "epoch 2" in run.log_tail()
    assert not (run.path / "errors.jsonl").exists() and not list((fnkd.home / "cache" / "ray").iterdir())
    assert weights(run) == weights(local(tmp_path / "here", epochs=2, devices=2))
    assert run.results == Run(tmp_path / "here").results


def test_a_rank_killed_in_the_middle_ends_in_a_resumed_run_with_the_same_weights(
    fnkd: Fnkd, cluster: Cluster, tmp_path: Path
) -> None:
    child = start(fnkd, "--epochs", "30", "--devices", "2")
    until(lambda: list_runs() and len(list_runs()[0].metrics()) >= 3)
    os.kill(cluster.named("TrainWorker")[-1], signal.SIGKILL)
    assert answer(child)["state"] == "finished"
    run = list_runs()[0]
    assert len(run.sessions()) == 2 and len(run.metrics()) == 30
    assert weights(run) == weights(local(tmp_path / "here", epochs=30, devices=2))


def test_what_a_run_itself_fails_of_is_said_in_one_line_and_not_tried_again(fnkd: Fnkd) -> None:
    child = start(fnkd, "--epochs", "3", "--devices", "2", "--lr", "1e30")
    out, errors = child.communicate(timeout=300)
    assert child.returncode == 2, errors + out
    assert "The loss is no finite number any more" in errors and len(errors.splitlines()) == 1, errors
    run = list_runs()[0]
    assert run.state == "failed" and not run.metrics()


def test_files_are_decoded_by_a_process_beside_each_of_the_two(fnkd: Fnkd, cluster: Cluster, tmp_path: Path) -> None:
    root = write_folder(tmp_path / "set", count=24, size=(120, 100))
    data = ("--dataset", "folder", "--data-root", str(root), "--image-size", "96", "--batch-size", "8")
    how = ("--method", "ce", "--student", "cifar_resnet8", "--epochs", "200", "--workers", "1", "--threads", "1")
    where = ("--engine", "ray", "--address", fnkd.cluster.address, "--devices", "2", "--json")
    child = fnkd.start("train", *data, *how, *where)
    until(lambda: list_runs() and list_runs()[0].metrics())
    assert len(cluster.named("multiprocessing.forkserver")) >= 2
    cancel(list_runs()[0])
    assert answer(child)["state"] == "cancelled"
    until(lambda: not cluster.named("multiprocessing.forkserver"))


def test_a_cancelled_run_goes_on_on_the_cluster_in_the_background(fnkd: Fnkd) -> None:
    child = start(fnkd, "--epochs", "200", "--devices", "2")
    until(lambda: list_runs() and len(list_runs()[0].metrics()) >= 3)
    run = list_runs()[0]
    cancel(run)
    assert answer(child)["state"] == "cancelled" == run.state
    done = len(run.metrics())
    where = ("--engine", "ray", "--address", fnkd.cluster.address, "--background", "--json")
    answer(fnkd.start("runs", "resume", run.id, *where))
    until(lambda: len(run.metrics()) > done)
    cancel(run)
    until(lambda: run.state == "cancelled")

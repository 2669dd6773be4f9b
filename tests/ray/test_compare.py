"""`fnkd compare --engine ray` on a cluster of two nodes."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from fnkd_core.checkpoints.io import read_state
from fnkd_core.experiments.comparison import create_comparison, find_comparison, state_of, stop, work
from fnkd_core.experiments.plan import Cell
from fnkd_core.experiments.status import statuses_of
from fnkd_core.jobs.run import Run, list_runs
from fnkd_core.records import recall
from tests.ray.tools import Cluster, Fnkd, answer
from tests.waiting import until

pytestmark = [pytest.mark.ray, pytest.mark.xdist_group("ray")]


def weights(run: Run) -> dict[str, Any]:
    return {name: tensor.numpy().tobytes() for name, tensor in read_state(run.path / "model.safetensors").items()}


def local(cells: list[Cell], home: Path, monkeypatch: pytest.MonkeyPatch) -> list[Run]:
    """The runs of the same cells, trained in this process under another home."""
    with monkeypatch.context() as patch:
        patch.setenv("FNKD_HOME", str(home.with_name("local")))
        comparison = create_comparison(cells, "local")
        assert work(comparison.path) == 0
        return [s.run for s in statuses_of(cells) if s.run]


def test_a_matrix_ends_in_the_same_folder_as_a_local_one_with_the_same_bits(
    fnkd: Fnkd, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = ("--preset", "self-distillation", "--methods", "kd,fn", "--seeds", "1", "--epochs", "2")
    done = answer(fnkd.compare(*arguments))
    assert done["state"] == "finished" and done["rows"][0]["row"] == "ce generation=1"
    comparison = find_comparison(done["id"])
    found = statuses_of(comparison.cells)
    runs = [s.run for s in found if s.run]
    assert len(runs) == len(comparison.cells) == len(list_runs()) == 5
    ours = local(comparison.cells, home, monkeypatch)
    assert [weights(run) for run in runs] == [weights(run) for run in ours]
    for one, other in zip(runs, ours, strict=True):
        # The local one had a place in this machine's queue.
        names = [{p.name for p in run.path.iterdir()} - {"submitted", "slot.json"} for run in (one, other)]
        assert names[0] == names[1]
        assert one.results == other.results and one.identity
    again = answer(fnkd.compare(*arguments))
    assert {run["run"] for run in again["runs"]} == {run.id for run in runs}


def _begun(epochs: int = 3) -> Run | None:
    """The run that has come so far and is being worked on."""
    return next((r for r in list_runs() if r.state == "running" and len(r.metrics()) >= epochs), None)


def _pid(run: Run) -> int:
    return int(str(recall(run.path / "started.json")["pid"]))


def test_a_worker_killed_in_the_middle_ends_in_a_resumed_run_with_the_same_weights(
    fnkd: Fnkd, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    child = fnkd.compare("--methods", "fn", "--seeds", "1", "--epochs", "150")
    until(_begun)
    run = list_runs()[0]
    first = _pid(run)
    os.kill(first, signal.SIGKILL)
    done = answer(child)
    assert [r.id for r in list_runs()] == [run.id] and run.state == "finished"
    assert _pid(run) != first and len(run.sessions()) == 2 and len(run.metrics()) == 150
    cells = find_comparison(done["id"]).cells
    assert weights(run) == weights(local(cells, home, monkeypatch)[0])


def test_what_a_lost_node_takes_down_goes_on_on_another(fnkd: Fnkd, cluster: Cluster) -> None:
    child = fnkd.compare("--methods", "ce,kd", "--seeds", "1", "--epochs", "150")
    head = cluster.nodes[0]
    until(lambda: [r for r in list_runs() if r.state == "running" and r.metrics() and cluster.node_of(_pid(r)) != head])
    lost = next(r for r in list_runs() if r.state == "running" and cluster.node_of(_pid(r)) != head)
    cluster.kill(cluster.nodes[1])
    try:
        done = answer(child)
    finally:
        cluster.add()
    assert done["state"] == "finished"
    assert len(list_runs()) == 2 and {r.state for r in list_runs()} == {"finished"}
    assert len(lost.sessions()) == 2 and len(lost.metrics()) == 150


def test_a_stop_ends_it_with_the_last_epoch_kept_and_the_same_command_goes_on(fnkd: Fnkd) -> None:
    arguments = ("--methods", "ce", "--seeds", "3", "--epochs", "150")
    child = fnkd.compare(*arguments)
    until(_begun)
    comparison = find_comparison("digits")
    stop(comparison)
    done = answer(child)
    assert done["state"] == "stopped"
    states = {s.state for s in statuses_of(comparison.cells)}
    assert "cancelled" in states and states <= {"cancelled", "missing", "interrupted"}
    epochs = {r.id: len(r.metrics()) for r in list_runs()}
    assert max(epochs.values()) >= 3
    assert answer(fnkd.compare(*arguments))["state"] == "finished"
    assert {r.id for r in list_runs()} >= epochs.keys() and len(list_runs()) == 3


def test_in_the_background_it_goes_on_without_the_command(fnkd: Fnkd) -> None:
    done = answer(fnkd.compare("--methods", "ce", "--seeds", "2", "--epochs", "2", "--background"))
    assert done["state"] == "running"
    comparison = find_comparison(done["id"])
    until(lambda: not comparison.working)
    found = statuses_of(comparison.cells)
    assert state_of(comparison, found) == "finished", comparison.log_tail()


@pytest.mark.parametrize(
    ("arguments", "environment", "message"),
    [
        (["--address", "127.0.0.1:1"], {}, "No Ray cluster can be used at 127.0.0.1:1 (Connection refused); start one"),
        ([], {"RAY_AUTH_TOKEN": "0" * 64}, "(it asks for another token); start one with `ray start --head`"),
        (["--gpus-per-run", "1.5"], {}, "--gpus-per-run must be a whole number, or a share below 1 of one, got 1.5."),
    ],
)
def test_a_cluster_that_cannot_be_used_is_one_line(
    fnkd: Fnkd, arguments: list[str], environment: dict[str, str], message: str
) -> None:
    child = fnkd.compare("--methods", "ce", "--seeds", "1", *arguments, **environment)
    out, errors = child.communicate(timeout=120)
    assert child.returncode == 2 and len(errors.splitlines()) == 1, errors
    assert message in errors and "error" in json.loads(out)
    assert list_runs() == []

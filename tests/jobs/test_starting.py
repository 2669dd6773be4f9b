"""A run has an owner from the moment its process is started, however slowly that comes up."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from fnkd_core.errors import UserError
from fnkd_core.jobs import control, queue
from fnkd_core.jobs.control import cancel, start, wait
from fnkd_core.jobs.run import create_run, delete_run, list_runs
from fnkd_core.jobs.worker import work
from fnkd_core.locks import is_locked
from fnkd_core.paths import project_dir
from fnkd_core.training.config import RunConfig
from tests.waiting import until


def config(**changes: object) -> dict[str, object]:
    return RunConfig(**({"epochs": 2, "threads": 1} | changes)).to_dict()  # type: ignore[arg-type]


@pytest.fixture
def slow(worker: Callable[[str], list[str]], tmp_path: Path) -> tuple[list[str], Path]:
    """A process that reaches its folder only when it is told to, and what tells it."""
    go, command = tmp_path / "go", worker("yield Line(1)")
    path = Path(command[1])
    path.write_text(path.read_text().replace("sys.exit(work", f"told(pathlib.Path({str(go)!r}))\nsys.exit(work"))
    return command, go


def test_a_run_is_owned_from_the_moment_its_process_is_started_however_slowly_that_comes_up(
    slow: tuple[list[str], Path],
) -> None:
    command, go = slow
    run = create_run(config())
    start(run, command)
    assert run.state == "queued"
    until(lambda: not run.waits)
    assert is_locked(run.lock) and run.state == "queued"
    with pytest.raises(UserError, match="cancel it before deleting"):
        delete_run(run)
    with pytest.raises(UserError, match="owned by another process"):
        start(run, command)
    go.touch()
    assert wait(run, 180) == "finished"


def test_a_run_that_is_cancelled_while_it_starts_does_not_begin_and_once_deleted_leaves_nothing(
    slow: tuple[list[str], Path],
) -> None:
    command, go = slow
    run = create_run(config())
    start(run, command)
    until(lambda: not run.waits)
    cancel(run)
    go.touch()
    assert wait(run, 180) == "cancelled" and not (run.path / "started.json").exists()
    delete_run(run)
    for child in control._children:
        child.wait(180)
    assert list_runs() == [] and list(run.path.parent.iterdir()) == []


def test_a_clock_that_is_set_back_changes_no_order(monkeypatch: pytest.MonkeyPatch) -> None:
    runs = [create_run(config()) for _ in range(3)]
    runs.sort(key=lambda run: run.id, reverse=True)
    (runs[0].path / "submitted").write_text(str(4 * 10**18))  # as earlier versions wrote it, by a clock of 2096
    for run, now in zip(runs[1:], (2 * 10**18, 10**18), strict=True):
        monkeypatch.setattr("time.time_ns", lambda now=now: now)
        with queue.unchanged():
            queue.hand_in(run)
    assert sorted(runs, key=lambda run: run.place) == runs


SERVER = """
import signal, sys, time
from pathlib import Path
from fnkd_core.jobs.control import start
from fnkd_core.jobs.run import Run
signal.signal(signal.SIGINT, signal.default_int_handler)  # who started the tests may ignore both
signal.signal(signal.SIGHUP, signal.SIG_DFL)
for path in sys.argv[3:]:
    start(Run(Path(path)), sys.argv[1:3])
print("submitted", flush=True)
time.sleep(600)
"""


@pytest.mark.parametrize("told", [signal.SIGINT, signal.SIGHUP])
def test_a_signal_to_the_terminal_of_the_server_ends_no_job_and_no_queue(
    told: signal.Signals, worker: Callable[[str], list[str]]
) -> None:
    first, second = create_run(config()), create_run(config())
    command = [sys.executable, "-c", SERVER, *worker("told(folder / 'go')\n    yield Line(1)")]
    server = subprocess.Popen(
        [*command, str(first.path), str(second.path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        cwd=project_dir(),
    )
    assert server.stdout and server.stdout.readline() == b"submitted\n"
    until(lambda: (first.state, second.state) == ("running", "queued"))
    os.killpg(server.pid, told)
    assert server.wait(180) == (-told if told == signal.SIGHUP else -signal.SIGINT)
    server.stdout.close()
    assert (first.state, second.state) == ("running", "queued")
    (first.path / "go").touch()
    (second.path / "go").touch()
    assert (wait(first, 180), wait(second, 180)) == ("finished", "finished")


def test_a_run_whose_process_dies_before_it_begins_is_interrupted(worker: Callable[[str], list[str]]) -> None:
    run = create_run(config())
    start(run, [sys.executable, "-c", "pass"])
    until(lambda: run.state == "interrupted")
    delete_run(run)
    with pytest.raises(UserError, match="is gone; it was deleted"):
        work(run.path)
    assert not run.path.exists()

"""Jobs, with real processes: they outlive who started them, wait their turn, and lose nothing that was saved."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from fnkd_core.checkpoints.library import delete_checkpoint, find_checkpoint, list_checkpoints, of_run
from fnkd_core.errors import UserError
from fnkd_core.jobs.control import cancel, end_run, resume, start, submit, wait
from fnkd_core.jobs.export import export_student
from fnkd_core.jobs.run import Run, create_run, delete_run, find_run, list_runs, new_id
from fnkd_core.jobs.worker import work
from fnkd_core.paths import project_dir
from fnkd_core.records import read_json
from fnkd_core.training.config import RunConfig
from fnkd_core.training.loop import Metrics, train
from tests.tools import copy_checkpoint
from tests.waiting import until


def config(**changes: object) -> dict[str, object]:
    return RunConfig(**({"epochs": 2, "threads": 1} | changes)).to_dict()  # type: ignore[arg-type]


def owner(run: Run) -> int:
    """The process at work on the run."""
    return int(read_json(run.path / "started.json", dict[str, Any])["pid"])


def test_a_submitted_run_trains_and_its_student_is_in_the_library() -> None:
    run = submit(config(name="mine"))
    assert run.state in ("queued", "running")
    assert wait(run, 180) == "finished"
    assert len(run.metrics()) == 2 and "Finished." in run.log_tail()
    entry = of_run(run.path)
    assert entry is not None and entry.name == f"mine-{run.id[-8:]}"
    assert find_checkpoint(run.id).path == find_checkpoint(entry.name).path
    assert f"{entry.name}-best" in {e.name for e in list_checkpoints()}


def test_a_run_goes_on_where_the_device_that_it_began_on_is_not_and_says_on_which(home: Path) -> None:
    run = create_run(config())
    events = train(RunConfig.from_dict(run.config), run.path)
    next(event for event in events if isinstance(event, Metrics))
    events.close()
    resolved = json.loads((run.path / "resolved.json").read_text())
    (run.path / "resolved.json").write_text(json.dumps(resolved | {"device": "cuda:30"}))
    assert work(run.path) == 0 and run.state == "finished"
    assert [session["device"] for session in run.sessions()] == [resolved["device"]] * 2
    assert [session["processes"] for session in run.sessions()] == [1, 1]


def test_jobs_run_one_after_another_in_the_order_they_were_submitted(worker: Callable[[str], list[str]]) -> None:
    command = worker("yield Line(1)\n    told(folder / 'go')\n    yield Line(2)")
    runs = [create_run(config()) for _ in range(3)]
    # Ids of one second sort by chance: the order is that of the submissions, here the reverse of the ids.
    runs.sort(key=lambda run: run.id, reverse=True)
    for run in runs:
        start(run, command)
    for i, run in enumerate(runs):
        until(lambda run=run: run.state == "running")
        assert [r.state for r in runs] == ["finished"] * i + ["running"] + ["queued"] * (2 - i)
        (run.path / "go").touch()
        until(lambda run=run: run.state == "finished")
    begun = [(run.path / "started.json").stat().st_mtime_ns for run in runs]
    assert begun == sorted(begun)


def test_of_many_runs_submitted_at_once_never_two_are_at_work(
    worker: Callable[[str], list[str]], tmp_path: Path
) -> None:
    inside, spoilt = tmp_path / "inside", tmp_path / "spoilt"
    body = f"""
    inside, spoilt = pathlib.Path({str(inside)!r}), pathlib.Path({str(spoilt)!r})
    try:
        inside.mkdir()
    except FileExistsError:
        spoilt.touch()
    yield Line(1)
    time.sleep(0.05)
    inside.rmdir()
"""
    runs = [create_run(config()) for _ in range(6)]
    command = worker(body)
    for run in runs:
        start(run, command)
    for run in runs:
        assert wait(run, 120) == "finished"
    assert not spoilt.exists()


def test_a_job_outlives_the_process_that_started_it(home: Path) -> None:
    program = (
        "from fnkd_core.jobs.control import submit; from fnkd_core.training.config import RunConfig; import time;"
        "print(submit(RunConfig(epochs=3, threads=1).to_dict()).id, flush=True); time.sleep(600)"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", program],
        stdout=subprocess.PIPE,
        text=True,
        cwd=project_dir(),
        start_new_session=True,
    )
    assert parent.stdout
    run = find_run(parent.stdout.readline().strip())
    os.killpg(parent.pid, signal.SIGKILL)
    parent.wait()
    parent.stdout.close()
    assert wait(run, 180) == "finished"


def test_a_killed_run_is_interrupted_and_resumes_with_what_was_saved() -> None:
    run = submit(config(epochs=40))
    until(lambda: len(run.metrics()) >= 3)
    os.kill(owner(run), signal.SIGKILL)
    until(lambda: run.state == "interrupted")
    before = run.metrics()
    with pytest.raises(UserError, match="only a finished run"):
        export_student(run, run.path)
    resume(run)
    until(lambda: len(run.metrics()) > len(before))
    assert run.metrics()[: len(before)] == before
    cancel(run)
    assert wait(run, 180) == "cancelled"
    assert run.metrics()[: len(before)] == before


@pytest.mark.parametrize("there", [False, True])
def test_of_many_that_make_a_run_in_one_folder_at_once_one_does_and_the_others_are_told(
    there: bool, tmp_path: Path
) -> None:
    def make(i: int, folder: Path) -> str:
        at_once.wait()
        try:
            create_run(config(seed=i), folder)
        except UserError as error:
            return str(error)
        return ""

    at_once = threading.Barrier(4)
    with ThreadPoolExecutor(4) as makers:
        for i in range(20):
            folder = tmp_path / f"run{i}"
            if there:
                folder.mkdir()
            said = list(makers.map(make, range(4), [folder] * 4))
            assert said.count("") == 1
            assert Run(folder).config["seed"] == said.index("")
            assert all("already holds a run; continue it with" in line for line in said if line)
            assert [path.name for path in folder.iterdir()] == ["spec.json"]
    assert not list(tmp_path.glob(".*"))


def test_a_run_that_is_told_to_end_can_be_resumed(worker: Callable[[str], list[str]]) -> None:
    run = create_run(config())
    start(run, worker("yield Line(1)\n    told(folder / 'never')"))
    until(lambda: run.state == "running" and "epoch 1" in run.log_tail())
    os.kill(owner(run), signal.SIGTERM)
    assert wait(run, 180) == "interrupted"
    assert f"`fnkd runs resume {run.id}` goes on from it" in run.log_tail()


def test_a_crash_leaves_its_traceback(worker: Callable[[str], list[str]]) -> None:
    run = create_run(config())
    start(run, worker("yield Line(1)\n    raise ZeroDivisionError('by nought')"))
    assert wait(run, 180) == "failed"
    end = run.end or {}
    assert end["error"] == "ZeroDivisionError: by nought"
    assert "Traceback" in end["traceback"] and "by nought" in run.log_tail()


def test_wrong_input_makes_no_run(home: Path) -> None:
    for wrong, message in (
        ({"method": "kd", "teacher": "nobody"}, "checkpoint"),
        ({"student": "resnet18"}, "architecture"),
    ):
        with pytest.raises(UserError, match=f"Unknown {message}"):
            submit(config(**wrong))
    assert not (home / "runs").exists()


def test_what_is_gone_when_the_run_begins_fails_it_with_one_line_and_no_traceback(home: Path) -> None:
    copy_checkpoint(home, "digits-teacher", "nobody", findings=[{"level": "good", "text": "Imported."}])
    run = create_run(config(method="kd", teacher="nobody"))
    delete_checkpoint("nobody")
    start(run)
    assert wait(run, 180) == "failed"
    assert "Unknown checkpoint 'nobody'" in (run.end or {})["error"]
    assert (run.end or {})["traceback"] is None and "Traceback" not in run.log_tail()


def test_a_chatty_job_is_not_stopped_by_its_own_output(worker: Callable[[str], list[str]]) -> None:
    run = create_run(config())
    start(run, worker("for i in range(2000):\n        print('x' * 500)\n    yield Line(1)"))
    assert wait(run, 180) == "finished"
    assert len(run.log_tail(10).splitlines()) == 10


def test_a_waiting_job_is_cancelled_at_once(worker: Callable[[str], list[str]]) -> None:
    command = worker("for i in range(20000):\n        time.sleep(0.01)\n        yield Line(i)")
    first, second = create_run(config()), create_run(config())
    start(first, command)
    until(lambda: first.state == "running")
    start(second, command)
    until(lambda: second.state == "queued")
    cancel(second)
    assert wait(second, 180) == "cancelled"
    assert first.state == "running"
    cancel(first)
    assert wait(first, 180) == "cancelled"
    with pytest.raises(UserError, match="only a run that has not ended"):
        cancel(first)


def test_one_run_has_one_owner(worker: Callable[[str], list[str]]) -> None:
    run = create_run(config())
    command = worker("told(folder / 'go')\n    yield Line(1)")
    start(run, command)
    until(lambda: run.state == "running")
    environment = os.environ | {"PYTHONPATH": str(project_dir())}
    second = subprocess.run([*command, str(run.path)], capture_output=True, text=True, env=environment, check=False)
    assert second.returncode != 0 and "owned by another process" in second.stderr
    assert run.state == "running"
    (run.path / "go").touch()
    assert wait(run, 180) == "finished"


def test_a_run_that_has_ended_is_not_worked_on_again(worker: Callable[[str], list[str]]) -> None:
    run = create_run(config())
    command = worker("yield Line(1)")
    start(run, command)
    assert wait(run, 180) == "finished"
    before = (run.path / "end.json").read_bytes()
    environment = os.environ | {"PYTHONPATH": str(project_dir())}
    again = subprocess.run([*command, str(run.path)], capture_output=True, text=True, env=environment, check=False)
    assert again.returncode != 0 and "has ended: finished" in again.stderr
    assert (run.path / "end.json").read_bytes() == before


def test_a_run_that_ended_meanwhile_stays_what_it_became(monkeypatch: pytest.MonkeyPatch) -> None:
    run = create_run(config())
    # It ends between the look at its state and the mark.
    monkeypatch.setattr("fnkd_core.jobs.control._require_alive", lambda run: end_run(run, "finished"))
    cancel(run)
    assert run.state == "finished"


def test_a_student_leaves_with_its_card(tmp_path: Path) -> None:
    run = submit(config(name="mine", epochs=1))
    assert wait(run, 180) == "finished"
    paths = export_student(run, tmp_path / "out")
    assert [p.name for p in paths] == ["mine.safetensors", "mine.json"]
    entry = find_checkpoint(paths[0])
    assert entry.card is not None and entry.card.name == "mine" and entry.card.epochs == 1
    with pytest.raises(UserError, match="exists already"):
        export_student(run, tmp_path / "out")


def test_a_run_that_held_nothing_out_has_no_best_student_to_export(tmp_path: Path) -> None:
    run = submit(config(epochs=1, validation=0.0))
    assert wait(run, 180) == "finished"
    with pytest.raises(UserError, match="no best epoch was chosen; export its last weights"):
        export_student(run, tmp_path / "out", "best")
    assert export_student(run, tmp_path / "out")


def test_no_two_runs_that_begin_in_the_same_second_have_the_same_id() -> None:
    assert len({new_id("kd") for _ in range(2000)}) == 2000


def test_runs_are_found_by_the_beginning_of_their_id_and_deleted_whole() -> None:
    run = create_run(config())
    assert re.fullmatch(r"\d{8}-\d{6}-ce-[0-9a-f]{8}", run.id)
    assert find_run(run.id[:-1]).id == run.id and find_run(run.path).id == run.id
    delete_run(run)
    assert list_runs() == [] and not list(run.path.parent.iterdir())
    with pytest.raises(UserError, match="No run"):
        find_run(run.id)


def test_metrics_leave_out_a_line_that_is_still_being_written() -> None:
    run = create_run(config())
    numbers = dict.fromkeys(("loss", "hard", "soft", "accuracy", "seconds"), 1.0)
    line = {"epoch": 1, "evaluated_on": "test"} | numbers
    (run.path / "metrics.jsonl").write_text(json.dumps(line) + '\n{"epoch": 2, "lo')
    assert run.metrics() == [line]
    (run.path / "progress.json").write_text("{")
    assert run.progress is None

"""As many runs at a time as there are slots, in the order they were handed in; waiting costs no process."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from fnkd_core.errors import UserError
from fnkd_core.jobs import control, queue, slots
from fnkd_core.jobs.control import cancel, resume, start, submit, tend, wait
from fnkd_core.jobs.dispatcher import Dispatcher
from fnkd_core.jobs.run import Run, create_run, delete_run
from fnkd_core.jobs.slots import Slot, environment_in, in_turn, slots_if_free
from fnkd_core.locks import is_locked, locked
from fnkd_core.models.inference import best_device
from fnkd_core.records import read_json
from fnkd_core.training.config import RunConfig
from tests.waiting import until

WAITS = "told(folder / 'go')\n    yield Line(1)"


GPUS = ("5c8a", "91d0", "e377")


def on(number: int) -> Slot:
    return Slot(number, f"cuda:{number}", f"{GPUS[number]}-0")


def config(**changes: object) -> dict[str, object]:
    return RunConfig(**({"epochs": 2, "threads": 1} | changes)).to_dict()  # type: ignore[arg-type]


def made(count: int) -> list[Run]:
    return [create_run(config()) for _ in range(count)]


def states(runs: list[Run]) -> list[str]:
    return [run.state for run in runs]


def dispatchers(home: Path) -> list[int]:
    """The processes that serve this home's queue, as the system lists them."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                command = (entry / "cmdline").read_bytes()
                alive = b") Z " not in (entry / "stat").read_bytes()
            except OSError:
                continue
            if b"fnkd_core.jobs.dispatcher" in command and os.fsencode(home) in command and alive:
                found.append(int(entry.name))
    return found


def owner(run: Run) -> int:
    return int(read_json(run.path / "started.json", dict[str, int | str])["pid"])


@pytest.fixture(autouse=True)
def _all_ended(home: Path) -> Iterator[None]:
    """No process of a test is left when it has ended."""
    yield
    for child in control._children:
        child.wait(240)
    assert not is_locked(queue.lock())


linux = pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="the system lists no processes here")


@linux
def test_as_many_run_at_a_time_as_there_are_slots_and_those_that_wait_have_no_process(
    worker: Callable[[str], list[str]], monkeypatch: pytest.MonkeyPatch, home: Path
) -> None:
    monkeypatch.setenv("FNKD_SLOTS", "2")
    command = worker(
        "(folder / 'threads').write_text(__import__('os').environ.get('OMP_NUM_THREADS', ''))\n    " + WAITS
    )
    runs = made(5)
    for run in runs:
        start(run, command)
    until(lambda: states(runs)[:2] == ["running"] * 2)
    assert states(runs) == ["running"] * 2 + ["queued"] * 3
    assert len(dispatchers(home)) == 1
    assert [is_locked(run.lock) for run in runs] == [True] * 2 + [False] * 3
    (runs[1].path / "go").touch()
    until(lambda: runs[2].state == "running")
    assert states(runs) == ["running", "finished", "running", "queued", "queued"]
    numbers = [read_json(runs[i].path / "slot.json", dict[str, list[Any]])["numbers"] for i in range(3)]
    assert numbers == [[0], [1], [1]]
    for run in runs:
        (run.path / "go").touch()
    assert [wait(run, 180) for run in runs] == ["finished"] * 5
    share = max(1, len(os.sched_getaffinity(0)) // 2)
    assert {(run.path / "threads").read_text() for run in runs} == {str(min(share, int(os.environ["OMP_NUM_THREADS"])))}
    until(lambda: not dispatchers(home))


def test_a_killed_dispatcher_ends_no_run_and_whoever_looks_has_the_queue_go_on(
    worker: Callable[[str], list[str]], home: Path
) -> None:
    runs, command = made(3), worker(WAITS)
    for run in runs:
        start(run, command)
    until(lambda: runs[0].state == "running")
    dispatcher = control._children[-1]  # those of other tests may be about to end
    os.kill(dispatcher.pid, signal.SIGKILL)
    dispatcher.wait(60)
    assert states(runs) == ["running", "queued", "queued"]
    for run in runs:
        (run.path / "go").touch()
    until(lambda: runs[0].state == "finished")
    assert states(runs)[1:] == ["queued"] * 2, "what waits is not lost"
    for run in runs[1:]:  # the next dispatcher trains for good
        (run.path / "spec.json").write_text(json.dumps(run.spec | {"config": config(epochs=1)}))
    tend(runs)
    assert [wait(run, 240) for run in runs] == ["finished"] * 3


def test_a_new_dispatcher_waits_for_the_slots_of_a_killed_one_s_workers(
    worker: Callable[[str], list[str]], home: Path
) -> None:
    (first, second), command = made(2), worker(WAITS)
    start(first, command)
    until(lambda: first.state == "running")
    dispatcher = control._children[-1]  # those of other tests may be about to end
    os.kill(dispatcher.pid, signal.SIGKILL)
    dispatcher.wait(60)
    start(second, command)
    until(lambda: is_locked(queue.lock()))
    assert states([first, second]) == ["running", "queued"] and not slots.free_slots()
    for run in (first, second):
        (run.path / "go").touch()
    assert [wait(run, 180) for run in (first, second)] == ["finished"] * 2
    stamps = [(run.path / name).stat().st_mtime_ns for run, name in ((first, "end.json"), (second, "started.json"))]
    assert stamps == sorted(stamps)


def test_a_killed_worker_is_interrupted_and_the_next_run_takes_its_slot(worker: Callable[[str], list[str]]) -> None:
    (first, second), command = made(2), worker(WAITS)
    for run in (first, second):
        start(run, command)
    until(lambda: first.state == "running")
    os.kill(owner(first), signal.SIGKILL)
    until(lambda: second.state == "running")
    assert first.state == "interrupted"
    resume(first)
    assert states([first, second]) == ["queued", "running"]
    for run in (second, first):
        (run.path / "go").touch()
    assert [wait(run, 180) for run in (second, first)] == ["finished"] * 2


def test_after_the_machine_was_started_anew_what_waited_goes_on_and_what_ran_is_interrupted(
    worker: Callable[[str], list[str]], home: Path
) -> None:
    runs, command = made(3), worker(WAITS)
    for run in runs:
        start(run, command)
    until(lambda: runs[0].state == "running")
    dispatcher = control._children[-1]  # those of other tests may be about to end
    for pid in (dispatcher.pid, owner(runs[0])):
        os.kill(pid, signal.SIGKILL)
    dispatcher.wait(60)
    until(lambda: runs[0].state == "interrupted")
    shutil.rmtree(home / "cache")  # nothing in there is the truth
    assert states(runs) == ["interrupted", "queued", "queued"]
    late = create_run(config())
    for run in (*runs, late):
        (run.path / "go").touch()
    start(late, command)
    assert [wait(run, 180) for run in (*runs[1:], late)] == ["finished"] * 3
    begun = [(run.path / "started.json").stat().st_mtime_ns for run in (*runs[1:], late)]
    assert begun == sorted(begun) and runs[0].state == "interrupted"


def test_a_waiting_run_is_cancelled_at_once_though_nobody_serves_the_queue(home: Path) -> None:
    (run,) = made(1)
    with queue.unchanged():
        queue.hand_in(run)
    assert run.state == "queued"
    with pytest.raises(UserError, match="cancel it before deleting"):
        delete_run(run)
    with pytest.raises(UserError, match="waits in the queue already"):
        start(run)
    cancel(run)
    assert run.state == "cancelled" and not run.waits
    delete_run(run)


@linux
def test_of_many_that_submit_and_look_at_once_one_dispatcher_comes(
    worker: Callable[[str], list[str]], home: Path
) -> None:
    runs, command = made(6), worker(WAITS)
    program = "import sys; from pathlib import Path; from fnkd_core.jobs.control import start, tend; "
    program += "from fnkd_core.jobs.run import Run; r = Run(Path(sys.argv[3])); start(r, sys.argv[1:3]); tend([r])"
    asked = [subprocess.Popen([sys.executable, "-c", program, *command, str(run.path)]) for run in runs]
    assert [one.wait(180) for one in asked] == [0] * 6
    assert len(dispatchers(home)) == 1 and sorted(run.place[0] for run in runs) == list(range(1, 7))
    for run in runs:
        (run.path / "go").touch()
    assert [wait(run, 180) for run in runs] == ["finished"] * 6
    until(lambda: not dispatchers(home))


def test_a_training_in_the_foreground_takes_a_slot_that_is_free_and_goes_on_without_one(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FNKD_SLOTS", "2")
    monkeypatch.setattr(slots, "gpus", lambda: GPUS[:2])
    with slots_if_free() as first:
        assert os.environ["FNKD_DEVICE"] == "cuda:0" and first == [on(0)]
        # A process of its own that is told nothing yet takes the other one.
        with monkeypatch.context() as another:
            another.delenv("FNKD_DEVICE")
            with slots_if_free() as second:
                assert second == [on(1)]
                another.delenv("FNKD_DEVICE")
                with slots_if_free() as third:
                    assert third == []
        assert [slot.number for slot in slots.free_slots()] == [1]
    assert [slot.number for slot in slots.free_slots()] == [0, 1]
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    with slots_if_free(2) as both:
        assert len(both) == 2 and os.environ["CUDA_VISIBLE_DEVICES"] == "0,1"
        with monkeypatch.context() as another, slots_if_free(2) as neither:
            assert neither == []
    assert "CUDA_VISIBLE_DEVICES" not in os.environ


def test_each_gpu_is_a_slot_and_the_number_can_be_set(monkeypatch: pytest.MonkeyPatch, home: Path) -> None:
    assert slots.slots() == [Slot(0, None)] or slots.gpus()
    monkeypatch.setattr(slots, "gpus", lambda: GPUS[:2])
    assert slots.slots() == [on(0), on(1)]
    monkeypatch.setenv("FNKD_SLOTS", "3")
    assert [slot.device for slot in slots.slots()] == ["cuda:0", "cuda:1", "cuda:0"]
    monkeypatch.setenv("FNKD_DEVICE", "cpu")
    assert [slot.device for slot in slots.slots()] == ["cpu"] * 3
    for wrong in ("0", "-1", "many", "1.5"):
        monkeypatch.setenv("FNKD_SLOTS", wrong)
        with pytest.raises(UserError, match=f"FNKD_SLOTS must be a whole number >= 1, got '{wrong}'."):
            slots.slots()
    with pytest.raises(UserError, match="FNKD_SLOTS must be"):
        submit(config())


def test_a_run_on_several_devices_waits_for_as_many_slots_sees_theirs_alone_and_is_not_overtaken(
    worker: Callable[[str], list[str]], monkeypatch: pytest.MonkeyPatch, home: Path
) -> None:
    monkeypatch.setattr(slots, "gpus", lambda: GPUS)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,5,7")
    seen = "(folder / 'seen').write_text(str([__import__('os').environ.get(name) for name in ('CUDA_VISIBLE_DEVICES', "
    command = worker(f"{seen}'FNKD_DEVICE')]))\n    {WAITS}")
    runs = [create_run(config(devices=devices)) for devices in (1, 2, 2, 1)]
    dispatcher = Dispatcher(command)
    with queue.unchanged():
        for run in runs:
            queue.hand_in(run)
    dispatcher.look()
    until(lambda: states(runs)[:2] == ["running"] * 2)
    assert states(runs)[2:] == ["queued"] * 2 and not slots.free_slots()
    assert [(run.path / "seen").read_text() for run in runs[:2]] == ["['4,5,7', 'cuda:0']", "['5,7', None]"]
    (runs[0].path / "go").touch()
    until(lambda: len(slots.free_slots()) == 1)
    dispatcher.look()
    assert states(runs)[2:] == ["queued"] * 2, "one slot is free: not enough for the next, and the last is behind it"
    (runs[1].path / "go").touch()
    until(lambda: len(slots.free_slots()) == 3)
    dispatcher.look()
    until(lambda: states(runs)[2:] == ["running"] * 2)
    assert (runs[2].path / "seen").read_text() == "['4,5', None]"
    for run in runs[2:]:
        (run.path / "go").touch()
    until(lambda: states(runs)[2:] == ["finished"] * 2)


def test_a_gpu_is_the_same_slot_under_whatever_number_it_is_seen(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slots, "gpus", lambda: GPUS)
    with locked(on(1).lock):
        assert [slot.device for slot in slots.free_slots()] == ["cuda:0", "cuda:2"]
        monkeypatch.setattr(slots, "gpus", lambda: GPUS[1:])  # in a shell that sees these two
        assert [slot.device for slot in slots.free_slots()] == ["cuda:1"]
        monkeypatch.setenv("FNKD_SLOTS", "3")
        assert [slot.device for slot in slots.free_slots()] == ["cuda:1", "cuda:0"]
        monkeypatch.setenv("FNKD_DEVICE", "cuda:0")
        assert [slot.of for slot in slots.free_slots()] == ["91d0-1", "91d0-2"]
    monkeypatch.setenv("FNKD_DEVICE", "cpu")
    monkeypatch.setattr(slots, "gpus", lambda: ())
    with locked(Slot(0, None).lock):
        assert len(slots.free_slots()) == 2


def test_a_run_that_names_its_gpu_waits_for_that_one(
    worker: Callable[[str], list[str]], monkeypatch: pytest.MonkeyPatch, home: Path
) -> None:
    monkeypatch.setattr(slots, "gpus", lambda: GPUS[:2])
    runs = [create_run(config(device=device)) for device in ("cuda:1", "cuda:1", "auto")]
    dispatcher = Dispatcher(worker(WAITS))
    with queue.unchanged():
        for run in runs:
            queue.hand_in(run)
    dispatcher.look()
    until(lambda: states(runs)[0] == "running")
    assert [slot.device for slot in slots.free_slots()] == ["cuda:0"]
    assert states(runs)[1:] == ["queued"] * 2, "in the order of submission"
    with slots_if_free(1, "cuda:1") as none:
        assert none == []
    with slots_if_free(1, "cuda:5") as some:  # which its own process says
        assert some == [on(0)]
    (runs[0].path / "go").touch()
    until(lambda: len(slots.free_slots()) == 2)
    dispatcher.look()
    until(lambda: states(runs)[1:] == ["running"] * 2)
    for run in runs[1:]:
        (run.path / "go").touch()
    until(lambda: states(runs) == ["finished"] * 3)


DRIVER = """
#include <string.h>
#include <stdlib.h>
int cuInit(unsigned flags) { return 0; }
int cuDeviceGetCount(int *n) { *n = getenv("CUDA_VISIBLE_DEVICES") ? 1 : 2; return 0; }
int cuDeviceGet(int *device, int i) { *device = i; return 0; }
int cuDeviceGetUuid_v2(char *name, int device) {
    int only = getenv("CUDA_VISIBLE_DEVICES") ? atoi(getenv("CUDA_VISIBLE_DEVICES")) : device;
    memset(name, 16 + only, 16);
    return 0;
}
"""


def test_the_driver_names_the_gpus_that_are_visible(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("a made-up driver needs a C compiler")
    (tmp_path / "driver.c").write_text(DRIVER)
    driver = tmp_path / "driver.so"
    subprocess.run([compiler, "-shared", "-fPIC", "-o", driver, tmp_path / "driver.c"], check=True)
    monkeypatch.setattr(slots, "_DRIVER", str(driver))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    slots._named.cache_clear()
    names = [f"{digits * 4}-{digits * 2}-{digits * 2}-{digits * 2}-{digits * 6}" for digits in ("10", "11")]
    assert slots.gpus() == names
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    assert slots.slots() == [Slot(0, "cuda:0", f"{names[1]}-0")]
    monkeypatch.setattr(slots, "_DRIVER", str(tmp_path / "none.so"))
    slots._named.cache_clear()
    assert slots.gpus() == ()
    slots._named.cache_clear()


def test_slots_are_taken_one_of_each_device_first() -> None:
    three = [Slot(0, "cuda:0"), Slot(1, "cuda:0"), Slot(2, "cuda:1")]
    assert [slot.number for slot in in_turn(three)] == [0, 2, 1]


def test_runs_beside_each_other_take_the_time_of_one_on_gpus_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    for devices, turns in (
        ((None,), 7),
        ((None, None), 7),
        (("cuda:0",), 7),
        (("cuda:0", "cuda:0"), 7),
        (("cpu", "cpu"), 7),
        (("cuda:0", "cuda:1", "cuda:2"), 3),
    ):
        there = [Slot(i, device) for i, device in enumerate(devices)]
        monkeypatch.setattr(slots, "_slots_or_none", lambda there=there: there)
        assert (slots.rounds(7), slots.rounds(0)) == (turns, 0)


def test_processors_are_shared_by_the_slots(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slots, "cores", lambda: 8)
    monkeypatch.delenv("OMP_NUM_THREADS")
    assert environment_in([Slot(0, None)], 1) == {}
    shared = {"FNKD_DEVICE": "cuda:1", "OMP_NUM_THREADS": "2", "FNKD_CORES": "2"}
    assert environment_in([Slot(1, "cuda:1")], 3) == shared
    assert environment_in([Slot(0, None)], 100) == {"OMP_NUM_THREADS": "1", "FNKD_CORES": "1"}
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # who has set fewer keeps them
    assert environment_in([Slot(0, None)], 2) == {"OMP_NUM_THREADS": "1", "FNKD_CORES": "4"}


def test_threads_of_a_slot_and_the_processor_are_in_the_run_s_sessions(
    monkeypatch: pytest.MonkeyPatch, home: Path
) -> None:
    monkeypatch.setenv("FNKD_SLOTS", "2")
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    open_run, set_run = submit(config(threads=0, epochs=1)), submit(config(threads=3, epochs=1))
    assert [wait(run, 240) for run in (open_run, set_run)] == ["finished"] * 2
    share = min(2, max(1, len(os.sched_getaffinity(0)) // 2))
    assert [run.sessions()[0]["threads"] for run in (open_run, set_run)] == [share, 3]
    with open("/proc/cpuinfo") as file:
        assert ": {processor}\n".format(**open_run.sessions()[0]) in file.read()


@pytest.mark.parametrize(
    ("asked", "told", "seen", "device"),
    [
        ("auto", None, 2, "cuda"), ("auto", "cuda:1", 2, "cuda:1"), ("auto", "cpu", 2, "cpu"),
        ("cpu", "cuda:1", 2, "cpu"), ("cuda", "cuda:1", 2, "cuda:1"), ("cuda:0", "cuda:1", 2, "cuda:0"),
        ("auto", None, 0, "cpu"),
    ],
)  # fmt: skip
def test_a_run_goes_to_the_device_that_it_is_told_where_its_setting_leaves_it_open(
    asked: str, told: str | None, seen: int, device: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: seen > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: seen)
    monkeypatch.delenv("FNKD_DEVICE", raising=False)
    if told:
        monkeypatch.setenv("FNKD_DEVICE", told)
    assert str(best_device(asked)) == device


@pytest.mark.parametrize(("asked", "told"), [("auto", "gpu one"), ("auto", "cuda:99"), ("cuda:7", None)])
def test_a_device_that_is_not_here_is_a_sentence(asked: str, told: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    if told:
        monkeypatch.setenv("FNKD_DEVICE", told)
    with pytest.raises(UserError, match=f"got '{told or asked}'; use"):
        best_device(asked)


def test_a_slot_that_somebody_holds_is_not_given_away(worker: Callable[[str], list[str]], home: Path) -> None:
    (run,) = made(1)
    (run.path / "go").touch()
    with locked(Slot(0, None).lock):
        start(run, worker(WAITS))
        until(lambda: is_locked(queue.lock()))
        assert run.state == "queued"
    assert wait(run, 180) == "finished"

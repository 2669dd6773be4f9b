"""What a process that is killed was making goes with the next that makes something, and nothing else does."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from fnkd_core.checkpoints.export import export_checkpoint
from fnkd_core.checkpoints.library import find_checkpoint
from fnkd_core.files import sweep, write_json
from fnkd_core.paths import project_dir
from tests.checkpoints.files import weights
from tests.waiting import until

MAKING = """
import pathlib, sys, time
from fnkd_core.files import making, replacing, temporary_folder
home = pathlib.Path(sys.argv[1])
run, folder = making(home / "runs" / "run"), temporary_folder(home / "data" / "set")
with replacing(home / "a.json"), run as run, folder as folder:
    (run / "spec.json").write_text("{")
    (folder / "weights").write_text("x")
    print("begun", flush=True)
    time.sleep(600)
"""
DELETING = """
import os, pathlib, shutil, signal, sys
from fnkd_core.files import discard
shutil.rmtree = lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL)
discard(pathlib.Path(sys.argv[1]) / "stores" / "store")
"""


@contextlib.contextmanager
def started(code: str, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-c", code, *arguments]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=project_dir())
    assert process.stdout
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def temporary(home: Path) -> set[Path]:
    return {path for path in home.rglob(".*") if path.name.endswith((".tmp", ".deleted"))}


def test_what_a_killed_process_was_making_goes_and_what_a_living_one_makes_stays(home: Path) -> None:
    others = [home / ".a.json.tmp", home / "runs" / ".mine.0123abcd.tmp", home / "data" / "set"]
    for other in others:
        other.mkdir(parents=True)
    with started(MAKING, str(home)) as dead, started(MAKING, str(home)) as living:
        for process in (dead, living):
            assert process.stdout and process.stdout.readline() == "begun\n"
        both = temporary(home) - set(others)
        assert len(both) == 6
        dead.kill()
        dead.wait()
        write_json(home / "b.json", {})  # the first thing that this process makes here
        kept = temporary(home) - set(others)
        assert len(kept) == 3 and kept < both
        assert {path.parent for path in kept} == {home, home / "runs", home / "data"}
    sweep()
    assert temporary(home) == set(others[:2]) and all(other.is_dir() for other in others)
    assert len(list((home / "cache" / "processes").iterdir())) == 1


def test_what_was_being_deleted_goes_too(home: Path) -> None:
    (home / "stores" / "store" / "part").mkdir(parents=True)
    with started(DELETING, str(home)) as process:
        assert process.wait(180) == -signal.SIGKILL
    assert [path.name.endswith(".deleted") for path in (home / "stores").iterdir()] == [True]
    sweep()
    assert list((home / "stores").iterdir()) == []


@pytest.mark.parametrize(
    "notes", [b"\0\0", b"[" * 100_000, b"/etc/passwd\0", b"\xff\xfe\0" * 50, b"/x/.a.0123abcd.tmp"]
)
def test_notes_that_are_damaged_remove_nothing_and_stop_nothing(notes: bytes, home: Path) -> None:
    (home / "cache" / "processes").mkdir(parents=True)
    (home / "cache" / "processes" / "notes").write_bytes(notes + os.fsencode(home / "kept") + b"\0")
    (home / "kept").touch()
    write_json(home / "b.json", {})
    assert {path.name for path in home.iterdir()} == {"cache", "kept", "b.json"}


def test_a_home_that_takes_no_notes_is_written_all_the_same(home: Path) -> None:
    (home / "cache").touch()
    write_json(home / "b.json", {})
    assert (home / "b.json").read_text() == "{}\n"


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the process ends by its limits")
def test_a_killed_import_leaves_no_process_and_no_weights(home: Path, tmp_path: Path) -> None:
    code = "from fnkd_core.checkpoints.importing.gate import read_untrusted; import sys; read_untrusted(sys.argv[1])"
    torch.save(weights(), tmp_path / "theirs.pth")
    with started(code, str(tmp_path / "theirs.pth")) as parent:
        until(lambda: children(parent.pid))
        child = children(parent.pid)[0]
        # It is far enough to have asked for its end, and not yet done.
        until(lambda: "libtorch" in Path(f"/proc/{child}/maps").read_text())
        os.kill(child, signal.SIGSTOP)
        (folder,) = temporary(home)
        (folder / "weights.safetensors").write_bytes(bytes(100))
        parent.kill()
        until(lambda: not alive(child))
    assert folder.is_relative_to(home / "cache") and folder.stat().st_mode & 0o777 == 0o700
    sweep()
    assert temporary(home) == set()


KILLED = """
import os, pathlib, signal, sys
from fnkd_core.checkpoints import export
from fnkd_core.checkpoints.library import find_checkpoint
def killed(*arguments):
    pathlib.Path(arguments[-1]).write_bytes(b"half of it")
    os.kill(os.getpid(), signal.SIGKILL)
moved, move = [], os.replace
def second(*paths):
    if os.path.dirname(paths[1]) == sys.argv[1]:
        moved.append(paths) or len(moved) < 2 or os.kill(os.getpid(), signal.SIGKILL)
    move(*paths)
if sys.argv[2] == "written":
    export.WRITERS["state_dict"] = killed
else:
    os.replace = second
export.export_checkpoint(find_checkpoint("digits-ce"), sys.argv[1], ["safetensors", "state_dict"])
"""


@pytest.mark.parametrize("while_it_was", ["written", "moved"])
def test_an_export_that_was_killed_is_repeated(while_it_was: str, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with started(KILLED, str(out), while_it_was) as process:
        assert process.wait(180) == -signal.SIGKILL
    assert (out / "digits-ce.safetensors").exists() == (while_it_was == "moved")
    assert not (out / "digits-ce.json").exists() and temporary(out)
    export_checkpoint(find_checkpoint("digits-ce"), out, ["state_dict"])
    assert {path.name for path in out.iterdir()} == {"digits-ce.pth", "digits-ce.json"}

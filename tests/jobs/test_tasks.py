"""Extractions and imports are jobs: they outlive who asks, a kill costs no more than a piece, and their end is said."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch

from fnkd_core import cli
from fnkd_core.checkpoints.io import read_state
from fnkd_core.checkpoints.library import Entry, entry_of, find_checkpoint, identities, list_checkpoints
from fnkd_core.data import DatasetInfo, dataset_info
from fnkd_core.errors import UserError
from fnkd_core.files import making, write_json
from fnkd_core.jobs import control
from fnkd_core.jobs.tasks import (
    Task,
    cancel,
    extraction_of,
    forget,
    list_imports,
    start,
    start_extraction,
    start_import,
)
from fnkd_core.paths import environment, project_dir, tasks_dir
from fnkd_core.records import read_json
from fnkd_core.stores.extract import extract
from fnkd_core.stores.pieces import progress
from fnkd_core.stores.store import open_store, store_path
from fnkd_core.stores.upkeep import holdings, prune
from tests.waiting import until

ENDED = ("finished", "failed", "cancelled", "interrupted", "gone")
Wanted = tuple[Entry, DatasetInfo, str]


def ended(task: Task) -> str:
    until(lambda: task.state in ENDED)
    return task.state


@pytest.fixture
def wanted() -> Wanted:
    return find_checkpoint("digits-ce"), dataset_info("digits"), "test"


def kill_newest() -> None:
    """Kill the process that was started last."""
    control._children[-1].kill()
    control._children[-1].wait()


def test_an_extraction_outlives_who_asked_and_leaves_nothing_but_the_store(home: Path, wanted: Wanted) -> None:
    code = (
        "import sys; from fnkd_core.checkpoints.library import find_checkpoint;"
        "from fnkd_core.data import dataset_info;"
        "from fnkd_core.jobs.tasks import start_extraction;"
        "start_extraction(find_checkpoint('digits-ce'), dataset_info('digits'), 'test');"
        "sys.exit('torch' in sys.modules)"
    )
    subprocess.run([sys.executable, "-W", "ignore", "-c", code], env=environment(), check=True, timeout=240)
    assert ended(extraction_of(*wanted)) == "gone", extraction_of(*wanted).end
    store = open_store(*wanted)
    assert store is not None and store.name == "digits-ce"
    store.check(deep=True)
    until(lambda: not list(tasks_dir().iterdir()))  # put aside first, then removed
    assert len(list((home / "stores").iterdir())) == 1


def test_eight_who_ask_at_once_start_one_process(wanted: Wanted) -> None:
    mine = extract(*wanted)  # which has the only piece, so that the task cannot end
    next(mine)
    before = len(control._children)
    with ThreadPoolExecutor(8) as pool:
        tasks = list(pool.map(lambda _: start_extraction(*wanted), range(8)))
    assert len(set(tasks)) == 1 and tasks[0].state == "running" and len(control._children) <= before + 1
    kill_newest()
    mine.close()


def test_an_extraction_that_was_killed_says_so_and_is_started_again(wanted: Wanted) -> None:
    mine = extract(*wanted)
    next(mine)
    task = start_extraction(*wanted)
    assert task.state == "running"
    kill_newest()
    assert task.state == "interrupted"
    mine.close()
    start(task)
    assert ended(task) == "gone" and open_store(*wanted) is not None


def test_an_extraction_with_a_batch_size_shares_the_pieces_of_another_with_that(wanted: Wanted) -> None:
    mine = extract(*wanted, size=4)
    next(mine)
    task = start_extraction(*wanted, 4)
    until(lambda: progress(store_path(*wanted)) == (360 - 8 * 4, 360))  # all but the piece that this process is at
    for _ in mine:
        pass
    assert ended(task) == "gone" and open_store(*wanted) is not None


def test_what_was_begun_in_other_batches_goes_on_and_is_shared_in_its_pieces(wanted: Wanted) -> None:
    first = extract(*wanted, size=4)
    done = [next(first) for _ in range(8 * 2 + 1)][-1]  # two pieces, and a batch of the third
    assert done == (68, 360)
    beside = extract(*wanted)
    next(beside)
    first.close()
    beside.close()
    assert progress(store_path(*wanted)) == (64, 360)
    *_, last = extract(*wanted, size=50)
    assert last == (360, 360) and open_store(*wanted) is not None


def test_an_extraction_is_cancelled_while_it_waits_and_what_is_done_stays(wanted: Wanted) -> None:
    mine = extract(*wanted)
    next(mine)
    task = start_extraction(*wanted)
    until((task.path / "room").exists)
    cancel(task)
    assert ended(task) == "cancelled" and open_store(*wanted) is None
    assert [done for done, _ in mine][-1] == 360, "who shared it has gone on"
    start(task)
    assert ended(task) == "gone"


def test_one_that_is_cancelled_before_it_has_begun_or_after_a_kill_ends_at_once(wanted: Wanted) -> None:
    task = start_extraction(*wanted)
    kill_newest()
    cancel(task)
    assert task.state == "cancelled"


def test_a_process_that_cannot_extract_says_why_in_one_line(home: Path, tmp_path: Path, wanted: Wanted) -> None:
    shipped = project_dir() / "checkpoints"
    (tmp_path / "torn.json").write_bytes((shipped / "digits-fn.json").read_bytes())
    (tmp_path / "torn.safetensors").write_bytes((shipped / "digits-fn.safetensors").read_bytes()[:-100])
    task = start_extraction(entry_of(tmp_path / "torn.safetensors", "torn"), *wanted[1:])
    assert ended(task) == "failed"
    end = task.end or {}
    assert "not the file its card describes" in end["error"] and end["traceback"] is None
    assert task.state == "failed" and end["error"] in (task.path / "log.txt").read_text()


def test_what_has_changed_since_it_was_asked_for_is_not_extracted(wanted: Wanted) -> None:
    entry, info, split = wanted
    other = dataclasses.replace(info, identities=tuple("0" * 16 for _ in info.identities))
    task = start_extraction(entry, other, split)
    assert ended(task) == "failed"
    assert "have changed since they were listed; extract them again" in (task.end or {})["error"]


def test_on_a_full_disk_it_fails_with_the_sentence_and_goes_on_after_space_is_made(
    small_disk: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch, wanted: Wanted
) -> None:
    disk = small_disk("2m")
    monkeypatch.setenv("FNKD_HOME", str(disk))
    (disk / "others").write_bytes(b"x" * 1_700_000)
    task = start_extraction(*wanted)
    assert ended(task) == "failed", (task.path / "log.txt").read_text()
    said = (task.end or {})["error"]
    assert said.startswith("The disk is full: ") and "free some space there" in said
    (disk / "others").unlink()
    start(task)
    assert ended(task) == "gone", task.end
    assert open_store(*wanted) is not None


def weights(folder: Path) -> Path:
    torch.save(read_state(find_checkpoint("digits-kd").path), folder / "theirs.pth")
    return folder / "theirs.pth"


def test_an_upload_is_kept_until_its_import_has_read_it_and_the_outcome_until_it_is_seen(tmp_path: Path) -> None:
    task = start_import({"dataset": "digits"}, ("theirs.pth", weights(tmp_path).read_bytes()))
    kept = Path(task.ask["request"]["path"])
    assert kept.name == "theirs.pth" and kept.is_file()
    kill_newest()
    assert task.state == "interrupted" and kept.is_file() and list_imports() == [task]
    start(task)
    assert ended(task) == "finished", task.end
    until(lambda: not kept.exists())  # it goes once the result is written: who is killed in between has lost nothing
    assert find_checkpoint("theirs").card is not None
    assert task.result["name"] == "theirs" and {f["level"] for f in task.result["findings"]} == {"good"}
    assert any("Reading theirs.pth" in line for line in task.progress["said"])
    forget(task)
    assert list_imports() == [] and find_checkpoint("theirs").card is not None


def test_a_path_without_a_file_is_refused_before_any_process_begins(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"nope.pth is not a file; give the checkpoint's path."):
        start_import({"path": str(tmp_path / "nope.pth")})
    assert not list_imports() and not tasks_dir().exists()


def test_an_import_that_is_refused_says_why_and_can_be_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "theirs.pth").write_bytes(b"nothing")
    before = [entry.name for entry in list_checkpoints()]
    monkeypatch.chdir(tmp_path)
    task = start_import({"path": "theirs.pth", "dataset": "digits"})
    assert read_json(task.path / "ask.json", dict[str, Any])["request"]["path"] == str(tmp_path / "theirs.pth")
    assert ended(task) == "failed" and (task.end or {})["error"].startswith("theirs.pth ")
    assert [entry.name for entry in list_checkpoints()] == before
    weights(tmp_path)
    start(task)
    assert ended(task) == "finished", task.end


def test_folders_that_nobody_works_in_are_counted_and_pruned_and_those_of_the_living_are_not(
    wanted: Wanted, tmp_path: Path
) -> None:
    mine = extract(*wanted)
    next(mine)
    alive = start_extraction(*wanted)
    with making(tasks_dir() / "import-20260101-000000-0123abcd") as folder:
        write_json(folder / "ask.json", {"kind": "import", "request": {}})
        (folder / "upload").mkdir()
        (folder / "upload" / "theirs.pth").write_bytes(bytes(10_000))
    left = Task(tasks_dir() / "import-20260101-000000-0123abcd")
    assert holdings(identities()).leftovers == [left.path]
    assert prune() >= 10_000
    assert not left.path.exists() and alive.state == "running" and progress(store_path(*wanted)) == (0, 360)
    with pytest.raises(UserError, match="is running; cancel it first"):
        forget(alive)
    kill_newest()
    mine.close()
    until(lambda: alive.path in holdings(identities()).leftovers)
    assert len(holdings(identities()).leftovers) == 3, "the task, its pieces and their lock"
    prune()
    assert not list(tasks_dir().iterdir()) and not list(store_path(*wanted).parent.iterdir())


def test_the_command_stays_in_the_foreground_and_says_that_it_goes_on(
    wanted: Wanted, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object, **__: object) -> object:
        raise KeyboardInterrupt

    monkeypatch.setattr("fnkd_core.stores.extract.extract", interrupted)
    assert cli.main(["extract", "--checkpoint", "digits-ce"]) == 130
    assert "`fnkd extract` goes on from there" in capsys.readouterr().err


def test_a_command_begins_an_extraction_or_an_import_and_returns(
    wanted: Wanted, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def begun(*arguments: str) -> dict:
        assert cli.main([*arguments, "--background", "--json"]) == 0
        return json.loads(capsys.readouterr().out)

    extract_it = ("extract", "--checkpoint", "digits-ce")
    assert cli.main([*extract_it, "--batch-size", "0", "--background"]) == 2
    assert "batch_size must be >= 1, got 0" in capsys.readouterr().err
    assert begun(*extract_it, "--batch-size", "16")["task"] == extraction_of(*wanted).id
    until(lambda: open_store(*wanted) is not None)
    assert begun(*extract_it) == {"path": str(store_path(*wanted)), "task": None}
    torch.save(read_state(find_checkpoint("digits-ce").path), tmp_path / "theirs.pth")
    monkeypatch.chdir(tmp_path)
    task = Task(Path(begun("checkpoints", "import", "theirs.pth", "--dataset", "digits", "--measure-on", "50")["path"]))
    assert ended(task) == "finished" and task.result["name"] == "theirs"
    assert cli.main([*extract_it, "--background", "--devices", "2"]) == 2
    assert "leave --engine, --address and --devices out" in capsys.readouterr().err

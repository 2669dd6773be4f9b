"""What is made in pieces survives kills, is shared by processes, and is whole or absent for who reads it."""

from __future__ import annotations

import functools
import inspect
import itertools
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import pytest

from fnkd_core.errors import UserError
from fnkd_core.files import sweep
from fnkd_core.locks import in_use
from fnkd_core.paths import environment
from fnkd_core.stores.pieces import Pieces, lock_of, parts_of, progress
from tests.disks import limited
from tests.killing import kill_after
from tests.waiting import until

CODE = inspect.getfile(Pieces)
COUNT, SIZE = 1000, 7
ARRAYS = {"rows": (np.float32, (3,)), "flags": (np.dtype([("a", np.int8), ("b", np.float64)]), ())}
SCRATCH = {"norms": (np.float64, ())}
FILES = {"flags.npy", "rows.npy", "sums.json", *(f"{i}.txt" for i in range(5))}

WORKER = """
import sys
from pathlib import Path
from tests.stores.test_pieces import work
work(Path(sys.argv[1]))
"""
KILLED = """
import sys
from pathlib import Path
from tests.killing import killed_at_random
from tests.stores.test_pieces import whole, work
final = Path(sys.argv[1])
print(killed_at_random(lambda when: work(final, when), 3, 30, (0.005, 0.1), int(sys.argv[2]), lambda: whole(final)))
"""


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder with nothing else in it."""
    (tmp_path / "place").mkdir()
    return tmp_path / "place"


def pieces_of(final: Path, size: int = SIZE) -> Pieces:
    return Pieces(final, COUNT, size, ARRAYS, SCRATCH)


def made(part: slice) -> dict[str, np.ndarray]:
    i = np.arange(part.start, part.stop)
    flags = np.zeros(len(i), ARRAYS["flags"][0])
    flags["a"], flags["b"] = i % 100, np.sqrt(i)
    return {"rows": np.stack([i, i * 2, 1 / (1 + i)], 1).astype(np.float32), "flags": flags, "norms": i / 3}


def rest(pieces: Pieces, folder: Path) -> None:
    for i in range(5):
        (folder / f"{i}.txt").write_text("whole" * 1000)
    norms = np.load(pieces.scratch / "norms.npy")
    (folder / "sums.json").write_text(json.dumps(norms.sum()))


def done_alone(pieces: Pieces) -> None:
    for part in pieces.todo():
        pieces.write(part, **made(part))
    pieces.finish(lambda folder: rest(pieces, folder))


def whole(final: Path) -> bool:
    """Whether it is there; then it is all there, and right."""
    if not final.exists():
        return False
    assert {path.name for path in final.iterdir()} == FILES
    expected = made(slice(0, COUNT))
    assert np.array_equal(np.load(final / "rows.npy"), expected["rows"])
    assert np.array_equal(np.load(final / "flags.npy"), expected["flags"])
    assert json.loads((final / "sums.json").read_text()) == expected["norms"].sum()
    return True


def work(final: Path, killed_after: float | None = None) -> None:
    """Do what is left of it as slowly as real work, with a line in a log for each piece that begins or ends."""
    if killed_after is not None:
        kill_after(killed_after)
    pieces = pieces_of(final)
    with final.with_name("log").open("ab", buffering=0) as log:
        for part in pieces.todo():
            log.write(json.dumps({"pid": os.getpid(), "begins": part.start}).encode() + b"\n")
            for start in range(part.start, part.stop, 2):
                rows = slice(start, min(start + 2, part.stop))
                pieces.write(rows, **made(rows))
                time.sleep(0.001)
            log.write(json.dumps({"pid": os.getpid(), "ends": part.start}).encode() + b"\n")
    pieces.finish(lambda folder: rest(pieces, folder))


def started(code: str, *arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.Popen(command, env=environment(), stdout=subprocess.PIPE, text=True)


@pytest.mark.parametrize("seed", [0, 1])
def test_three_processes_killed_at_random_points_make_it_once_and_whole(seed: int, place: Path) -> None:
    final = place / "store"
    process = started(KILLED, str(final), str(seed))
    said, _ = process.communicate(timeout=240)
    assert process.returncode == 0
    kills = int(said)
    assert whole(final) and kills >= 10
    sweep()  # as every command begins: of the scratch folder too, whose deletion a kill may have cut short
    assert sorted(path.name for path in place.iterdir()) == ["log", "store"]
    done_alone(pieces_of(place / "alone"))
    for name in FILES:
        assert (final / name).read_bytes() == (place / "alone" / name).read_bytes()
    events = [json.loads(line) for line in (place / "log").read_text().splitlines()]
    begun = [event["begins"] for event in events if "begins" in event]
    # Of each kill no more is lost than the piece that was being worked on.
    assert set(begun) == set(range(0, COUNT, SIZE)) and len(begun) <= len(set(begun)) + kills


def test_three_living_processes_each_do_pieces_of_their_own(place: Path) -> None:
    processes = [started(WORKER, str(place / "store")) for _ in range(3)]
    assert [process.communicate(timeout=120) and process.returncode for process in processes] == [0, 0, 0]
    assert whole(place / "store")
    events = [json.loads(line) for line in (place / "log").read_text().splitlines()]
    begun = [event["begins"] for event in events if "begins" in event]
    assert sorted(begun) == list(range(0, COUNT, SIZE))
    assert sorted(path.name for path in place.iterdir()) == ["log", "store"]


def test_a_piece_that_another_owns_is_left_to_it_and_taken_over_when_it_dies(place: Path) -> None:
    code = "import sys; from pathlib import Path; from tests.stores.test_pieces import pieces_of; " + (
        "todo = pieces_of(Path(sys.argv[1])).todo(); print(next(todo), flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", code, str(place / "store")]
    other = subprocess.Popen(command, env=environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert other.stdout is not None and other.stdout.readline() == b"slice(0, 7, None)\n"
    mine = pieces_of(place / "store")
    todo = mine.todo()
    assert next(todo).start == SIZE
    mine.write(slice(SIZE, 2 * SIZE), **made(slice(SIZE, 2 * SIZE)))
    assert next(todo).start == 2 * SIZE and mine.done == SIZE
    other.kill()
    other.communicate()
    todo.close()
    todo = mine.todo()
    assert next(todo).start == 0
    todo.close()
    done_alone(mine)
    assert whole(place / "store")


def test_how_far_it_is_is_read_from_the_folder(place: Path) -> None:
    final = place / "store"
    assert progress(final) is None
    pieces = pieces_of(final)
    for k, part in enumerate(pieces.todo()):
        assert progress(final) == (k * SIZE, COUNT) and pieces.done == k * SIZE
        pieces.write(part, **made(part))
    assert progress(final) == (COUNT, COUNT) == (pieces.done, COUNT)
    pieces.finish(lambda folder: rest(pieces, folder))
    assert progress(final) is None and pieces.done == COUNT


def test_what_exists_already_is_left_as_it_is(place: Path) -> None:
    final = place / "store"
    final.mkdir()
    pieces = pieces_of(final)
    assert list(pieces.todo()) == []
    pieces.finish(lambda folder: pytest.fail("it is there"))
    assert [path.name for path in place.iterdir()] == ["store"] and not list(final.iterdir())


def test_what_is_not_done_cannot_be_finished_and_only_what_is_owned_be_written(place: Path) -> None:
    pieces = pieces_of(place / "store")
    with pytest.raises(UserError, match="do all of its pieces first"):
        pieces.finish(lambda folder: rest(pieces, folder))
    with pytest.raises(UserError, match="not of the piece that is owned"):
        pieces.write(slice(0, SIZE), **made(slice(0, SIZE)))
    next(pieces.todo())


def test_one_who_was_killed_between_the_name_and_the_tidying_up_leaves_nothing(place: Path) -> None:
    final = place / "store"
    pieces = pieces_of(final)
    next(pieces.todo())
    pieces.close()
    done_alone(pieces_of(place / "other"))
    os.rename(place / "other", final)
    assert parts_of(final).exists() and lock_of(final).exists()
    assert list(pieces_of(final).todo()) == [] and whole(final)
    assert [path.name for path in place.iterdir()] == ["store"]


def test_whoever_comes_while_another_finishes_finds_it_whole_at_whichever_line_of_the_code_that_is(place: Path) -> None:
    for number in range(1000):
        final = place / f"made{number}"
        first = pieces_of(final, COUNT)
        for part in first.todo():
            first.write(part, **made(part))
        assert not final.exists()
        second = pieces_of(final, COUNT)
        finish = functools.partial(first.finish, functools.partial(rest, first))
        reached = once_at_line(number, finish, functools.partial(list, second.todo()))
        assert second.done == COUNT
        second.finish(functools.partial(rest, second))
        assert {path.name for path in final.iterdir()} == FILES
        assert [path.name for path in place.iterdir() if path.name.startswith(".")] == [], number
        shutil.rmtree(final)
        if not reached:
            break
    assert 30 < number < 200


def once_at_line(number: int, act: Callable[[], None], work: Callable[[], object]) -> bool:
    """Have `act` done when `work` has come to this line of what it executes of the code under test, counted from 0.

    Says whether it came so far.
    """
    lines = itertools.count()

    def trace(frame: FrameType, event: str, argument: object) -> Any:
        if frame.f_code.co_filename != CODE:
            return None
        if event == "line" and next(lines) == number:
            sys.settrace(None)
            act()
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        work()
    finally:
        sys.settrace(before)
    return next(lines) > number


def test_pieces_of_another_size_begin_anew_unless_somebody_works_on_them(place: Path) -> None:
    final = place / "store"
    first = pieces_of(final)
    todo = first.todo()
    part = next(todo)
    first.write(part, **made(part))
    next(todo)
    other = pieces_of(final, 10)
    with pytest.raises(UserError, match="is being made in other pieces by another process; wait for it"):
        next(other.todo())
    assert in_use(lock_of(final)) and first.done == SIZE
    todo.close()
    first.close()
    assert not in_use(lock_of(final)) and next(other.todo()) == slice(0, 10) and other.done == 0
    other.close()
    done_alone(other)
    assert whole(final)


def test_on_a_full_disk_the_done_pieces_stay_and_it_goes_on_after_space_is_made(
    small_disk: Callable[[str], Path],
) -> None:
    disk = small_disk("1m")
    (disk / "others").write_bytes(b"x" * 900_000)
    final = disk / "store"
    arrays = {"rows": (np.float64, (64,))}
    pieces = Pieces(final, 1000, 50, arrays)
    with pytest.raises(UserError, match="The disk is full: .*store could not be written; free some space"):
        _ = [pieces.write(part, rows=np.full((50, 64), part.start)) for part in pieces.todo()]
    done = pieces.done
    assert 0 < done < 1000 and not final.exists()
    pieces.close()
    (disk / "others").unlink()
    again, begun = Pieces(final, 1000, 50, arrays), []
    for part in again.todo():
        begun.append(part.start)
        again.write(part, rows=np.full((50, 64), part.start))
    again.finish(lambda folder: None)
    assert begun == list(range(done, 1000, 50))
    assert (np.load(final / "rows.npy")[:, 0] == np.arange(1000) // 50 * 50).all()


def test_a_disk_that_is_full_at_the_last_step_loses_no_piece(place: Path) -> None:
    final = place / "store"
    pieces = pieces_of(final)
    for part in pieces.todo():
        pieces.write(part, **made(part))
    with pytest.raises(UserError, match="The disk is full"), limited(3_000):
        pieces.finish(lambda folder: rest(pieces, folder))
    assert not final.exists() and progress(final) == (COUNT, COUNT) and not in_use(lock_of(final))
    done_alone(pieces_of(final))
    assert whole(final)


def test_all_locks_are_gone_with_the_process_that_held_them(place: Path) -> None:
    process = started(WORKER, str(place / "store"))
    until(lambda: progress(place / "store"))
    process.kill()
    process.communicate()
    assert whole(place / "store") or not in_use(lock_of(place / "store"))

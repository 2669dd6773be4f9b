"""Files are whole or absent, locks go with their process, names cannot leave their folder."""

from __future__ import annotations

import math
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fnkd_core.checkpoints.export import export_checkpoint
from fnkd_core.checkpoints.library import find_checkpoint
from fnkd_core.data import add_folder, folders
from fnkd_core.errors import UserError
from fnkd_core.experiments.comparison import create_comparison
from fnkd_core.experiments.plan import plan
from fnkd_core.files import append_json, check_name, write_json
from fnkd_core.identity import content_of, digest
from fnkd_core.locks import is_locked, locked, locked_if_free
from fnkd_core.paths import project_dir
from fnkd_core.records import read_json
from fnkd_core.training.config import RunConfig
from tests.pictures import write_folder


def test_a_lock_goes_with_its_process(tmp_path: Path) -> None:
    code = (
        "import sys, time, pathlib; from fnkd_core.locks import locked\n"
        "with locked(sys.argv[1]):\n    print('mine', flush=True); time.sleep(600)"
    )
    path = tmp_path / "lock"
    assert not is_locked(path)
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE, text=True, cwd=project_dir()
    )
    assert process.stdout and process.stdout.readline() == "mine\n"
    assert is_locked(path)
    with pytest.raises(UserError, match="it is taken"), locked(path, wait=False, busy="it is taken"):
        pass
    process.kill()
    process.wait()
    process.stdout.close()
    assert not is_locked(path)
    with locked(path, wait=False):
        assert is_locked(path)
    assert not is_locked(path)


def test_a_lock_in_a_folder_that_is_gone_makes_no_folder(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), locked(tmp_path / "gone" / "lock"):
        pass
    assert not (tmp_path / "gone").exists() and not is_locked(tmp_path / "gone" / "lock")


def test_who_waits_for_a_lock_whose_file_was_deleted_gets_the_new_one(tmp_path: Path) -> None:
    path, order = tmp_path / "lock", []

    def waiter() -> None:
        with locked(path):
            order.append("second")
            assert is_locked(path)

    with locked(path):
        thread = threading.Thread(target=waiter)
        thread.start()
        path.unlink()
        order.append("first")
    thread.join(60)
    assert order[0] == "first" and order[-1] == "second" and len(order) == 2


def test_a_lock_that_is_taken_is_not_had(tmp_path: Path) -> None:
    with locked_if_free(tmp_path / "lock") as mine, locked_if_free(tmp_path / "lock") as other:
        assert mine and not other
    with locked_if_free(tmp_path / "lock") as again:
        assert again


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_written_is_strict_json(tmp_path: Path, value: float) -> None:
    write_json(tmp_path / "a.json", {"x": 1})
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "a.json", {"x": value})
    with pytest.raises(ValueError, match="not JSON compliant"):
        append_json(tmp_path / "a.jsonl", {"x": value})
    assert read_json(tmp_path / "a.json", dict[str, int]) == {"x": 1} and not (tmp_path / "a.jsonl").exists()


OUTSIDE = ("../../x", "/etc/x", "a/b", "..", ".hidden", "", "a\nb", "x" * 65, "é")


@pytest.mark.parametrize("name", OUTSIDE)
def test_no_name_leads_out_of_its_folder(name: str, tmp_path: Path, home: Path) -> None:
    with pytest.raises(UserError, match="A run's name has letters, digits"):
        RunConfig(name=name)
    entry = find_checkpoint("digits-ce")
    if name:
        with pytest.raises(UserError, match="A checkpoint's name has letters"):
            export_checkpoint(entry, tmp_path / "out", name=name)
    with pytest.raises(UserError, match="A data set's name has letters"):
        add_folder(name, str(write_folder(tmp_path / "set")))
    with pytest.raises(UserError, match="A comparison's name has letters"):
        create_comparison(plan({}, ["ce"], [0]), name)
    assert check_name("run", "fn-2.5_b") == "fn-2.5_b"


def test_of_many_processes_that_add_folders_at_once_none_is_lost(tmp_path: Path, home: Path) -> None:
    root = write_folder(tmp_path / "set")
    code = "import sys; from fnkd_core.data import add_folder; add_folder(sys.argv[1], sys.argv[2])"
    command = [sys.executable, "-c", code]
    at_once = [subprocess.Popen([*command, f"set{i}", str(root)], cwd=project_dir()) for i in range(6)]
    assert [process.wait(180) for process in at_once] == [0] * 6
    assert sorted(folders()) == [f"set{i}" for i in range(6)]


values = st.recursive(
    st.none() | st.booleans() | st.integers(-1000, 1000) | st.floats(-10, 10) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


@given(values)
def test_a_digest_is_of_the_value_and_of_nothing_else(value: object) -> None:
    assert digest(value) == digest(value) and len(digest(value)) == 16
    assert digest({"a": value, "b": 1.0}) == digest({"b": 1, "a": value})
    assert digest([value]) != digest([value, value])
    assert digest((value,)) == digest([value])


def test_a_file_s_content_is_summed_again_when_it_has_changed(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"one")
    first = content_of(path)
    assert content_of(path) == first
    path.write_bytes(b"three")
    assert content_of(path) != first

"""What a machine can do to a program: a full disk and too little memory are sentences and leave nothing."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import save_file

from fnkd_core import cli
from fnkd_core.checkpoints.importing import importer
from fnkd_core.checkpoints.importing.gate import Contents, read_untrusted
from fnkd_core.checkpoints.importing.importer import Imported, import_checkpoint
from fnkd_core.checkpoints.importing.request import ImportRequest
from fnkd_core.checkpoints.io import read_state
from fnkd_core.checkpoints.library import find_checkpoint, list_checkpoints
from fnkd_core.errors import UserError, shortage
from fnkd_core.files import append_json, making, replacing, write_json
from fnkd_core.jobs.run import find_run, list_runs
from fnkd_core.paths import project_dir
from fnkd_core.stores.arrays import Writer, save_array
from tests.disks import limited

TRAIN = ("train", "--dataset", "digits", "--method", "ce", "--epochs", "2", "--per-class", "10", "--threads", "1")


def half_written(folder: Path) -> list[str]:
    """What is in the folder that is in the making."""
    return [str(path) for path in folder.rglob(".*") if path.name.endswith((".tmp", ".deleted", ".exporting"))]


BIG = torch.zeros(50_000)


def into_rows(path: Path) -> None:
    with Writer(path, np.float32, (1, 50_000)) as rows:
        rows.add(BIG.numpy()[None])


def into_torch(path: Path) -> None:
    with path.open("wb") as file:
        torch.save({"a": BIG}, file)


WRITERS: dict[str, Callable[[Path], object]] = {
    "safetensors": lambda path: save_file({"a": BIG}, path),
    "torch": into_torch,
    "rows": into_rows,
    "array": lambda path: save_array(path, BIG.numpy()),
    "npz": lambda path: np.savez(path.with_suffix(".npz"), a=BIG.numpy()),
    "parquet": lambda path: pd.DataFrame({"a": np.random.default_rng(0).random(50_000)}).to_parquet(path),
    "text": lambda path: path.write_text("x" * 200_000),
}


@pytest.mark.parametrize("writer", WRITERS)
def test_whatever_writes_to_a_full_disk_the_sentence_is_the_same(writer: str, tmp_path: Path) -> None:
    write_json(tmp_path / "a", {})
    with pytest.raises(UserError) as caught, limited(60_000), replacing(tmp_path / "a") as temporary:
        WRITERS[writer](temporary)
    assert str(caught.value) == (
        f"The disk is full (file too large): {tmp_path / 'a'} could not be written; free some space there, then try "
        "again."
    )
    with pytest.raises(UserError, match="The disk is full"), limited(60_000), making(tmp_path / "b") as folder:
        WRITERS[writer](folder / "a")
    assert (tmp_path / "a").read_text() == "{}\n" and not (tmp_path / "b").exists() and not half_written(tmp_path)


@pytest.mark.parametrize("writer", WRITERS)
def test_a_real_disk_that_is_full_says_no_more_than_that(
    writer: str, small_disk: Callable[[str], Path], tmp_path: Path
) -> None:
    place = small_disk("64k") / "a"
    with pytest.raises(UserError) as caught, replacing(place) as temporary:
        WRITERS[writer](temporary)
    assert (
        str(caught.value) == f"The disk is full: {place} could not be written; free some space there, then try again."
    )
    assert not half_written(place.parent)


def test_a_line_that_finds_no_room_leaves_the_lines_before_it(tmp_path: Path) -> None:
    lines = tmp_path / "lines.jsonl"
    append_json(lines, {"epoch": 1})
    with pytest.raises(UserError, match="The disk is full"), limited(100):
        append_json(lines, {"epoch": "2" * 200})
    append_json(lines, {"epoch": 3})
    assert lines.read_text() == '{"epoch": 1}\n{"epoch": 3}\n'


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (MemoryError(), "There is not enough memory;"),
        (
            RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 4000000000 bytes."),
            "4 GB more",
        ),
        (OSError(12, "Cannot allocate memory"), "There is not enough memory;"),
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB."), "There is not enough memory;"),
        (KeyError("x"), None),
        (UserError("It must be > 0."), None),
    ],
)
def test_too_little_memory_says_memory(error: Exception, said: str | None) -> None:
    found = shortage(error)
    assert (said in str(found)) if said else found is None


def foreign(folder: Path) -> Path:
    path = folder / "theirs.pth"
    torch.save(read_state(find_checkpoint("digits-kd").path), path)
    return path


def refused(capsys: pytest.CaptureFixture[str], home: Path, *arguments: str) -> str:
    """The line by which a command says that the disk is full; it has left nothing half-written."""
    assert cli.main(list(arguments)) == 2
    said = capsys.readouterr().err.strip()
    assert said.startswith("fnkd: The disk is full") and len(said.splitlines()) == 1 and str(home.parent) in said
    assert not half_written(home.parent)
    return said


@pytest.fixture
def in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files are not read in a process of their own, which takes seconds."""

    def read(path: Path, **_: object) -> Contents:
        return Contents("torch zip", torch.load(path, weights_only=True), "", {}, "0" * 64, False)

    monkeypatch.setattr(importer, "read_untrusted", read)


def test_an_import_onto_a_full_disk_leaves_the_library_as_it_was_and_can_be_repeated(
    in_this_process: None, capsys: pytest.CaptureFixture[str], tmp_path: Path, home: Path
) -> None:
    command = ("checkpoints", "import", str(foreign(tmp_path)), "--dataset", "digits")
    before = [entry.name for entry in list_checkpoints()]
    for limit in (150, 100_000):
        with limited(limit):
            refused(capsys, home, *command)
        assert [entry.name for entry in list_checkpoints()] == before
    assert cli.main([*command, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["card"]["method"] == "imported"


def test_an_import_whose_weights_have_no_room_to_be_read_says_so(
    small_disk: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FNKD_HOME", str(small_disk("100k")))
    with pytest.raises(UserError, match="The disk is full: .*cache could not be written"):
        read_untrusted(foreign(tmp_path))
    assert not half_written(tmp_path / "disk")


def test_of_two_imports_under_one_name_one_wins_and_the_other_is_told(
    in_this_process: None, tmp_path: Path, home: Path
) -> None:
    request = ImportRequest(path=foreign(tmp_path), name="mine", dataset="digits")
    first = import_checkpoint(request)
    next(first)
    with pytest.raises(UserError, match="'mine' is being imported already; give another name"):
        next(import_checkpoint(request))
    (imported,) = [event for event in first if isinstance(event, Imported)]
    with pytest.raises(UserError, match="'mine' is in the library already; give another name"):
        next(import_checkpoint(request))
    assert imported.path == find_checkpoint("mine").path and not list((home / "cache" / "importing").iterdir())


@pytest.mark.parametrize("limit", [3_000, 30_000, 100_000])
def test_an_extraction_onto_a_full_disk_leaves_no_store_and_goes_on_when_it_is_repeated(
    limit: int, capsys: pytest.CaptureFixture[str], home: Path
) -> None:
    with limited(limit):
        refused(capsys, home, "extract", "--checkpoint", "digits-kd")
    assert all(path.name.startswith(".") for path in (home / "stores").iterdir())
    assert cli.main(["extract", "--checkpoint", "digits-kd"]) == 0
    assert len(list((home / "stores").iterdir())) == 1


@pytest.mark.parametrize("form", ["safetensors", "state_dict", "torch_export"])
def test_an_export_onto_a_full_disk_leaves_nothing_and_can_be_repeated(
    form: str, capsys: pytest.CaptureFixture[str], tmp_path: Path, home: Path
) -> None:
    command = ("checkpoints", "export", "digits-kd", "--to", str(tmp_path / "out"), "--format", form)
    with limited(100_000):
        refused(capsys, home, *command)
    assert not list((tmp_path / "out").iterdir())
    if form == "safetensors":
        assert cli.main(list(command)) == 0


@pytest.mark.parametrize("limit", [30_000, 400_000])
def test_a_training_onto_a_full_disk_fails_with_the_sentence_and_goes_on_from_there(
    limit: int, capsys: pytest.CaptureFixture[str], tmp_path: Path, home: Path
) -> None:
    whole, full = str(tmp_path / "whole"), str(tmp_path / "full")
    with limited(limit):
        said = refused(capsys, home, *TRAIN, "--run-dir", full)
    end = find_run(full).end or {}
    assert end["status"] == "failed" and f"fnkd: {end['error']}" == said and end["traceback"] is None
    assert cli.main(["runs", "resume", full]) == 0 and cli.main([*TRAIN, "--run-dir", whole]) == 0
    for name in ("model.safetensors", "best.safetensors"):
        assert (tmp_path / "full" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


STARVED = """
import resource, sys
from fnkd_core.data import load_split
from fnkd_core.jobs.run import create_run
from fnkd_core.jobs.worker import work
from fnkd_core.training import loop
from fnkd_core.training.config import RunConfig
run = create_run(RunConfig(student="wrn_40_10", epochs=1, threads=1).to_dict())
load_split("digits", "train")  # what is imported for it is not short of memory
pages = int(open("/proc/self/statm").read().split()[0])
resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + (64 << 20),) * 2)
sys.exit(work(run.path))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not say how much is mapped")
def test_a_run_for_which_there_is_too_little_memory_says_memory() -> None:
    command = [sys.executable, "-c", STARVED]
    done = subprocess.run(command, capture_output=True, text=True, cwd=project_dir(), timeout=300, check=False)
    (run,) = list_runs()
    end = run.end or {}
    assert done.returncode == 2 and end["status"] == "failed" and end["traceback"] is None
    assert end["error"].startswith("There is not enough memory: 0.0") and end["error"] in done.stdout

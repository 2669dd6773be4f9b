"""A store is of these weights, read so, on these images; it is made once, and goes with its checkpoint."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from fnkd_core import cli
from fnkd_core.checkpoints.library import find_checkpoint
from fnkd_core.data import add_folder, dataset_info, look_again
from fnkd_core.errors import UserError
from fnkd_core.jobs.control import cancel, end_run
from fnkd_core.jobs.queue import hand_in, unchanged
from fnkd_core.jobs.run import create_run, delete_run
from fnkd_core.jobs.summary import taught_by
from fnkd_core.jobs.worker import work
from fnkd_core.paths import project_dir, stores_dir
from fnkd_core.stores import extract as extracting
from fnkd_core.stores import upkeep
from fnkd_core.stores.extract import extract, extracted
from fnkd_core.stores.pieces import parts_of
from fnkd_core.stores.store import Store, open_store, store_path
from fnkd_core.stores.teacher_outputs import list_teacher_outputs
from fnkd_core.stores.upkeep import delete_store, delete_with_stores, holdings, list_stores, prune
from fnkd_core.training.config import RunConfig
from tests.pictures import noise, write_folder
from tests.tools import copy_checkpoint


def forget(home: Path, name: str) -> None:
    for suffix in (".json", ".safetensors"):
        (home / "checkpoints" / f"{name}{suffix}").unlink()


@pytest.mark.parametrize("changes", [{"mean": [0.0]}, {"std": [1.0]}, {"classes": [f"d{k}" for k in range(10)]}])
def test_a_checkpoint_imported_anew_with_another_reading_has_a_store_of_its_own(
    home: Path, changes: dict[str, list]
) -> None:
    info = dataset_info("digits")
    copy_checkpoint(home, "digits-ce", "theirs", **changes)
    wrong = find_checkpoint("theirs").identity
    forget(home, "theirs")
    copy_checkpoint(home, "digits-ce", "theirs")
    assert find_checkpoint("theirs").identity != wrong
    assert store_path(find_checkpoint("theirs"), info, "test") == store_path(find_checkpoint("digits-ce"), info, "test")


def test_numbers_of_a_wrong_normalisation_do_not_outlive_it(home: Path) -> None:
    info = dataset_info("digits")
    copy_checkpoint(home, "digits-ce", "theirs", mean=[0.9], std=[0.01])
    wrong = extracted(find_checkpoint("theirs"), info, "test").manifest["accuracy"]
    forget(home, "theirs")
    copy_checkpoint(home, "digits-ce", "theirs")
    right = extracted(find_checkpoint("theirs"), info, "test").manifest["accuracy"]
    assert wrong < 0.5 < 0.97 < right


def test_an_image_that_is_overwritten_in_place_makes_another_split(tmp_path: Path) -> None:
    root = write_folder(tmp_path / "set", size=(12, 12))
    info = add_folder("mine", str(root))
    before = info.identities
    noise(12, 12, 55).save(root / "test" / "bee" / "001.jpg", quality=90)
    look_again()
    after = dataset_info("mine").identities
    assert before[0] == after[0] and before[1] != after[1]


def test_the_same_images_under_two_names_are_one_split(tmp_path: Path) -> None:
    root = write_folder(tmp_path / "set")
    assert add_folder("a", str(root)).identities == add_folder("b", str(root)).identities


@pytest.mark.parametrize("split", ["train", "test"])
def test_splits_and_label_spaces_are_told_apart(split: str) -> None:
    info = dataset_info("digits")
    assert len({*info.identities}) == 2 and info.identity(split) in info.identities
    assert dataset_info("cifar100").identities == ()
    assert open_store(find_checkpoint("digits-ce"), dataset_info("cifar10"), "test") is None


def test_a_store_that_two_names_share_is_called_as_it_is_asked_for(home: Path) -> None:
    info = dataset_info("digits")
    copy_checkpoint(home, "digits-ce", "twin")
    first = extracted(find_checkpoint("digits-ce"), info, "test")
    twin = extracted(find_checkpoint("twin"), info, "test")
    assert twin.path == first.path and (first.name, twin.name) == ("digits-ce", "twin")
    found = open_store(find_checkpoint("twin"), info, "test")
    assert found is not None and found.name == "twin"


def test_two_processes_that_want_the_same_store_at_once_make_it_once(home: Path) -> None:
    code = (
        "from fnkd_core.stores.extract import extracted; from fnkd_core.checkpoints.library import find_checkpoint;"
        "from fnkd_core.data import dataset_info; import sys;"
        "print(extracted(find_checkpoint('digits-ce'), dataset_info('digits'), 'test').manifest['created'])"
    )
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    both = [
        subprocess.Popen([sys.executable, "-c", code], cwd=project_dir(), env=environment, stdout=subprocess.PIPE)
        for _ in range(2)
    ]
    said = {process.communicate(timeout=240)[0] for process in both}
    assert [process.returncode for process in both] == [0, 0] and len(said) == 1
    assert len(list(stores_dir().iterdir())) == 1


def test_a_store_that_another_process_finishes_just_after_the_look_is_neither_removed_nor_made_again(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry, info, made = find_checkpoint("digits-ce"), dataset_info("digits"), list[str]()
    look = extracting.open_store

    def look_too_early(*asked: Any) -> Store | None:
        found = look(*asked)
        monkeypatch.setattr(extracting, "open_store", look)
        made.append(extracted(entry, info, "test").manifest["created"])
        return found

    monkeypatch.setattr(extracting, "open_store", look_too_early)
    assert [extracted(entry, info, "test").manifest["created"]] == made
    assert len(list(stores_dir().iterdir())) == 1


def test_a_leftover_that_is_made_anew_while_it_is_looked_at_is_not_pruned(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry, info = find_checkpoint("digits-ce"), dataset_info("digits")
    store = extracted(entry, info, "test")
    (store.path / "manifest.json").unlink()
    look = upkeep.holdings

    def look_too_early(*asked: Any, **how: Any) -> upkeep.Holdings:
        found = look(*asked, **how)
        assert found.leftovers == [store.path]
        extracted(entry, info, "test")
        return found

    monkeypatch.setattr(upkeep, "holdings", look_too_early)
    assert prune() == 0 and open_store(entry, info, "test") is not None


def test_who_asks_for_a_store_that_is_being_made_does_what_is_left_of_it() -> None:
    entry, info = find_checkpoint("digits-ce"), dataset_info("digits")
    first = extract(entry, info, "test", size=10)
    assert [next(first)[0] for _ in range(9)][-1] == 90  # a piece of eight batches is done, the next has begun
    second = extract(entry, info, "test", size=10)
    assert next(second) == (90, 360), "the rows of the piece that is done, and ten of a third"
    with pytest.raises(UserError, match="is being made; wait for it"):
        delete_store(Store(store_path(entry, info, "test")))
    first.close()
    assert [done for done, _ in second][-1] == 360
    assert open_store(entry, info, "test") is not None


def test_evaluating_keeps_nothing_and_touches_no_store(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["eval", "--checkpoint", "digits-ce"]
    assert cli.main(arguments) == 0
    assert not stores_dir().exists()
    store = extracted(find_checkpoint("digits-ce"), dataset_info("digits"), "test")
    before = {path.name: path.stat().st_mtime_ns for path in store.path.iterdir()}
    assert cli.main(arguments) == 0
    assert {path.name: path.stat().st_mtime_ns for path in store.path.iterdir()} == before
    assert f"accuracy {store.manifest['accuracy']:.4f}" in capsys.readouterr().out


def test_a_store_goes_with_its_imported_checkpoint(home: Path) -> None:
    copy_checkpoint(home, "digits-ce", "theirs", mean=[0.31], findings=[{"level": "good", "text": "imported"}])
    info = dataset_info("digits")
    extracted(find_checkpoint("theirs"), info, "test")
    extracted(find_checkpoint("digits-ce"), info, "test")
    assert len(list_stores()) == 2
    copy_checkpoint(home, "digits-ce", "twin", findings=[{"level": "good", "text": "imported"}])
    assert delete_with_stores("twin") == 0, "the same weights are there under another name"
    assert delete_with_stores("theirs") == 1
    assert [store.name for store in list_stores()] == ["digits-ce"]
    with pytest.raises(UserError, match="was not imported"):
        delete_with_stores("digits-ce")
    assert len(list_stores()) == 1


def test_a_deleted_run_takes_its_students_stores_along_and_says_whom_it_taught(home: Path) -> None:
    quick = {"epochs": 1, "per_class": 4, "threads": 1}
    run = create_run(RunConfig(**quick).to_dict())  # type: ignore[arg-type]
    assert work(run.path) == 0
    pupil = create_run(RunConfig(method="kd", teacher=run.id, **quick).to_dict())  # type: ignore[arg-type]
    assert work(pupil.path) == 0
    assert not (run.path / "state.pt").exists() and taught_by(run) == [pupil]
    extracted(find_checkpoint(run.id), dataset_info("digits"), "test")
    assert len(list_stores()) == 1
    delete_run(run)
    assert list_stores() == [] and taught_by(pupil) == []


def test_what_nothing_needs_is_pruned_and_what_is_being_made_is_not(home: Path) -> None:
    info = dataset_info("digits")
    kept = extracted(find_checkpoint("digits-ce"), info, "test")
    copy_checkpoint(home, "digits-ce", "gone", mean=[0.31])
    orphan = extracted(find_checkpoint("gone"), info, "test")
    forget(home, "gone")
    making = extract(find_checkpoint("digits-kd"), info, "test", size=100)
    next(making)
    killed = parts_of(kept.path.with_name("0123456789ab-cdef-v5"))
    killed.mkdir()
    (killed / "logits.npy").write_bytes(b"x" * 1000)
    outdated = stores_dir() / "digits-digits-test-digits-ce-0123456789ab"
    outdated.mkdir()
    entries = [find_checkpoint(f"digits-{name}") for name in ("teacher", "ce", "kd", "fn")]
    found = holdings({entry.identity for entry in entries})
    assert [store.path for store in found.orphans] == [orphan.path]
    assert set(found.leftovers) == {killed, outdated}
    assert prune() > 1000
    assert [done for done, _ in making][-1] == 360
    assert {store.name for store in list_stores()} == {"digits-ce", "digits-kd"}
    assert holdings({entry.identity for entry in entries}).leftovers == []
    delete_store(kept)
    assert {store.name for store in list_stores()} == {"digits-kd"}


def test_stores_are_listed_and_pruned_from_the_command_line(capsys: pytest.CaptureFixture[str], home: Path) -> None:
    assert cli.main(["stores", "list"]) == 0
    assert "No stores" in capsys.readouterr().out
    copy_checkpoint(home, "digits-ce", "gone", mean=[0.31])
    extracted(find_checkpoint("gone"), dataset_info("digits"), "test")
    forget(home, "gone")
    assert cli.main(["stores", "list"]) == 0
    said = capsys.readouterr().out
    assert "360 samples" in said and "its checkpoint is gone" in said and "`fnkd stores prune`" in said
    assert cli.main(["stores", "prune"]) == 0
    assert list_stores() == []


def test_teachers_outputs_are_listed_and_go_where_no_run_may_read_them(
    capsys: pytest.CaptureFixture[str], home: Path
) -> None:
    options = ["--method", "kd", "--teacher", "digits-teacher", "--epochs", "2", "--per-class", "4", "--threads", "1"]
    options += ["--dataset", "digits", "--teacher-outputs", "cached", "--views", "2"]
    assert cli.main(["train", *options]) == 0
    assert "First the teacher is asked of 2 of 2 views, 80 images, which takes 2 kB" in capsys.readouterr().out
    assert cli.main(["stores", "list", "--json"]) == 0
    record, said = capsys.readouterr()
    lines = said.splitlines()
    found = {row["images"]: row for row in json.loads(record)["teacher_outputs"]}
    (views,) = (row for name, row in found.items() if name.endswith("augmented") and row["views"])
    assert views["teacher"] == "digits-teacher" and views["views"] == 2 and not views["orphan"]
    assert views["num_bytes"] >= 80 * (2 * 10 + 4) and any("said of" in line and "2 views" in line for line in lines)
    waiting = create_run(RunConfig(epochs=1).to_dict())
    with unchanged():
        hand_in(waiting)
    (left := stores_dir() / ".left.parts").mkdir(parents=True)
    assert cli.main(["stores", "prune", "--teacher-outputs"]) == 2
    assert left.exists()
    assert f"1 run under way or waiting may read what teachers have said ({waiting.id})" in (capsys.readouterr().err)
    assert Path(views["path"]).exists()
    cancel(waiting)
    assert cli.main(["stores", "prune", "--teacher-outputs"]) == 0
    assert list_teacher_outputs() == []


def test_a_run_that_has_ended_keeps_how(home: Path) -> None:
    run = create_run(RunConfig(epochs=1).to_dict())
    end_run(run, "failed", error="It broke.")
    with pytest.raises(UserError, match="has ended: failed"):
        work(run.path)

"""The command line as part of a pipe: its reader may leave, its lists have commas or spaces, its answers are JSON."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from fnkd_core import cli
from fnkd_core.checkpoints.card import read_card, write_card
from fnkd_core.checkpoints.importing.importer import import_checkpoint
from fnkd_core.checkpoints.importing.request import ImportRequest, name_of
from fnkd_core.checkpoints.library import find_checkpoint
from fnkd_core.cli.options import Bar, Items, Parser
from fnkd_core.errors import UserError
from fnkd_core.jobs.run import find_run
from fnkd_core.kd.methods import METHODS
from fnkd_core.models.architecture import list_architectures
from fnkd_core.paths import project_dir
from tests.test_cli import TRAIN, fnkd
from tests.tools import copy_checkpoint


@contextlib.contextmanager
def unread() -> Iterator[None]:
    """Standard output and error are pipes whose reader has left."""
    with pytest.MonkeyPatch.context() as patch, contextlib.ExitStack() as opened:
        for name in ("stdout", "stderr"):
            reader, writer = os.pipe()
            os.close(reader)
            patch.setattr(sys, name, opened.enter_context(os.fdopen(writer, "w", buffering=1)))
        yield


def test_a_reader_that_leaves_ends_a_command_quietly() -> None:
    command = f"set -o pipefail; '{sys.executable}' -m fnkd_core models | head -1"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, cwd=project_dir(), check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "cifar_resnet8\n", "")


def test_a_training_whose_reader_has_left_goes_on_to_its_end(tmp_path: Path) -> None:
    train = [*TRAIN, "--epochs", "1", "--per-class", "10", "--threads", "1", "--run-dir", str(tmp_path / "run")]
    with unread():
        codes = [cli.main([*train, "--json"]), cli.main(["runs", "show", "nothing"])]
    assert codes == [0, 2] and find_run(tmp_path / "run").state == "finished"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no such device")
def test_output_that_has_no_room_is_not_taken_for_a_reader_that_has_left() -> None:
    command = [sys.executable, "-m", "fnkd_core", "methods"]
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, cwd=project_dir(), check=False)
    assert done.returncode == 2 and len(done.stderr.splitlines()) == 1
    assert done.stderr.startswith("fnkd: The disk is full: what was to be written has no room;")


def listed(*arguments: str) -> argparse.Namespace:
    parser = Parser()
    parser.add_argument("path", nargs="?")
    parser.add_argument("--mean", action=Items, kind=float)
    parser.add_argument("--names", action=Items)
    parser.add_argument("--more", action=Items, again=True)
    parser.add_argument("--json", action="store_true")
    return parser.parse_args(arguments)


MEANS = (("0.5,-1,2",), ("0.5", "-1", "2"), ("0.5, -1", "2"), ("0.5 -1 2",), ("0.5,", "-1,", "2"))


@pytest.mark.parametrize("mean", MEANS)
def test_lists_have_commas_or_spaces(mean: tuple[str, ...]) -> None:
    assert listed("--mean", *mean, "--json").mean == [0.5, -1, 2]
    assert listed("--names", "a,b", "c", "--json").names == ["a", "b", "c"]
    assert listed("--more", "a", "b", "--more", "c").more == ["a", "b", "c"]
    after = listed("--mean", *mean, "file.pth")
    assert after.path == "file.pth" and after.mean == [0.5, -1, 2]
    assert listed("file.pth", f"--mean={','.join(mean)}").mean == [0.5, -1, 2]


WRONG = (("--mean", "x"), ("--mean", ","), ("--mean",), ("--mean", "--json"), ("--names", " "))


@pytest.mark.parametrize("wrong", WRONG)
def test_a_list_that_is_none_is_one_line(wrong: tuple[str, ...]) -> None:
    with pytest.raises(UserError, match="^Argument --(mean|names): "):
        listed(*wrong)


def test_every_list_of_every_command_is_read_so(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    out = str(tmp_path / "out")
    export = ("checkpoints", "export", "--format", "safetensors", "state_dict", "digits-ce", "--to", out)
    assert len(fnkd(capsys, *export)["files"]) == 3
    few = ("compare", "--dataset", "digits", "--seeds", "1", "--epochs", "1", "--teacher", "digits-ce")
    grid = ("--methods", "kd", "fn", "--grid", "T=2", "4", "tau=1,2", "--milestones", "0.5,", "0.6")
    assert cli.main([*few, *grid, "--json"]) == 2
    assert "milestones" in json.loads(capsys.readouterr().out)["error"]


def test_what_other_commands_take_is_listed(capsys: pytest.CaptureFixture[str]) -> None:
    found = {row["name"]: row["parameters"] for row in fnkd(capsys, "methods")["methods"]}
    assert list(found) == list(METHODS) and found["fn"][:2] == ["tau", "lambda"]
    assert fnkd(capsys, "models")["models"] == list_architectures()
    named = fnkd(capsys, "models", "ResNet18")["models"]
    assert "torchvision/resnet18" in named and all("resnet18" in name for name in named)


def test_an_option_cut_short_asks_for_json_too(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in (["runs", "show", "no", "--js"], ["train", "--js", "--epochs", "many"], ["nonsense", "--json"]):
        assert cli.main(arguments) == 2
        assert list(json.loads(capsys.readouterr().out)) == ["error"]


@pytest.mark.parametrize("file", ["модель.pth", "模型2.pth", "---.pth", "..pth"])
def test_a_file_named_in_another_script_is_told_to_be_given_a_name(file: str, tmp_path: Path) -> None:
    path = tmp_path / file
    path.touch()
    with pytest.raises(
        UserError, match=r"has no letters that a checkpoint's name can have .*give it a name \(--name\)"
    ):
        next(import_checkpoint(ImportRequest(path)))
    assert name_of(ImportRequest(path, name="mine"), path) == "mine"


@pytest.mark.parametrize(("file", "name"), [("модель-resnet.pth", "resnet"), ("56.pth", "56"), ("a b.pth", "a-b")])
def test_of_a_file_s_name_as_much_is_kept_as_can_be(file: str, name: str) -> None:
    assert name_of(ImportRequest(Path(file)), Path(file)) == name


def test_a_checkpoint_that_was_imported_says_so_however_old_its_card_is(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy_checkpoint(home, "digits-ce", "old", findings=[{"level": "good", "text": "Imported."}])
    path = home / "checkpoints" / "old.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"method": "unknown"}))
    methods = {row["name"]: row.get("method") for row in fnkd(capsys, "checkpoints", "list")["checkpoints"]}
    assert methods["old"] == "imported" and methods["digits-ce"] == "ce"
    before = find_checkpoint("old").identity
    write_card(path, read_card(path))
    assert find_checkpoint("old").identity == before


def test_what_takes_long_tells_a_log_file_how_far_it_is(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    bar = Bar("digits-1", 6)
    bar.show(1)
    assert capsys.readouterr().err == ""  # not a line for every step
    monkeypatch.setattr(Bar, "LINE_S", 0.0)
    bar.show(2.5)
    bar.close()
    said = capsys.readouterr()
    assert said.err == "digits-1: 2.5 of 6\n" and said.out == ""
    many = Bar("r20 on train", 1_000_000)
    many.show(993_792)
    assert capsys.readouterr().err == "r20 on train: 993,792 of 1,000,000\n"
    many.close()

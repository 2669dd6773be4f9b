"""What bash completes after `fnkd`, asked of a real bash."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from fnkd_core import cli
from fnkd_core.cli.completion import commands_of, completions, script
from fnkd_core.cli.program import _parser
from fnkd_core.kd.methods import METHODS


@pytest.fixture(scope="module")
def bash() -> str:
    found = shutil.which("bash")
    if found is None:
        pytest.skip("there is no bash")
    return found


def completed(bash: str, *typed: str) -> list[str]:
    """What bash offers for the last of these words."""
    words = " ".join(f"'{word}'" for word in ("fnkd", *typed))
    lines = (
        script(_parser()),
        f"COMP_WORDS=({words}); COMP_CWORD={len(typed)}; _fnkd",
        'printf "%s\\n" "${COMPREPLY[@]}"',
    )
    done = subprocess.run([bash, "--norc"], input="\n".join(lines), capture_output=True, text=True, check=True)
    assert done.stderr == ""
    return done.stdout.split()


def test_commands_groups_and_their_commands_are_completed(bash: str) -> None:
    assert completed(bash, "tr") == ["train"]
    assert {"train", "runs", "data", "compare", "completion"} <= set(completed(bash, ""))
    assert completed(bash, "data", "f") == ["fetch"]
    assert set(completed(bash, "runs", "")) == {"list", "show", "cancel", "resume", "delete", "export", "verify"}


def test_options_and_their_choices_are_completed(bash: str) -> None:
    assert completed(bash, "train", "--teacher-o") == ["--teacher-outputs"]
    assert completed(bash, "train", "--epochs", "3", "--teacher-outputs", "c") == ["cached"]
    assert set(completed(bash, "train", "--schedule", "")) == {"cosine", "multistep", "onecycle", "constant"}


def test_where_nothing_else_fits_there_are_files(bash: str, tmp_path: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(str(tmp_path))
    with open("resnet56.pth", "w"):
        pass
    assert completed(bash, "checkpoints", "import", "resn") == ["resnet56.pth"]


def test_every_command_there_is_can_be_completed() -> None:
    found = completions(_parser())
    assert {words for words, _ in commands_of(_parser())} <= set(found)


def test_names_of_methods_models_and_data_are_completed(bash: str) -> None:
    assert set(completed(bash, "train", "--method", "")) == set(METHODS)
    assert completed(bash, "stats", "--checkpoint", "digits-t") == ["digits-teacher"]
    assert completed(bash, "eval", "--dataset", "cifar100") == ["cifar100"]


def test_the_command_prints_the_script(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["completion", "bash"]) == 0
    assert capsys.readouterr().out == script(_parser())

"""What a shell completes after `fnkd`, asked of a real one."""

from __future__ import annotations

import os
import pty
import shutil
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from fnkd_core import cli
from fnkd_core.cli.completion import SHELLS, commands_of, completions, script
from fnkd_core.cli.program import _parser
from fnkd_core.kd.methods import METHODS
from tests.waiting import until


def by_bash(typed: str, folder: Path) -> str:
    """What bash makes of this when Tab is pressed."""
    words = typed.split(" ")
    lines = (
        script(_parser(), "bash"),
        f"COMP_WORDS=({' '.join(map(repr, words))}); COMP_CWORD={len(words) - 1}; _fnkd",
        'printf "%s\\n" "${COMPREPLY[@]}"',
    )
    return _asked(["bash", "--norc"], "\n".join(lines), folder)


def by_fish(typed: str, folder: Path) -> str:
    """What fish offers for this."""
    return _asked(["fish", "--no-config"], f"{script(_parser(), 'fish')}\ncomplete -C '{typed}'", folder)


def _asked(command: list[str], lines: str, folder: Path) -> str:
    done = subprocess.run(command, input=lines, capture_output=True, text=True, check=True, cwd=folder)
    assert done.stderr == ""
    return done.stdout


def by_zsh(typed: str, folder: Path) -> str:
    """What zsh makes of this when Tab is pressed. Its completion works in a terminal alone."""
    (folder / ".zshrc").write_text(f"unsetopt zle_bracketed_paste\n{script(_parser(), 'zsh')}\n: > ready\n")
    terminal, its_end = pty.openpty()
    environment = os.environ | {"ZDOTDIR": str(folder), "TERM": "dumb", "PS1": ""}
    shell = subprocess.Popen(
        ["zsh", "-d", "-i"], stdin=its_end, stdout=its_end, stderr=its_end, cwd=folder, env=environment,
        start_new_session=True,
    )  # fmt: skip
    os.close(its_end)
    reader = threading.Thread(target=_drained, args=(terminal,))  # a terminal that nobody reads blocks who writes to it
    reader.start()
    try:
        until(lambda: (folder / "ready").exists())
        begin, end = b"\x01", b"\x05"
        os.write(terminal, typed.encode() + b"\t" + begin + b"print -r -- '" + end + b"' > part; mv part said\n")
        until(lambda: (folder / "said").exists())
        return (folder / "said").read_text()
    finally:
        shell.kill()
        shell.wait()
        reader.join()
        os.close(terminal)


def _drained(terminal: int) -> None:
    try:
        while os.read(terminal, 1 << 16):
            pass
    except OSError:  # the shell has ended
        pass


BY = {"bash": by_bash, "zsh": by_zsh, "fish": by_fish}


def _by(shell: str, tmp_path: Path) -> Callable[[str], list[str]]:
    if shutil.which(shell) is None:
        pytest.skip(f"there is no {shell}")
    folder = tmp_path / "work"
    folder.mkdir()
    (folder / "resnet56.pth").touch()
    return lambda typed: BY[shell](typed, folder).split()


@pytest.fixture(params=SHELLS)
def completed(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[str], list[str]]:
    """The words that are there after Tab."""
    return _by(request.param, tmp_path)


@pytest.fixture(params=["bash", "fish"])
def offered(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[str], list[str]]:
    """The words that can come there, of the shells that list them for who asks."""
    return _by(request.param, tmp_path)


@pytest.mark.parametrize(
    ("typed", "word"),
    [
        ("fnkd tr", "train"),
        ("fnkd data f", "fetch"),
        ("fnkd train --teacher-o", "--teacher-outputs"),
        ("fnkd train --epochs 3 --teacher-outputs c", "cached"),
        ("fnkd stats --checkpoint digits-t", "digits-teacher"),
        ("fnkd checkpoints import resn", "resnet56.pth"),
    ],
)
def test_a_command_a_group_s_an_option_its_choice_a_name_and_else_a_file_is_completed(
    completed: Callable[[str], list[str]], typed: str, word: str
) -> None:
    found = completed(typed)
    assert found in ([word], [*typed.split()[:-1], word])


def test_all_that_can_follow_is_offered(offered: Callable[[str], list[str]]) -> None:
    assert {"train", "runs", "data", "compare", "completion"} <= set(offered("fnkd "))
    assert set(offered("fnkd runs ")) == {"list", "show", "cancel", "resume", "delete", "export", "verify"}
    assert set(offered("fnkd train --schedule ")) == {"cosine", "multistep", "onecycle", "constant"}
    assert set(offered("fnkd train --method ")) == set(METHODS)
    assert offered("fnkd eval --dataset cifar100") == ["cifar100"]


def test_every_command_there_is_can_be_completed() -> None:
    found = completions(_parser())
    assert {words for words, _ in commands_of(_parser())} <= set(found)


@pytest.mark.parametrize("shell", SHELLS)
def test_the_command_prints_the_script(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["completion", shell]) == 0
    assert capsys.readouterr().out == script(_parser(), shell)

"""An error is one bounded line that can be shown anywhere, whatever it quotes; so is what the command line prints."""

from __future__ import annotations

import io
import re
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fnkd_core import cli
from fnkd_core.cli.printable import Printable
from fnkd_core.errors import MOST_CHARACTERS, UserError, one_line
from tests.pages.tools import make_folder

HOSTILE = "cat\x1b[31m\x07\x9b2J\u202eexe\r\nfnkd: all is well"


@given(st.text(st.characters(), max_size=60))
def test_an_error_is_one_line_without_control_characters(text: str) -> None:
    line = str(UserError(text))
    assert not [c for c in line if unicodedata.category(c) in ("Cc", "Cs") or c in "\u2028\u2029\u202e"]
    line.encode()
    if text.isprintable():
        assert line == text


def test_an_error_of_megabytes_keeps_its_two_ends() -> None:
    error = UserError(f"The value {'x' * 5_000_000} is too long; shorten it.")
    assert len(str(error)) < MOST_CHARACTERS + 50
    assert str(error).startswith("The value xxx") and str(error).endswith("xxx is too long; shorten it.")
    assert "more characters" in str(error)
    assert one_line(error) != "" and len(one_line("y" * 10**7)) < MOST_CHARACTERS + 50


def test_a_terminal_gets_the_codes_of_control_characters() -> None:
    out = io.StringIO()
    print(HOSTILE, file=Printable(out))
    assert out.getvalue() == "cat\\x1b[31m\\x07\\x9b2J\\u202eexe\\x0d\nfnkd: all is well\n".replace("\\x0d", "\\r")


def test_a_progress_bar_writes_over_its_own_line_and_what_it_names_does_not() -> None:
    out = io.StringIO()
    stream = Printable(out)
    stream.write("\rhalf\rway")
    stream.write("\r     \r")
    assert out.getvalue() == "\rhalf\\rway\r     \r"


def test_the_command_line_shows_names_of_files_and_classes_as_text(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = make_folder(tmp_path / "pets")
    (folder / "cat").rename(folder / HOSTILE)
    (folder / HOSTILE / "\x1b]0;title\x07.png").write_bytes(b"broken")
    groups = tmp_path / "groups.csv"
    groups.write_text(f'class,group\n"{HOSTILE}",pets\ndog,pets\n', newline="")
    for command in (
        ["data", "check", str(folder), "--deep"],
        ["data", "similar", "folder", "--data-root", str(folder), "--similar", str(groups)],
        ["checkpoints", "show", HOSTILE],
        ["eval", "--checkpoint", HOSTILE],
        ["train", "--dataset", "digits", "--method", HOSTILE],
    ):
        cli.main(command)
        said = capsys.readouterr()
        assert "\\x1b" in said.out + said.err, command
        for line in (said.out + said.err).splitlines():
            assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202e]", line)
            assert not line.startswith("fnkd: all is well"), command

"""The README is true: its tree, its methods, its pictures, its commands."""

from __future__ import annotations

import re
import runpy
import shlex
from pathlib import Path

import pytest

from fnkd_core import cli
from fnkd_core.paths import project_dir

README = (project_dir() / "README.md").read_text()
COMMANDS = [line for line in README.splitlines() if line.startswith("fnkd ")]


def test_what_is_written_into_the_readme_is_up_to_date() -> None:
    written = runpy.run_path(str(project_dir() / "docs" / "write_readme.py"))
    assert written["readme"]() == README, "run `make readme`"
    assert written["settings_page"]() == (project_dir() / "docs" / "settings.md").read_text(), "run `make readme`"


def test_every_link_and_picture_is_there() -> None:
    links = re.findall(r"\]\((?!https?:)([^)#]+)\)", README)
    assert len(links) > 8
    assert [link for link in links if not (project_dir() / link).exists()] == []


def test_the_commands_of_the_readme_work_in_their_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert len(COMMANDS) >= 5
    for command in COMMANDS:
        assert cli.main(shlex.split(command)[1:]) == 0, (command, capsys.readouterr().err)


def test_the_two_commands_of_the_readme_are_targets_of_the_makefile() -> None:
    makefile = (project_dir() / "Makefile").read_text()
    targets = re.findall(r"^make (\w+)", README, re.MULTILINE)
    assert targets == ["app", "test"]
    for target in [*targets, *re.findall(r"`make (\w+)`", README)]:
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


def test_top_level_is_what_the_project_agreed_on() -> None:
    for name in ("app.py", "pages", "fnkd_core", "checkpoints", "tests", "requirements.txt", "README.md"):
        assert (project_dir() / name).exists()
    assert len((project_dir() / "app.py").read_text().splitlines()) <= 60
    assert all(len(p.read_text().splitlines()) <= 80 for p in (project_dir() / "pages").glob("*.py"))

"""The README and the reference are true: what is written into them, the pictures, the commands."""

from __future__ import annotations

import re
import runpy

from fnkd_core.kd.methods import METHODS
from fnkd_core.kd.objective import with_policy
from fnkd_core.kd.policies import POLICIES
from fnkd_core.paths import project_dir

WORDS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
README = (project_dir() / "README.md").read_text()


def test_what_is_written_into_the_reference_is_up_to_date() -> None:
    written = runpy.run_path(str(project_dir() / "docs" / "write_readme.py"))
    for path in written["WRITTEN"]:
        assert written["page"](path) == (project_dir() / path).read_text(), f"{path}: run `make readme`"


def test_the_readme_is_read_in_three_minutes_and_has_two_pictures_and_one_table_of_results() -> None:
    words = re.sub(r"^```.*?^```$|^\|.*?$|\(.*?\)", "", README, flags=re.MULTILINE | re.DOTALL).split()
    assert len(words) < 750  # 250 a minute
    assert README.count("![") == 2 and README.count("written by `make readme`") == 1
    digits = (project_dir() / "docs" / "results" / "digits.md").read_text()
    assert digits.count("written by `make checkpoints`") == 1


def test_the_readme_names_every_method_and_temperature_policy() -> None:
    assert [name for name in (*METHODS, "constant", *POLICIES) if f"`{name}`" not in README] == []
    assert f"temperatures of {WORDS[len(with_policy())]} of them" in README


def test_the_two_commands_of_the_readme_are_targets_of_the_makefile() -> None:
    makefile = (project_dir() / "Makefile").read_text()
    targets = re.findall(r"^make (\w+)", README, re.MULTILINE)
    assert targets == ["app", "test"]
    pages = "".join(path.read_text() for path in (project_dir() / "docs").rglob("*.md"))
    for target in [*targets, *re.findall(r"`make (\w+)`", README + pages)]:
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


def test_top_level_is_what_the_project_agreed_on() -> None:
    for name in ("app.py", "pages", "fnkd_core", "checkpoints", "tests", "requirements.txt", "README.md"):
        assert (project_dir() / name).exists()
    assert len((project_dir() / "app.py").read_text().splitlines()) <= 60
    assert all(len(p.read_text().splitlines()) <= 80 for p in (project_dir() / "pages").glob("*.py"))

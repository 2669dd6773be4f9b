"""docs/files.md is true: of real runs, comparisons, stores, cards and teachers' outputs, in both directions."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from fnkd_core import cli
from fnkd_core.paths import project_dir
from tests.docs.pages import text_of

KINDS = {
    "run": "runs/*",
    "comparison": "comparisons/*",
    "store": "stores/*",
    "teacher_outputs": "teacher_outputs/*",
}
SETTINGS = (
    "--dataset digits --teacher digits-teacher --student cifar_resnet8 --epochs 1 --per-class 4 --threads 1 "
    "--teacher-outputs cached --views 1"
)


def table(kind: str) -> dict[str, str]:
    """File -> when it is there, of one table of the page."""
    part = text_of("files.md").split(f"<!-- {kind} -->")[1].split(f"<!-- end of {kind} -->")[0]
    rows = re.findall(r"^\| (`.+?`) \| ([^|]*) \|", part, re.MULTILINE)
    return {name: when for names, when in rows for name in re.findall(r"`(.+?)`", names)}


@pytest.fixture(scope="module")
def used(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A home with a comparison of one run, whose student's store has been made, and that of the teacher."""
    home = tmp_path_factory.mktemp("used")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FNKD_HOME", str(home))
        assert cli.main(f"train --method kd {SETTINGS}".split()) == 0
        assert cli.main(f"compare --methods kd --seeds 1 {SETTINGS}".split()) == 0
        assert cli.main(["extract", "--checkpoint", "digits-teacher"]) == 0
    return home


def files_in(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("kind", KINDS)
def test_every_file_is_named_on_the_page_and_what_is_always_there_is(kind: str, used: Path) -> None:
    named = table(kind)
    folders = sorted(used.glob(KINDS[kind]))
    assert folders and named
    for folder in folders:
        there = files_in(folder)
        assert there - set(named) == set()
        assert {name for name, when in named.items() if when == "always"} - there == set()


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_there_at_times_is_written_or_read_by_the_code(kind: str, used: Path) -> None:
    code = "".join(path.read_text() for path in (project_dir() / "fnkd_core").rglob("*.py"))
    there = set().union(*(files_in(folder) for folder in used.glob(KINDS[kind])))
    for name in set(table(kind)) - there:
        assert re.search(rf'"{re.escape(name.rstrip("/"))}"', code), name


def test_every_field_of_a_card_is_named_on_the_page_and_no_other(used: Path) -> None:
    part = text_of("files.md").split("<!-- card -->")[1].split("<!-- end of card -->")[0]
    named = {name for row in re.findall(r"^\| (`.+?`) \|", part, re.MULTILINE) for name in re.findall(r"`(.+?)`", row)}
    for path in used.glob("runs/*/model.json"):
        assert set(json.loads(path.read_text())) == named
    assert set(json.loads((project_dir() / "checkpoints" / "digits-teacher.json").read_text())) <= named


def test_every_folder_of_a_home_is_named_on_the_page(used: Path) -> None:
    named = set(re.findall(r"^\| `(\w+)/` \| [^|]* \|$", text_of("files.md"), re.MULTILINE))
    assert {path.name for path in used.iterdir()} <= named
    code = (project_dir() / "fnkd_core" / "paths.py").read_text()
    assert named == set(re.findall(r'home\(\) / "(\w+)"', code))

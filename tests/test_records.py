"""Every file of ours is of its shape, or one line that names it and a remedy."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, NotRequired, TypedDict

import pytest
from hypothesis import example, given

from fnkd_core.checkpoints.card import Card, read_card
from fnkd_core.checkpoints.library import delete_checkpoint, find_checkpoint, list_checkpoints
from fnkd_core.data import add_folder, dataset_info, folders, list_datasets, registry_problem
from fnkd_core.errors import UserError
from fnkd_core.paths import project_dir
from fnkd_core.records import read_json, read_lines, recall
from fnkd_core.shapes import AtLeast, Count, misfit
from tests.pictures import write_folder
from tests.test_files import values
from tests.tools import copy_checkpoint


class Inner(TypedDict):
    level: Literal["good", "bad"]
    share: NotRequired[float | None]


@dataclass(frozen=True)
class Outer:
    name: str
    inner: Annotated[dict[str, Any], Inner]
    counts: list[Count]
    pair: tuple[int, str] = (1, "x")
    more: Any = None


GOOD: dict[str, Any] = {"name": "a", "inner": {"level": "good", "other": 1}, "counts": [1, 2]}
MISFITS: dict[str, tuple[dict[str, Any], str]] = {
    "a number for text": ({"name": 3}, "name must be text, got 3"),
    "text for an object": ({"inner": "x"}, "inner must be an object, got 'x'"),
    "an unknown word": ({"inner": {"level": "weird"}}, "inner.level must be one of good, bad, got 'weird'"),
    "what is missing": ({"inner": {}}, "inner lacks level"),
    "text in place of nothing": (
        {"inner": {"level": "bad", "share": "x"}},
        "inner.share must be a number or null, got",
    ),
    "true for a number": ({"inner": {"level": "bad", "share": True}}, "inner.share must be a number or null, got True"),
    "a list of something else": ({"counts": [1, "2"]}, "counts[1] must be a whole number, got '2'"),
    "a number out of bounds": ({"counts": [0]}, "counts[0] must be at least 1, got 0"),
    "a tuple of another length": ({"pair": [1]}, "pair must have 2 items, got 1"),
    "a key that no record has": ({"strange": 1}, "it has unknown keys strange"),
    "a key of several lines": ({"a\nb": 1}, "it has unknown keys 'a\\nb'"),
    "a number beyond numbers": ({"counts": [10**30]}, "counts[0] must be a whole number, got 1"),
    "what is no number": ({"inner": {"level": "bad", "share": float("nan")}}, "inner.share holds what is no number"),
    "what is deep": ({"more": json.loads("[" * 50 + "]" * 50)}, "more is nested too deep"),
    "a long text": ({"counts": "x" * 10_000}, "counts must be a list, got 'xxxxxxxxx"),
}


@pytest.mark.parametrize("case", MISFITS)
def test_what_does_not_fit_is_named_with_its_place_and_what_it_must_be(case: str) -> None:
    changes, said = MISFITS[case]
    problem = misfit(GOOD | changes, Outer)
    assert problem is not None and problem.startswith(said) and len(problem) < 200


def test_what_fits_is_read_as_its_record(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes(b"\xef\xbb\xbf" + json.dumps(GOOD | {"pair": [2, "y"]}).encode())
    assert read_json(tmp_path / "a.json", Outer) == Outer("a", GOOD["inner"], [1, 2], [2, "y"])  # type: ignore[arg-type]


@given(values)
@example({"\n": None})
def test_any_value_fits_anything_and_is_never_an_exception_elsewhere(value: object) -> None:
    assert misfit(value, Any) is None
    for shape in (Outer, Inner, list[Inner], dict[str, Count], int | Inner | None, Annotated[float, AtLeast(0)]):
        problem = misfit(value, shape)
        assert problem is None or (problem and "\n" not in problem)


def a_folder(path: Path) -> None:
    path.mkdir()


DAMAGES: dict[str, tuple[bytes | Callable[[Path], object], str]] = {
    "torn": (b"{", "it is not JSON"),
    "empty": (b"", "it is not JSON"),
    "deep": (b"[" * 100_000, "it is nested too deep"),
    "of bytes": (b"\xff\xfe\x00", "it is not text in UTF-8"),
    "NaN": (b'{"a": NaN}', "a holds what is no number"),
    "Infinity": (b'{"a": -Infinity}', "a holds what is no number"),
    "a number beyond numbers": (b'{"a": 1e999}', "a holds what is no number"),
    "a number of many digits": (b'{"a": ' + b"7" * 5000 + b"}", "it is not JSON: Exceeds the limit"),
    "NUL in a path": (b'{"a": "/x\\u0000y"}', "it holds the character NUL"),
    "half a character": (b'{"a": "\\ud800"}', "it is not text in UTF-8"),
    "a list": (b"[]", "it must be an object, got []"),
    "a folder": (a_folder, "Is a directory"),
    "a pipe": (os.mkfifo, "it is no regular file"),
    "a link to itself": (lambda path: path.symlink_to(path), "Too many levels of symbolic links"),
    "larger than it can be": (b" " * 200, "it has 200 bytes, more than 100"),
}


@pytest.mark.parametrize("case", DAMAGES)
def test_a_damaged_file_is_one_line_with_its_name_and_a_remedy(tmp_path: Path, case: str) -> None:
    path, (content, said) = tmp_path / "a.json", DAMAGES[case]
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        content(path)
    most = 100 if case == "larger than it can be" else 10**6
    with pytest.raises(UserError) as caught:
        read_json(path, dict[str, Any], "delete the thing", most)
    text = str(caught.value)
    assert text.startswith(f"{path} is damaged ({said}") and text.endswith("; delete the thing.") and "\n" not in text
    assert recall(path, most=100) == {}


def test_lines_are_read_to_the_one_that_is_being_written(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    assert read_lines(path, Inner) == []
    path.write_text('{"level": "good"}\n{"level": "b')
    assert read_lines(path, Inner, whole=False) == [{"level": "good"}]
    with pytest.raises(UserError, match=r"a.jsonl is damaged \(line 2: it is not JSON"):
        read_lines(path, Inner)
    for torn in ("null\n", '{"level": "good"}\n{}\n{"level": "good"}\n', "\n", "3"):
        path.write_text(torn)
        with pytest.raises(UserError, match=r"a.jsonl is damaged \(line \d: .*; delete it.$"):
            read_lines(path, Inner, "delete it")


CARDS: dict[str, tuple[dict[str, Any], str]] = {
    "metrics": ({"metrics": {"last": "x"}}, "metrics.last must be an object, got 'x'"),
    "accuracy": ({"metrics": {"last": {"accuracy": "high"}}}, "metrics.last.accuracy must be a number or null"),
    "level": ({"findings": [{"level": "weird", "text": "x"}]}, "findings[0].level must be one of good, warning, bad"),
    "finding": ({"findings": ["x"]}, "findings[0] must be an object, got 'x'"),
    "created": ({"created": 3}, "created must be text, got 3"),
    "source": ({"source": ["x"]}, "source must be text, got ['x']"),
    "teacher": ({"teacher": 4}, "teacher must be text or null, got 4"),
    "provenance": ({"provenance": {"teacher": []}}, "provenance.teacher must be text or null"),
    "classes": ({"classes": list(range(10))}, "classes[0] must be text, got 0"),
    "epochs": ({"epochs": "x"}, "epochs must be a whole number or null"),
    "parameters": ({"parameters": "x"}, "parameters must be an object"),
    "deep": ({"parameters": {"x": json.loads("[" * 200 + "]" * 200)}}, "parameters is nested too deep"),
    "size": ({"image_size": [10**9, 10**9]}, "image_size must be [height, width] of at most 4096 pixels"),
    "mean": ({"mean": ["x"]}, "mean[0] must be a number, got 'x'"),
    "format": ({"format": "1"}, "format must be 1, got '1'"),
}


@pytest.mark.parametrize("case", CARDS)
def test_a_damaged_card_is_its_entry_s_problem_and_can_be_deleted_and_imported_anew(home: Path, case: str) -> None:
    copy_checkpoint(home, "digits-ce", "theirs")
    path, (changes, said) = home / "checkpoints" / "theirs.json", CARDS[case]
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    entry = next(e for e in list_checkpoints() if e.name == "theirs")
    assert entry.card is None and entry.problem is not None
    assert entry.problem.startswith(f"{path} is damaged ({said}") and "delete it with its weights" in entry.problem
    delete_checkpoint("theirs")
    copy_checkpoint(home, "digits-ce", "theirs")
    assert find_checkpoint("theirs").card is not None


def test_no_card_is_made_that_could_not_be_read() -> None:
    values = read_card(project_dir() / "checkpoints" / "digits-ce.json").to_dict()
    with pytest.raises(UserError, match=r"findings\[0\] lacks text"):
        Card(**(values | {"findings": [{"level": "good"}]}))


@pytest.mark.parametrize("torn", [3, {"path": 3}, {"unreadable": "skip"}, {"path": "x", "unreadable": "?"}, None])
def test_one_damaged_folder_of_images_hides_no_other(home: Path, tmp_path: Path, torn: Any) -> None:
    add_folder("sound", str(write_folder(tmp_path / "set")))
    path = home / "data" / "folders.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"torn": torn}))
    assert list(folders()) == ["sound"] and "sound" in list_datasets() and dataset_info("sound").classes
    problem = registry_problem()
    assert problem is not None and problem.startswith(f"{path} is damaged (torn")
    with pytest.raises(UserError, match="correct it, or delete it and add the folders again"):
        add_folder("more", str(tmp_path / "set"))
    path.unlink()
    add_folder("sound", str(tmp_path / "set"))
    assert registry_problem() is None


@pytest.mark.parametrize("text", ["[" * 100_000, '{"a": "x\\u0000"}', "[]", "", "3"])
def test_a_list_of_folders_that_is_no_such_leaves_the_data_sets_there_are(home: Path, text: str) -> None:
    (home / "data").mkdir()
    (home / "data" / "folders.json").write_text(text)
    assert "digits" in list_datasets() and folders() == {}
    assert "folders.json is damaged" in str(registry_problem())


def test_reading_a_pipe_hangs_nobody(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "digits.json")
    code = (
        "import sys; from fnkd_core.records import recall; from pathlib import Path; print(recall(Path(sys.argv[1])))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "digits.json")],
        capture_output=True, text=True, timeout=120, cwd=project_dir(), check=True,
    )  # fmt: skip
    assert done.stdout == "{}\n"

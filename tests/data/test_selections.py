"""Saved selections are whole, are of a split as it is, and leave as the files that they name."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from fnkd_core import cli
from fnkd_core.data import add_folder, dataset_info, load_split
from fnkd_core.data.selections import (
    add_to,
    delete_selection,
    find_selection,
    list_selections,
    relabel,
    remove_from,
    require_of,
    rows_of,
    save_anew,
    set_note,
)
from fnkd_core.errors import UserError
from fnkd_core.paths import environment, selections_dir
from tests.pages.tools import make_folder

DIGITS = ["digits/0001", "digits/0003", "digits/0005"]


def test_samples_are_added_once_and_taken_out_and_how_they_were_chosen_is_kept() -> None:
    info = dataset_info("digits")
    add_to("odd", info, "train", DIGITS[:2], "by hand")
    add_to("odd", info, "train", DIGITS[1:], "by hand")
    found = add_to("odd", info, "train", DIGITS[:1], "the lowest")
    assert found.keys == DIGITS and found.made == "by hand; the lowest"
    assert find_selection("odd") == found and list_selections() == ([found], [])
    assert remove_from("odd", info, "train", DIGITS[1:2]).keys == [DIGITS[0], DIGITS[2]]
    set_note("odd", "look again")
    assert find_selection("odd").note == "look again"
    delete_selection("odd")
    assert list_selections() == ([], [])
    for act in (lambda: find_selection("odd"), lambda: delete_selection("odd"), lambda: set_note("odd", "")):
        with pytest.raises(UserError, match="selection"):
            act()


def test_what_is_saved_anew_takes_the_place_of_one_that_nobody_has_worked_on_alone() -> None:
    info = dataset_info("digits")
    assert save_anew("map", info, "train", DIGITS[:1], "drawn").name == "map"
    assert save_anew("map", info, "train", DIGITS[1:], "drawn again").name == "map"
    assert find_selection("map").keys == DIGITS[1:] and find_selection("map").made == "drawn again"
    for taken, work in (
        ("map", lambda: set_note("map", "mine")),
        ("map-2", lambda: relabel("map-2", info, "train", DIGITS[:1], 3)),
        ("map-3", lambda: (selections_dir() / "map-3.json").write_text("{")),
    ):
        work()
        before = (selections_dir() / f"{taken}.json").read_bytes()
        saved = save_anew("map", info, "train", DIGITS[:1], "drawn")
        assert saved.name == f"map-{int(taken[4:] or 1) + 1}" and saved.keys == DIGITS[:1]
        assert (selections_dir() / f"{taken}.json").read_bytes() == before
    assert save_anew("n" * 64, info, "train", DIGITS, "").name == "n" * 64
    set_note("n" * 64, "mine")
    assert save_anew("n" * 64, info, "train", DIGITS, "").name == "n" * 58 + "-2"


def test_what_it_selects_is_its_identity_and_not_its_name_or_order() -> None:
    info = dataset_info("digits")
    first, second = (add_to(name, info, "train", keys, name) for name, keys in (("a", DIGITS), ("b", DIGITS[::-1])))
    assert first.identity == second.identity
    assert remove_from("b", info, "train", DIGITS[:1]).identity != first.identity
    assert add_to("c", info, "test", DIGITS, "").identity != first.identity


def test_samples_of_a_selection_are_given_labels_and_those_that_leave_it_lose_them() -> None:
    info = dataset_info("digits")
    add_to("odd", info, "train", DIGITS, "")
    found = relabel("odd", info, "train", [*DIGITS[:2], "digits/0007"], 4)
    assert found.labels == dict.fromkeys(DIGITS[:2], 4) and find_selection("odd") == found
    assert found.identity == relabel("odd", info, "train", DIGITS[1:2], 5).identity
    assert found.identity_of_labels != find_selection("odd").identity_of_labels
    assert relabel("odd", info, "train", DIGITS[:1], None).labels == {DIGITS[1]: 5}
    assert remove_from("odd", info, "train", DIGITS[1:2]).labels == {}
    with pytest.raises(UserError, match="label must be that of a class of .* 0 to 9, got 10"):
        relabel("odd", info, "train", DIGITS, 10)
    with pytest.raises(UserError, match="Unknown selection 'gone'"):
        relabel("gone", info, "train", DIGITS, 1)
    assert [one.name for one in list_selections()[0]] == ["odd"]


def test_a_selection_of_before_there_were_labels_is_read_and_a_label_of_no_class_is_a_sentence() -> None:
    info = dataset_info("digits")
    found = add_to("odd", info, "train", DIGITS, "")
    path, record = selections_dir() / "odd.json", vars(found)
    path.write_text(json.dumps({key: value for key, value in record.items() if key != "labels"}))
    assert find_selection("odd") == found
    path.write_text(json.dumps(record | {"labels": {DIGITS[0]: 10}}))
    with pytest.raises(UserError, match="gives the label .*10.*, but .* has 10 classes"):
        require_of(find_selection("odd"), info)


def test_a_selection_takes_no_samples_of_another_split_and_no_name_that_is_no_file_s() -> None:
    info = dataset_info("digits")
    add_to("odd", info, "train", DIGITS, "")
    with pytest.raises(UserError, match="of the train split of digits .* not of the test split"):
        add_to("odd", info, "test", DIGITS, "")
    for name in ("../x", "", "a/b"):
        with pytest.raises(UserError, match="selection's name has letters"):
            add_to(name, info, "train", DIGITS, "")
    assert find_selection("odd").keys == DIGITS


def test_a_damaged_selection_is_a_line_and_the_others_stay() -> None:
    info = dataset_info("digits")
    good = add_to("good", info, "train", DIGITS, "")
    for name, text in (("torn", "{"), ("other", json.dumps(vars(good)))):
        (selections_dir() / f"{name}.json").write_text(text)
    found, problems = list_selections()
    assert found == [good] and len(problems) == 2 and all("delete it" in problem for problem in problems)


ADDING = """
import sys
from fnkd_core.data import dataset_info
from fnkd_core.data.selections import add_to
for i in range(40):
    add_to("shared", dataset_info("digits"), "train", [f"{sys.argv[1]}/{i}"], "at once")
"""


def test_two_processes_that_tag_at_once_lose_nothing() -> None:
    children = [subprocess.Popen([sys.executable, "-c", ADDING, name], env=environment()) for name in "ab"]
    assert [child.wait(240) for child in children] == [0, 0]
    assert sorted(find_selection("shared").keys) == sorted(f"{name}/{i}" for name in "ab" for i in range(40))


def test_an_export_names_the_files_in_the_order_of_the_split(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    info = add_folder("animals", str(make_folder(tmp_path / "animals")))
    samples = load_split(info, "train")
    chosen = add_to("odd", info, "train", [samples.keys[4], samples.keys[1]], "")
    table = rows_of(chosen, info, samples.keys, samples.labels.tolist())
    assert table["key"] == [samples.keys[1], samples.keys[4]]
    assert [Path(path).is_file() for path in table["path"]] == [True, True]
    assert "new_label" not in table
    chosen = relabel("odd", info, "train", [samples.keys[4]], 1 - int(samples.labels[4]))
    table = rows_of(chosen, info, samples.keys, samples.labels.tolist())
    assert table["new_label"] == [int(samples.labels[1]), 1 - int(samples.labels[4])]
    assert table["new_class"] == [info.classes[label] for label in table["new_label"]]
    outputs = {kind: tmp_path / f"odd.{kind}" for kind in ("csv", "parquet", "txt")}
    for path in outputs.values():
        assert cli.main(["selections", "export", "odd", str(path)]) == 0
    assert outputs["txt"].read_text().split("\n") == [*table["path"], ""]
    assert pd.read_csv(outputs["csv"]).to_dict("list") == table
    assert pd.read_parquet(outputs["parquet"]).to_dict("list") == table
    assert cli.main(["selections", "export", "odd", str(tmp_path / "odd.xlsx")]) == 2
    assert "ending of a file" in capsys.readouterr().err
    assert cli.main(["selections", "list", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert [(one["name"], one["num_samples"], one["num_relabelled"]) for one in said["selections"]] == [("odd", 2, 1)]
    (tmp_path / "animals" / "cat" / "new.png").write_bytes((tmp_path / "animals" / "cat" / "0.png").read_bytes())
    assert cli.main(["selections", "export", "odd", str(outputs["txt"])]) == 2
    assert "as it was then" in capsys.readouterr().err
    assert cli.main(["selections", "delete", "odd"]) == 0 and list_selections() == ([], [])

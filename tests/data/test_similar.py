"""Similar classes: where they come from, and that they are read as they were written."""

from __future__ import annotations

import csv
import dataclasses
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fnkd_core.data import (
    DatasetInfo,
    dataset_info,
    default_similar,
    similar_classes,
)
from fnkd_core.data.similar import (
    GroupCounts,
    class_groups,
    count_groups,
    delete_groups,
    fitting_sources,
    groups_csv,
    read_groups,
    save_groups,
)
from fnkd_core.data.sources.cifar import FINE
from fnkd_core.errors import UserError
from tests.data.test_data import make


def of(*classes: str) -> DatasetInfo:
    """A data set with these classes."""
    return dataclasses.replace(dataset_info("digits"), classes=classes)


def test_similar_classes_leave_out_the_class_itself_and_are_mutual() -> None:
    similar = similar_classes(of("red fox", "grey_fox", "owl", "snowy owl", "newt"), "last_word")
    assert similar == ((1,), (0,), (3,), (2,), ())
    groups = similar_classes(dataset_info("cifar100"), "superclass")
    assert all(len(g) == 4 for g in groups)
    assert all(i in groups[j] for i, g in enumerate(groups) for j in g)


def test_similar_classes_come_from_a_users_table(tmp_path: Path) -> None:
    path = tmp_path / "groups.csv"
    path.write_text("class,group\na,x\nb,x\nc,\n")
    assert similar_classes(of("a", "b", "c"), str(path)) == ((1,), (0,), ())
    path.write_text("class,group\nz,x\n")
    with pytest.raises(UserError, match="lacks: z"):
        similar_classes(of("a", "b"), str(path))
    with pytest.raises(UserError, match="Unknown source"):
        similar_classes(of("a", "b"), "nothing")


def test_the_default_source_is_the_best_that_the_names_allow() -> None:
    assert default_similar(dataset_info("cifar100")) == "superclass"
    assert default_similar(dataset_info("digits")) == "none"


CARS = (
    "AM General Hummer SUV 2000", "Acura RL Sedan 2012", "Acura TL Sedan 2012", "Aston Martin Virage Coupe 2012",
    "Aston Martin V8 Vantage Coupe 2012", "Land Rover LR2 SUV 2012", "Mercedes-Benz C-Class Sedan 2012",
    "Mercedes-Benz Sprinter Van 2012", "smart fortwo Convertible 2012",
)  # fmt: skip


def test_cars_are_similar_by_make_of_one_word_or_two() -> None:
    cars = of(*CARS)
    twice = [make for make in ("Acura", "Aston Martin") for _ in range(2)]
    makes = ("AM General", *twice, "Land Rover", "Mercedes-Benz", "Mercedes-Benz", "smart")
    assert class_groups(cars, "make") == makes
    assert default_similar(cars) == "make"
    assert count_groups(class_groups(cars, "make")) == GroupCounts(3, 6, 3)
    assert class_groups(of(*(name.replace(" ", "_") for name in CARS)), "make") == makes
    with pytest.raises(UserError, match="end in a year"):
        class_groups(dataset_info("cifar100"), "make")


AIRCRAFT = (
    # image, variant, family, manufacturer
    ("1", "737-700", "Boeing 737", "Boeing"), ("2", "737-800", "Boeing 737", "Boeing"),
    ("3", "747-100", "Boeing 747", "Boeing"), ("4", "DR-400", "DR-400", "Robin"),
)  # fmt: skip


def test_aircraft_are_similar_by_the_families_and_manufacturers_of_their_own_lists(tmp_path: Path) -> None:
    variants = dataclasses.replace(of(*(row[1] for row in AIRCRAFT)), name="fgvc_aircraft", root=str(tmp_path))
    families = dataclasses.replace(variants, classes=("Boeing 737", "Boeing 747", "DR-400"))
    assert default_similar(dataclasses.replace(variants, download="2.8 GB")) == "none"
    with pytest.raises(UserError, match="FGVC-Aircraft's own images_variant_train.txt, which is not in"):
        class_groups(variants, "family")
    folder = tmp_path / "fgvc-aircraft-2013b" / "data"
    folder.mkdir(parents=True)
    for column, level in enumerate(("variant", "family", "manufacturer"), 1):
        lines = "".join(f"{row[0]} {row[column]}\n" for row in AIRCRAFT)
        (folder / f"images_{level}_train.txt").write_text(lines)
    assert default_similar(variants) == "family"
    assert similar_classes(variants, "auto") == ((1,), (0,), (), ())
    assert similar_classes(variants, "manufacturer") == ((1, 2), (0, 2), (0, 1), ())
    assert class_groups(families, "manufacturer") == ("Boeing", "Boeing", "Robin")
    with pytest.raises(UserError, match="known for FGVC-Aircraft only, not for digits"):
        class_groups(dataclasses.replace(dataset_info("digits"), root=str(tmp_path)), "family")
    assert fitting_sources(variants) == ["family", "manufacturer", "none"]


def test_a_group_of_one_class_is_no_group() -> None:
    counts = count_groups(("a", "a", "b", None, None))
    assert counts == GroupCounts(1, 2, 3)
    assert str(counts) == "1 groups over 2 classes; 3 classes stand alone"


def test_saved_groups_are_what_auto_means_until_they_are_deleted() -> None:
    info = dataset_info("cifar100")
    groups = tuple("farm" if name in ("cattle", "tractor") else None for name in FINE)
    path = save_groups(info, groups)
    assert path.read_text().startswith("class,group\napple,\n")
    assert default_similar(info) == "saved" and class_groups(info, "auto") == groups
    assert fitting_sources(info) == ["superclass", "last_word", "saved", "none"]
    assert default_similar(dataset_info("cifar100", labels="coarse")) != "saved"
    delete_groups(info)
    assert default_similar(info) == "superclass"
    with pytest.raises(UserError, match=r"No groups are saved for cifar100 \(fine\)"):
        class_groups(info, "saved")


def test_groups_of_a_folder_need_its_name(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="add the folder under a name first"):
        save_groups(dataset_info("folder", root=str(make(tmp_path / "set"))), ("a", "a"))


@given(
    groups=st.lists(
        st.none() | st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"]), min_size=1),
        min_size=10,
        max_size=10,
    )
)
def test_groups_are_read_as_they_were_written(groups: list[str | None]) -> None:
    info = dataset_info("digits")
    assert read_groups(info, groups_csv(info, groups).encode(), "it") == tuple(groups)


@pytest.mark.parametrize("first", ["=", "+", "-", "@", "'=", "\N{FULLWIDTH EQUALS SIGN}"])
def test_groups_that_leave_have_no_cell_that_is_run_and_come_back(first: str) -> None:
    info = dataset_info("digits")
    groups = (*("a",) * 9, f"{first}cmd|'/C calc'!A0")
    text = groups_csv(info, groups)
    assert not [cell for row in csv.reader(text.splitlines()) for cell in row if cell.startswith(("=", "+", "-", "@"))]
    assert read_groups(info, text.encode(), "it") == groups


def test_a_table_of_two_hundred_thousand_columns_is_read_at_once_and_refused_in_one_line() -> None:
    header = b",".join([b"class"] * 200_000)
    with pytest.raises(UserError, match="must have the columns class and group, has class, class, ") as error:
        read_groups(dataset_info("digits"), header + b"\n1,a\n", "groups.csv")
    assert len(str(error.value)) < 2200


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"name,group\n1,a\n", "must have the columns class and group, has name, group"),
        (b"class,group\n11,a\n", "names classes that the data set lacks: 11; mend or delete it"),
        (b"class,group\n1,a\n1,b\n", "names classes more than once: 1; leave one line for each"),
        (b"", "must have the columns class and group, has none"),
        (b"class,group\n1,a,b\n", "has lines of more columns than its first; put quotes around names with commas"),
        (b"class,group\n" + b"," * (4 << 20), "is longer than 4 MB; leave classes and groups in it"),
        (b"class,group\n\xff\xfe,a\n", "is not a readable CSV file"),
    ],
)
def test_what_is_wrong_with_a_table_of_groups_is_one_line(data: bytes, message: str) -> None:
    with pytest.raises(UserError, match=f"^groups.csv {message}") as error:
        read_groups(dataset_info("digits"), data, "groups.csv")
    assert "\n" not in str(error.value)

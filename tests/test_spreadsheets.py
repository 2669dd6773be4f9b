"""A CSV that leaves has no cell that a spreadsheet would run, and every number in it is a number."""

from __future__ import annotations

import ast
import csv
import io

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fnkd_core.experiments.seeds import markdown
from fnkd_core.paths import project_dir
from fnkd_core.spreadsheets import csv_of, inert, is_run, marked, unmarked

HOSTILE = ["=1+1", "+1+1", "-1+1", "@SUM(A1)", "\t=1", "\r=1", " =1", "＝1+1", "=cmd|'/C calc'!A0", "'=1"]


@pytest.mark.parametrize("cell", HOSTILE)
def test_a_text_that_would_be_run_is_marked_in_cells_and_in_names(cell: str) -> None:
    table = pd.DataFrame({cell: ["harmless", cell], "n": [-1.5, 2.0]}, index=["row", cell])
    for row in csv.reader(io.StringIO(csv_of(table), newline="")):
        assert not [one for one in row if is_run(one) and not one.startswith("'")]
    assert list(inert(table).index) == ["row", f"'{cell}"]


def test_numbers_stay_numbers_and_harmless_texts_stay_as_they_are() -> None:
    table = pd.DataFrame({"a": [-1.5, 2.0], "b": ["-1.5", "1e-5"], "c": ["a=b", "tabby_cat"], "d": [None, "x-y"]})
    assert csv_of(table) == "a,b,c,d\r\n-1.5,-1.5,a=b,\r\n2.0,1e-5,tabby_cat,x-y\r\n"
    assert inert(table)["a"].dtype == float


@given(st.text() | st.sampled_from(HOSTILE))
def test_what_was_marked_is_read_as_it_was(cell: str) -> None:
    assert unmarked(marked(cell)) == cell
    assert marked(cell) == cell or marked(cell).startswith("'")


def test_no_csv_is_written_and_no_table_is_shown_another_way() -> None:
    package = project_dir() / "fnkd_core"
    found = []
    for path in [*package.rglob("*.py"), *(project_dir() / "pages").glob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
                continue
            name, first = node.func.attr, ast.unparse(node.args[0]) if node.args else ""
            shown = name in ("dataframe", "data_editor") or ast.unparse(node.func).endswith("st.table")
            if shown and path == package / "ui" / "tables.py":
                assert first.startswith("inert(")
            elif shown or (name == "to_csv" and path != package / "spreadsheets.py"):
                found.append(f"{path.name}:{node.lineno}")
    assert found == []


def test_a_markdown_table_that_leaves_holds_text_alone() -> None:
    lines = markdown(pd.DataFrame({"row": ["![x](http://a.b)", "<b>|x|\nkd", "cifar_resnet8"], "n": [1.5, 2.0, 3.0]}))
    assert lines.splitlines()[2:] == [
        r"| !\[x\](http://a.b) | 1.5 |",
        r"| \<b>\|x\| kd | 2.0 |",
        "| cifar_resnet8 | 3.0 |",
    ]

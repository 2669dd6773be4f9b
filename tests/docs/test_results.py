"""Means and deviations in tables of results follow from the runs beside them.

Not held against them: intervals, differences, tables of another form, and what texts quote.
"""

from __future__ import annotations

import csv
import statistics
from collections import defaultdict
from pathlib import Path

import pytest

from fnkd_core.paths import project_dir

RESULTS = project_dir() / "docs" / "results"
DECIMALS = {
    "test accuracy, last epoch": ("accuracy", 4),
    "on validation": ("validation", 4),
    "NLL": ("nll", 3),
    "ECE": ("ece", 3),
    "agreement with the teacher": ("agreement", 4),
    "mean ‖f‖": ("norm", 2),
}
"""Heading -> column of the runs, and how many decimals are told."""


def tables(path: Path) -> list[list[dict[str, str]]]:
    """The page's tables that have four of these headings, a mapping for each row."""
    found: list[list[dict[str, str]]] = []
    heads: list[str] | None = None
    for line in path.read_text(encoding="utf-8").splitlines():
        if not line.startswith("|"):
            heads = None
            continue
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        if heads is None:
            heads = cells
            found.append([])
        elif set(line) - set("|- "):
            found[-1].append(dict(zip(heads, cells, strict=True)))
    return [table for table in found if table and len(set(DECIMALS) & set(table[0])) > 3]


def told(values: list[float], decimals: int) -> str:
    mean = f"{statistics.mean(values):.{decimals}f}"
    return mean if len(values) == 1 else f"{mean} ± {statistics.stdev(values):.{decimals}f}"


TWO_IN_A_CELL, ONLY_THE_CHOSEN = ("imagewoof",), ("digits-fn-tuning",)
TABLES = [
    path.stem
    for path in sorted(RESULTS.glob("*.md"))
    if path.with_suffix(".csv").exists() and tables(path) and path.stem not in TWO_IN_A_CELL
]


@pytest.mark.parametrize("name", TABLES)
def test_the_figures_of_every_row_are_those_of_some_runs_and_all_runs_are_in_the_table(name: str) -> None:
    with (RESULTS / f"{name}.csv").open(encoding="utf-8") as file:
        groups = defaultdict(list)
        for line in csv.DictReader(file):
            if not line["accuracy"]:
                continue  # it diverged
            groups[line["row"], line.get("lr")].append(line)
    rows = [row for table in tables(RESULTS / f"{name}.md") for row in table]
    heads = [head for head in DECIMALS if all(head in row for row in rows)]
    of_runs = {
        tuple(told([float(run[DECIMALS[head][0]]) for run in runs], DECIMALS[head][1]) for head in heads): key
        for key, runs in groups.items()
    }
    in_table = {tuple(row[head] for head in heads): row["row"] for row in rows}
    assert {figures: row for figures, row in in_table.items() if figures not in of_runs} == {}
    methods = {row: of_runs[figures][0] for figures, row in in_table.items()}
    assert {row: run for row, run in methods.items() if row.replace(",", " ").split()[0] != run.split()[0]} == {}
    left_out = {figures: key for figures, key in of_runs.items() if figures not in in_table}
    assert bool(left_out) == (name in ONLY_THE_CHOSEN), left_out

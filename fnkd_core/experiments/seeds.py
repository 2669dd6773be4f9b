"""What the runs of a comparison say together: means, intervals, and which row beats which. pandas in, pandas out."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from fnkd_core.errors import one_line

MEASURES = ("accuracy", "best", "validation", "nll", "ece", "agreement", "norm", "seconds")
COLUMNS = ("row", "seed", "state", "run", "epochs_done", "temperature", "error", *MEASURES)
"""What a run's line has besides the settings and parameters that are varied."""
HEADINGS = {
    "accuracy": "test accuracy, last epoch", "best": "that of the epoch best on validation",
    "validation": "accuracy on validation, last epoch", "nll": "NLL", "ece": "ECE",
    "agreement": "agreement with the teacher", "norm": "mean ‖f‖", "seconds": "seconds",
}  # fmt: skip
ENDED = {"finished", "failed", "broken"}
"""States of runs of which nothing more is to come."""
FEWEST = 3
"""Pairs of seeds below which no probability is given: two say nothing about their spread."""
DIGITS = {"accuracy": 4, "best": 4, "validation": 4, "nll": 3, "ece": 3, "agreement": 4, "norm": 2, "seconds": 1}


def table(results: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """A row per run, with every measure as a number, NaN where it has none yet."""
    runs = pd.DataFrame(list(results))
    for measure in ("temperature", *MEASURES):
        runs[measure] = pd.to_numeric(runs[measure]) if measure in runs else math.nan
    return runs


def varied(runs: pd.DataFrame) -> list[str]:
    """The settings and parameters, the method not among them, that the grid gives more than one value."""
    names = [c for c in runs.columns if c not in (*COLUMNS, "method")]
    return [name for name in names if runs[name].nunique() > 1]


def at_best(runs: pd.DataFrame, names: Sequence[str]) -> pd.DataFrame:
    """Of rows that differ in these settings alone the one that is best on validation; the first of equals.

    It is the row with the highest mean accuracy of the last epoch there. Rows of which a run has failed do not compete,
    nor do those that held nothing out; where none does, or a run of one of them has not ended, all of them stay, as do
    rows that have none of these settings.
    """
    of_row = runs.groupby("row", sort=False)
    states = of_row["state"].agg(set)
    reached = of_row["validation"].mean()[states.map(lambda there: there == {"finished"})].dropna()
    others = [name for name in varied(runs) if name not in names]
    have = runs[list(names)].notna().any(axis=1) if names else pd.Series(False, index=runs.index)
    kept = set(runs["row"][~have])
    for _, group in runs[have].groupby(["method", *others], sort=False, dropna=False):
        rows = list(dict.fromkeys(group["row"]))
        competing = [row for row in rows if row in reached.index]
        decided = competing and all(states[row] <= ENDED for row in rows)
        kept |= {max(competing, key=lambda row: float(reached[row]))} if decided else set(rows)
    return runs[runs["row"].isin(kept)]


def chosen_line(names: Sequence[str], runs: pd.DataFrame, best: pd.DataFrame) -> str:
    """What a table of `best`, which `at_best` gave of these runs, says of itself; empty where it has left none out."""
    if len(best) == len(runs):
        return ""
    what = " and ".join(names)
    return f"Each row is shown at the {what} best on validation, by its seeds' mean at the last epoch."


def interval(values: pd.Series, level: float = 0.95) -> tuple[float, float]:
    """Student's t interval of the mean of independent values; NaN for fewer than two."""
    values = values.dropna()
    n = len(values)
    if n < 2:
        return math.nan, math.nan
    from scipy.special import stdtrit  # of scipy.stats, which takes two seconds to import, this alone is needed

    half = float(stdtrit(n - 1, (1 + level) / 2)) * values.std(ddof=1) / math.sqrt(n)
    return values.mean() - half, values.mean() + half


def summary(runs: pd.DataFrame) -> pd.DataFrame:
    """A line per row of the comparison, in its order, over the finished runs.

    num_seeds of num_planned, num_failed; each measure's mean and its sample standard deviation (`_sd`); low and high:
    95 % interval of the mean of the last epoch's accuracy, within [0, 1].
    """
    lines = []
    for row, group in runs.groupby("row", sort=False):
        done = group[group["state"] == "finished"]
        failed = int((group["state"] == "failed").sum())
        line: dict[str, Any] = {"row": row, "num_seeds": len(done), "num_planned": len(group), "num_failed": failed}
        for measure in MEASURES:
            line[measure] = done[measure].mean()
            line[f"{measure}_sd"] = done[measure].std(ddof=1)
        low, high = interval(done["accuracy"])
        line["low"], line["high"] = float(np.maximum(low, 0.0)), float(np.minimum(high, 1.0))
        lines.append(line)
    return pd.DataFrame(lines)


def probability_of_more(a: pd.Series, b: pd.Series) -> float:
    """Probability that the mean of a - b is positive, a and b paired by their index.

    The posterior of the mean of normal differences under a flat prior: Student's t with n - 1 degrees of freedom.
    Where all differences are equal it is 1, 0 or 1/2; NaN for fewer than `FEWEST` pairs.
    """
    gaps = (a - b).dropna()
    n = len(gaps)
    if n < FEWEST:
        return math.nan
    mean, sd = float(gaps.mean()), float(gaps.std(ddof=1))
    if sd <= 1e-12 * max(1.0, abs(mean)):
        return 0.5 if abs(mean) < 1e-12 else float(mean > 0)
    from scipy.special import stdtr

    return float(stdtr(n - 1, mean / (sd / math.sqrt(n))))


def beats(runs: pd.DataFrame, measure: str = "accuracy") -> pd.DataFrame:
    """Square: the probability that the row's mean is higher than the column's, over the seeds both have finished."""
    done = runs[runs["state"] == "finished"]
    names = list(dict.fromkeys(runs["row"]))
    by_seed = {name: done[done["row"] == name].set_index("seed")[measure] for name in names}
    square = pd.DataFrame(math.nan, pd.Index(names, name="row"), pd.Index(names))
    for a, b in itertools.combinations(names, 2):
        square.at[a, b] = probability_of_more(by_seed[a], by_seed[b])
        square.at[b, a] = 1 - square.at[a, b]
    return square


def axes(runs: pd.DataFrame, method: str) -> list[str]:
    """The settings and parameters that take at least two numbers among this method's runs."""
    own = runs[runs["method"] == method]

    def numbers(values: pd.Series) -> int:
        # A switch is no number, though it could be read as one.
        return int(pd.to_numeric(values[~values.map(lambda x: isinstance(x, bool))], errors="coerce").nunique())

    return [c for c in varied(own) if numbers(own[c]) > 1]


def words(runs: pd.DataFrame, method: str) -> list[str]:
    """What else this method's runs differ in, which is no axis: a map over two axes would average over it."""
    numbers = axes(runs, method)
    return [name for name in varied(runs[runs["method"] == method]) if name not in numbers]


def over_two(runs: pd.DataFrame, method: str, x: str, y: str) -> pd.DataFrame:
    """As `sweep`, of this method's runs, which have a number for y."""
    own = runs[runs["method"] == method]
    own = own.assign(**{y: pd.to_numeric(own[y], errors="coerce")})
    return sweep(own[own[y].notna()], x, ("method", y))


def sweep(runs: pd.DataFrame, x: str, also: Sequence[str] = ("method",), measure: str = "accuracy") -> pd.DataFrame:
    """A line per value of x and per combination of `also`: mean, sd and num_seeds of a measure over finished runs.

    A combination that is planned and has no finished run yet has NaN. Runs that have no x, such as those of a method
    without that parameter, are left out. also: columns kept apart; what else is varied is averaged over. A run without
    one of these, such as the kind of label noise where there is none, counts for each of its values.
    """
    numbers = pd.to_numeric(runs[x], errors="coerce")
    done = runs.assign(**{x: numbers})[numbers.notna()]
    done[measure] = done[measure].where(done["state"] == "finished")
    for column in also:
        values = done.groupby("method")[column].agg(lambda own: list(own.dropna().unique()))
        lacks = done[column].isna() & done["method"].map(values).str.len().gt(0)
        if lacks.any():
            spread_out = done[lacks].assign(**{column: done.loc[lacks, "method"].map(values)}).explode(column)
            done = pd.concat([done[~lacks], spread_out])
    groups = done.groupby([*also, x], sort=False, dropna=False)[measure]
    return groups.agg(mean="mean", sd="std", num_seeds="count").reset_index()


def teacher_norm(runs: pd.DataFrame) -> float:
    """The teacher's mean ||f|| over the training samples as they were seen, from the finished fn runs; NaN without.

    Each such run recorded its mean T_i, which is mean ||f|| / tau. Where the released variant held some T_i at 1 the
    product with tau is too large, so the smallest one counts.
    """
    if "tau" not in runs:
        return math.nan
    fn = runs[(runs["state"] == "finished") & (runs["method"] == "fn")]
    return float((pd.to_numeric(fn["temperature"]) * pd.to_numeric(fn["tau"])).min())


def spread(mean: float, sd: float, digits: int) -> str:
    """Mean and standard deviation in words; the deviation is left out where one seed gives none."""
    if math.isnan(mean):
        return ""
    if abs(mean) >= 1e5:  # a run that diverged
        return f"{mean:.3g}" if math.isnan(sd) else f"{mean:.3g} ± {sd:.3g}"
    return f"{mean:.{digits}f}" if math.isnan(sd) else f"{mean:.{digits}f} ± {sd:.{digits}f}"


def readable(lines: pd.DataFrame) -> pd.DataFrame:
    """The summary as people read it: mean ± standard deviation, and the interval of the accuracy."""
    counts = zip(lines["num_seeds"], lines["num_planned"], lines["num_failed"], strict=True)
    shown = pd.DataFrame({"row": lines["row"], "seeds": [_counted(*three) for three in counts]})
    for measure in MEASURES:
        if lines[measure].isna().all():
            continue
        pairs = zip(lines[measure], lines[f"{measure}_sd"], strict=True)
        shown[HEADINGS[measure]] = [spread(mean, sd, DIGITS[measure]) for mean, sd in pairs]
        if measure == "accuracy":
            ends = zip(lines["low"], lines["high"], strict=True)
            shown["95 % interval"] = ["" if math.isnan(a) else f"{a:.4f} to {b:.4f}" for a, b in ends]
    return shown


def _counted(done: int, planned: int, failed: int) -> str:
    """How many of a row's runs its numbers are of."""
    if done == planned:
        return f"{done}"
    return f"{done} of {planned}" + (f", {failed} failed" if failed else "")


def markdown(frame: pd.DataFrame) -> str:
    """A Markdown table of a frame whose cells are text or numbers."""
    lines = [list(frame.columns), ["---"] * len(frame.columns), *frame.astype(object).to_numpy().tolist()]
    # A name that would be a link, a picture or another column is text.
    inert = [[re.sub(r"[\\`*\[\]<|]", r"\\\g<0>", one_line(cell)) for cell in line] for line in lines]
    return "\n".join("| " + " | ".join(line) + " |" for line in inert)

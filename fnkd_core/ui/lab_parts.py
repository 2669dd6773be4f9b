"""Below the lab: what its values mean for all samples, in numbers, by class, and by the parts of a logit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd
import streamlit as st

from fnkd_core.analysis.targets import Source, said_of_part, summary_under
from fnkd_core.kd.rules import RULES
from fnkd_core.spreadsheets import csv_of
from fnkd_core.ui.frame import View
from fnkd_core.ui.markdown import table_cells

PARTS = {"numbers": "In numbers"}


def parts(sources: Mapping[str, Source], view: View, values: Mapping[str, Any]) -> None:
    """One part at a time: only what is looked at is computed."""
    in_numbers(sources, values)


def in_numbers(sources: Mapping[str, Source], values: Mapping[str, Any]) -> None:
    """Every rule's sums over all samples."""
    tables = [summary_under(source, values).assign(model=role) for role, source in sources.items()]
    table = pd.concat(tables)
    table = table[["model", *(column for column in table if column != "model")]]
    if not any(source.store.manifest["dead_outputs"] for source in sources.values()):
        table = table.drop(columns="on dead outputs")
    st.dataframe(table_cells(table), hide_index=True, column_config=_formats(table))
    first = next(iter(sources.values()))
    st.caption(
        f"All {len(RULES)} rules at the values above, also those that are not drawn. "
        + said_of_part(len(first.store.samples), first.num_classes)
    )
    st.download_button("Download as CSV", csv_of(table), "soft-targets.csv", "text/csv")


def _formats(table: pd.DataFrame) -> dict[str, Any]:
    return {c: st.column_config.NumberColumn(format="%.4f") for c in table.columns if c not in ("model", "rule")}

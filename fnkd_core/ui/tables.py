"""The one way to show a table; a test holds every page to it."""

from __future__ import annotations

from typing import Any

import pandas as pd
import streamlit as st

from fnkd_core.spreadsheets import inert
from fnkd_core.ui.markdown import JOINER


def show(data: pd.DataFrame, **options: Any) -> Any:
    """Show the table with these options of `st.dataframe`, and return what that returns.

    It looks as it is, a cell without a value is empty, and exported by the browser it has no cell that a spreadsheet
    would run.
    """
    return st.dataframe(inert(data, JOINER), placeholder="", **options)


def edit(data: pd.DataFrame, **options: Any) -> pd.DataFrame:
    """Show the table with these options of `st.data_editor`, and return what it holds then."""
    return st.data_editor(inert(data, JOINER), placeholder="", **options)

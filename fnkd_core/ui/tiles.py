"""Pictures as tiles, whose clicks and keys each have one effect, also those of while the server was at work.

Of what one element tells while a run of the page is due, Streamlit keeps the last. So the browser tells again what it
does not know to be heard, and what is told twice is known by its number. With it come the values of the other widgets
as they were before that: what sets the page's state is set again, or those would undo it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import streamlit as st

from fnkd_core.ui import guard
from fnkd_core.ui.components.gallery import gallery


def tiles(
    panels: Sequence[dict[str, Any]], size: int, *, key: str, on: dict[str, guard.Answer] | None = None, **look: Any
) -> int | None:
    """Draw them, and return the sample that was opened since they were last drawn, where `on` does not answer to that.

    on: what answers to what is told, by its name; it, `look` and the rest are as `gallery` has them.
    """
    state, heard, opened = st.session_state, f"{key} heard", f"{key} opened"
    opens = guard.Answer(lambda sample: state.update({opened: sample}), writes=False)
    answers = {"opened": opens} | (on or {})

    def unheard() -> Iterator[tuple[guard.Answer, Any]]:
        for one in state[key]["told"]:
            answer = answers[one["name"]]
            if one["n"] > state[heard] or not answer.writes:
                state[heard] = max(state[heard], one["n"])
                yield answer, one["value"]

    gallery(panels, size, key=key, heard=state.setdefault(heard, 0), on_told=guard.answers(unheard), **look)
    sample: int | None = state.pop(opened, None)
    return sample

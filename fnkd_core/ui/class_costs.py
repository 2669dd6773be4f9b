"""The part of the Similar classes page on what wkd pays for mass of one class on another."""

from __future__ import annotations

import numpy as np
import streamlit as st
from numpy.typing import NDArray

from fnkd_core.analysis.costs import group_costs, head_costs, head_rows, nearest
from fnkd_core.checkpoints.library import Entry
from fnkd_core.data.similar import Groups, siblings
from fnkd_core.errors import UserError
from fnkd_core.kd.objective import parameters
from fnkd_core.plots.classes import costs_from
from fnkd_core.ui import address, charts, guard, inputs
from fnkd_core.ui.markdown import literal, prose
from fnkd_core.ui.similar_classes import distil_with
from fnkd_core.ui.view import View

MOST = 8
"""Classes whose costs are drawn."""


@st.cache_resource(max_entries=8, show_spinner=False)
def _head_rows(identity: str, _teacher: Entry) -> NDArray[np.float64]:
    return head_rows(_teacher)


def costs(view: View, groups: Groups, label: int, used: bool) -> None:
    """The classes on which mass of this one costs least, by the teacher's head and by the groups. used: whether a run
    takes these groups.
    """
    classes, teacher, members = view.info.classes, view.teacher, siblings(groups)[label]
    usual = {p.name: p for p in parameters("wkd")}["sharpness"]
    sharpness = inputs.on().number_input(
        "Sharpness κ",
        0.01,
        1e6,
        step=0.5,
        help=prose(usual.help),
        key=address.key("sharpness", default=float(usual.default)),
    )
    by_groups = group_costs(members, label, len(classes), sharpness)
    found = {"costs similar: these groups": by_groups}
    if teacher is None:
        near = nearest(by_groups, label, MOST)
        st.caption("Choose a teacher in the sidebar to see the costs by the angles of its head.")
    else:
        try:
            of_head = head_costs(_head_rows(teacher.identity, teacher), label, sharpness)
        except UserError as error:
            guard.say(error)
            return
        near = nearest(of_head, label, MOST)
        found = {f"costs head: {teacher.name}": of_head} | found
        text = f"By its head, mass of **{literal(classes[label])}** costs least on **{literal(classes[near[0]])}**"
        if members:
            among = len(set(nearest(of_head, label, len(members))) & set(members))
            text += f"; of its {len(members)} nearest, {among} {'is' if among == 1 else 'are'} of its group"
        st.markdown(f"{text}.")
    charts.chart(costs_from(found, classes, near), key="costs", bar=False)
    values = {"sharpness": sharpness}
    with st.container(horizontal=True):
        if teacher is not None:
            distil_with("wkd", {"costs": "head"} | values, "Distil with the head's costs")
        why = "" if any(siblings(groups)) else "No class has a similar one."
        distil_with("wkd", {"costs": "similar"} | values, "Distil with the groups' costs", used, why=why)

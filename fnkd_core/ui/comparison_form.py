"""What to compare, over which seeds and from which recipe: the form on the Compare page that starts a comparison."""

from __future__ import annotations

from typing import Any

import streamlit as st

from fnkd_core.checkpoints.several import joined
from fnkd_core.data import similar_classes
from fnkd_core.errors import UserError
from fnkd_core.experiments.comparison import create_comparison, start
from fnkd_core.experiments.plan import Cell, plan, read_grid, read_rows, settled
from fnkd_core.experiments.presets import PRESETS
from fnkd_core.experiments.sharing import asking_once, standing_for, to_be_asked
from fnkd_core.experiments.status import settings_line, statuses_of
from fnkd_core.jobs.slots import pace, rounds
from fnkd_core.kd.methods import METHODS
from fnkd_core.training.config import USUAL_LR, RunConfig
from fnkd_core.training.recipes import RECIPES
from fnkd_core.ui import address, comparison_link, guard, inputs, recipes
from fnkd_core.ui.comparison_link import BROUGHT, FIELDS, OWN, QUESTION, RECIPE
from fnkd_core.ui.markdown import literal, prose
from fnkd_core.ui.pickers import OF_ALL, more_teachers
from fnkd_core.ui.settings import architectures, as_typed, init_field
from fnkd_core.ui.starting import time_of
from fnkd_core.ui.view import View

FILLED = ("epochs", "batch_size", "lr")
"""Settings of a recipe that have a field; the others have none."""


def form(view: View) -> None:
    """What to compare, how long it takes, and the button that starts it."""
    keep: dict[str, Any] = {"persist_state": "session"}
    a, b = st.columns(2)
    answer = guard.callback(_recipe_of_question, writes=False)
    name = inputs.on(a).selectbox(
        "Question", [OWN, *PRESETS], format_func=_titled, key=QUESTION, on_change=answer, **keep
    )
    preset, key, usual = PRESETS.get(name), comparison_link.keys(name), comparison_link.usual(name)
    methods = inputs.on(b).multiselect("Methods", list(METHODS), usual["methods"], key=key["methods"], **keep)
    if preset:
        st.caption(prose(f"{preset.question} {preset.reading}"))
    text = "A line each: a method and settings of its own, each with one value or several. The grid is not for them."
    lines = inputs.on().text_area(
        "Rows besides", usual["rows"], placeholder="dkd policy=norm lr=0.1,0.2", help=text, height="content",
        key=key["rows"], **keep,
    ).splitlines()  # fmt: skip
    lines = [line for line in lines if line.strip()]
    recipe = recipes.choose(RECIPE, _fill)
    a, b, c, d, e, f = st.columns([1.8, 1, 1, 1.2, 1, 1.1])
    options = architectures(min(view.info.image[1:]))
    if (wanted := st.session_state.get(key["student"])) not in (None, *options):
        del st.session_state[key["student"]]
        address.tell(f"The student {wanted!r} is none for these images; {options[0]} is chosen.")
    base: dict[str, Any] = {
        "dataset": view.info.name,
        "labels": view.info.label_space if len(view.info.label_spaces) > 1 else None,
        "teacher": view.teacher.name if view.teacher else None,
        "student": inputs.on(a).selectbox("Student", options, key=key["student"], **keep),
        "epochs": inputs.on(b).number_input("Epochs", 1, 10_000, usual["epochs"], key=key["epochs"], **keep),
        "batch_size": inputs.on(c).number_input(
            "Batch size", 2, 8192, usual["batch_size"], key=key["batch_size"], **keep
        ),
    }
    optimizer = RECIPES[recipe].settings.get("optimizer", RunConfig().optimizer)
    rate = RECIPES[recipe].settings.get("lr", USUAL_LR[optimizer])
    lr = inputs.on(d).number_input(
        "Learning rate", 0.0, None, None, format="%.4g", placeholder=f"{rate:g}", key=key["lr"], **keep
    )
    base |= {"lr": lr} if lr else {}
    if "init" in RECIPES[recipe].needs:
        base["init"] = init_field(view, view.info, base["student"], key["init"])
    seeds = inputs.on(e).number_input(
        "Seeds", 1, 100, usual["seeds"], key=key["seeds"], help="Each row is run with seeds 0, 1, ...", **keep
    )
    text = "Train on this many images of each class only, drawn by the seed."
    base["per_class"] = inputs.on(f).number_input(
        "Per class", 1, None, None, placeholder="all", help=text, key=key["per_class"], **keep
    )
    text = "Vary a setting or a parameter: tau=1,2,4 T=2,4. A method takes those it has."
    first, named = base["teacher"], dict.fromkeys([*methods, *(line.split()[0] for line in lines)])
    taught = [METHODS[method] for method in named if method in METHODS and METHODS[method].needs_teacher]
    shared = first is not None and bool(taught) and not any(method.one_teacher for method in taught)
    a, *more, b = st.columns([2, 1, 1] if shared else [2, 1])
    if shared:
        base["teacher"] = joined([first, *more_teachers(view.fitting, first, OF_ALL, more[0])])
    wished = inputs.on(a).text_input("Grid", placeholder="tau=1,2,4 T=2,4", help=text, key=key["grid"], **keep)
    text = "What to call it: letters, digits, dots, - and _."
    called = inputs.on(b).text_input(
        "Name", placeholder=name if preset else view.info.name, help=text, key=key["name"], **keep
    )
    comparison_link.to_link(name)
    try:
        asked, question = read_grid([wished], methods), preset.grid if preset else {}
        # Of fields that are never empty nobody knows whether they were filled; the recipe fills the rate's, too.
        given = {"lr": lr if lr != rate else None, "per_class": base["per_class"], "init": base.get("init")}
        given = {setting: value for setting, value in given.items() if value}
        grid = settled(given, question, asked)
        for setting in sorted(question.keys() & given.keys()):
            varied = ", ".join(map(str, question[setting]))
            st.caption(literal(f"{setting} is {given[setting]} as given; left empty, {varied}."))
        if "noise_kind" in grid.keys() - asked.keys() and not any(similar_classes(view.info, "auto")):
            st.caption(f"{literal(view.info.title)} has no similar classes, so its wrong labels are uniform only.")
            grid["noise_kind"] = ["uniform"]
        given_by = preset.more if preset else {}
        cells = planned = plan(base, methods, range(seeds), grid, rows=read_rows(lines), recipe=recipe, **given_by)
        cells = cells if view.info.download else asking_once(cells)
    except UserError as error:
        guard.say(error)
        return
    at_best = preset.chosen_of(cells) if preset else []
    if preset and (why := preset.not_chosen(cells)):
        st.caption(literal(why))
    of_rows = {cell.row: cell.config for cell in planned}  # how teachers are asked, nobody has chosen
    recipes.differing(recipe, list(of_rows.values()), _fill, "as the matrix recipe")
    todo = [s.cell for s in statuses_of(cells) if s.state != "finished"]
    button, words = st.columns([1, 3], vertical_alignment="center")
    prefix = called or (name if preset else view.info.name)
    button.button(
        "Start",
        type="primary",
        icon=":material/play_arrow:",
        width="stretch",
        on_click=guard.callback(_begin, cells, prefix, at_best, at="new comparison"),
    )
    guard.problem("new comparison")
    done = f", {len(cells) - len(todo)} of them done" if len(todo) < len(cells) else ""
    runs = "run" if len(cells) == 1 else "runs"
    words.markdown(f"**{len(cells)}** {runs}{done}, {literal(pace())}, in the background.")
    st.caption(f"All runs: {literal(settings_line(cells))}.")
    if view.info.download:
        return
    if asking := to_be_asked(todo):
        st.caption(literal(str(asking)))
    run, at_most = standing_for(todo)
    if run is not None:
        time_of(run, rounds(len(todo)), asking, at_most)


def _fill() -> None:
    """Give the fields what the recipe sets."""
    chosen, usual = RECIPES[st.session_state[RECIPE]].settings, RunConfig()
    for name in FILLED:
        value = chosen.get(name, getattr(usual, name))
        st.session_state[FIELDS[name].key] = as_typed(name, value, chosen.get("optimizer", usual.optimizer))


def _recipe_of_question() -> None:
    """Begin with the recipe that the question is asked with; one that another question brought goes with it."""
    state, preset = st.session_state, PRESETS.get(st.session_state[QUESTION])
    usual, now, brought = next(iter(RECIPES)), state[RECIPE], state.pop(BROUGHT, None)
    wanted = (preset and preset.recipe) or (usual if now == brought else now)
    if wanted != now:
        state[RECIPE] = wanted
        if preset and preset.recipe:
            state[BROUGHT] = wanted
        _fill()


def _titled(name: str) -> str:
    return PRESETS[name].title if name in PRESETS else "My own choice"


def _begin(cells: list[Cell], prefix: str, at_best: list[str]) -> None:
    comparison = create_comparison(cells, prefix, at_best)
    st.session_state["comparison"] = comparison.id
    start(comparison)

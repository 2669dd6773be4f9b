"""A plan has each run once, in an order in which teachers come before those they teach."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fnkd_core.errors import UserError
from fnkd_core.experiments.plan import Cell, plan, read_grid, read_rows
from fnkd_core.experiments.presets import PRESETS, preset
from fnkd_core.experiments.seeds import at_best, axes, over_two, sweep, table, words
from fnkd_core.experiments.status import CellStatus, settings_line
from fnkd_core.kd.methods import METHODS
from fnkd_core.kd.objective import parameters
from fnkd_core.plots.seeds import sweep_lines
from fnkd_core.training.config import RunConfig

ROOT = Path(__file__).parents[2]
BASE: dict[str, Any] = {"dataset": "digits", "teacher": "digits-teacher", "student": "cifar_resnet8", "epochs": 3}


def test_a_plan_is_methods_times_grid_times_seeds_and_a_method_takes_what_it_has() -> None:
    cells = plan(BASE, ["ce", "kd", "fn"], [0, 1], {"T": [2.0, 4.0], "tau": [1.0], "lr": [0.05]})
    rows = list(dict.fromkeys(cell.row for cell in cells))
    assert rows == ["ce lr=0.05", "kd T=2 lr=0.05", "kd T=4 lr=0.05", "fn tau=1 lr=0.05"]
    assert len(cells) == 8
    assert [cell.seed for cell in cells[:2]] == [0, 1]
    assert cells[2].config.deciding()["parameters"] == {"T": 2.0, "alpha": 0.9, "t_squared": True}
    assert cells[2].config.lr == 0.05
    assert cells[2].varied == {"method": "kd", "T": 2.0, "lr": 0.05}
    assert all(cell.config.teacher == "digits-teacher" for cell in cells)


def test_a_policy_and_several_temperatures_are_values_of_a_grid() -> None:
    methods = ["fn", "dkd", "kd"]
    grid = read_grid(["policy=constant,norm temperatures=2+3+4"], methods)
    cells = plan(BASE, methods, [0, 1], grid)
    rows = list(dict.fromkeys(cell.row for cell in cells))
    assert rows == [
        "fn", "dkd policy=constant", "dkd policy=norm",
        "kd policy=constant temperatures=2+3+4", "kd policy=norm temperatures=2+3+4",
    ]  # fmt: skip
    assert cells[-1].config.parameters["temperatures"] == "2+3+4"
    # FN-DKD is a setting, and its seeds are runs of one row.
    assert [cell.seed for cell in cells if cell.row == "dkd policy=norm"] == [0, 1]
    assert Cell.from_dict(cells[-1].to_dict()) == cells[-1]  # type: ignore[arg-type]


def test_fixed_parameters_go_to_the_methods_that_have_them_and_the_grid_comes_first() -> None:
    cells = plan(BASE | {"parameters": {"T": 8.0, "alpha": 0.5}}, ["ce", "kd"], [0], {"alpha": [0.7]})
    assert cells[0].config.parameters == {}
    assert cells[1].config.deciding()["parameters"] == {"T": 8.0, "alpha": 0.7, "t_squared": True}


def test_a_run_that_two_rows_would_share_is_planned_once() -> None:
    grid = {"label_noise": [0.0, 0.2], "noise_kind": ["uniform", "similar"]}
    rows = [cell.row for cell in plan(BASE, ["ce"], [0], grid)]
    assert rows == [
        "ce label_noise=0",
        "ce label_noise=0.2 noise_kind=uniform",
        "ce label_noise=0.2 noise_kind=similar",
    ]


def test_teachers_are_trained_first_and_each_teaches_every_method() -> None:
    cells = plan(BASE, ["kd", "fn"], [3, 4], teachers=["cifar_resnet8", "cifar_resnet20"])
    assert [cell.row for cell in cells[:2]] == ["teacher cifar_resnet8", "teacher cifar_resnet20"]
    assert [(c.config.method, c.config.student, c.config.teacher) for c in cells[:2]] == [
        ("ce", "cifar_resnet8", None),
        ("ce", "cifar_resnet20", None),
    ]
    assert [(c.row, c.seed, c.config.teacher) for c in cells[2:6]] == [
        ("kd teacher=cifar_resnet8", 3, "@0"),
        ("kd teacher=cifar_resnet8", 4, "@0"),
        ("kd teacher=cifar_resnet20", 3, "@1"),
        ("kd teacher=cifar_resnet20", 4, "@1"),
    ]
    assert len(cells) == 10


def test_generations_teach_each_other_within_a_seed() -> None:
    cells = plan(BASE, ["kd"], [0, 7], generations=3)
    assert [(c.row, c.seed, c.config.seed, c.config.teacher) for c in cells] == [
        ("ce generation=1", 0, 0, None),
        ("ce generation=1", 7, 7, None),
        ("kd generation=2", 0, 0, "@0"),
        ("kd generation=2", 7, 7, "@1"),
        ("kd generation=3", 0, 0, "@2"),
        ("kd generation=3", 7, 7, "@3"),
    ]
    assert {cell.config.student for cell in cells} == {"cifar_resnet8"}


def test_a_hard_weight_is_said_by_each_method_in_the_one_way_that_it_has() -> None:
    def said(cells: list[Cell]) -> list[tuple[str, float | None, float | None]]:
        return [(c.row, c.config.hard_weight, c.config.parameters.get("hard")) for c in cells]

    of_all = plan(BASE | {"hard_weight": 0.5}, ["kd", "fn", "lskd"], [0])
    assert said(of_all) == [("kd", None, 0.5), ("fn", 0.5, None), ("lskd", None, 0.5)]
    varied = plan(BASE, ["kd", "fn"], [0], {"hard_weight": [0.0, 1.0]})
    assert [one[1:] for one in said(varied)] == [(None, 0.0), (None, 1.0), (0.0, None), (1.0, None)]
    own = plan(BASE | {"hard_weight": 0.5, "parameters": {"hard": 2.0}}, ["kd", "fn"], [0])
    assert said(own) == [("kd", None, 2.0), ("fn", 0.5, None)]


def test_a_method_without_a_teacher_takes_no_part_in_how_teachers_are_asked() -> None:
    cells = plan(BASE | {"teacher_outputs": "cached", "views": 2}, ["ce", "kd"], [0])
    assert [(c.config.teacher_outputs, c.config.views) for c in cells] == [("live", 2), ("cached", 2)]
    varied = plan(BASE, ["ce", "kd"], [0], {"teacher_outputs": ["cached", "live"]})
    assert [c.row for c in varied] == ["ce", "kd teacher_outputs=cached", "kd teacher_outputs=live"]


def test_those_that_are_trained_to_teach_have_no_teacher_s_norms_to_weigh_by() -> None:
    weighing = BASE | {"weight_by_norm": -1.0}
    for how in ({"teachers": ["cifar_resnet8"]}, {"generations": 2}):
        first, *others = plan(weighing, ["kd"], [0], **how)
        assert first.config.weight_by_norm == 0.0
        assert {cell.config.weight_by_norm for cell in others} == {-1.0}


@pytest.mark.parametrize("name", list(PRESETS))
def test_every_preset_can_be_planned_and_says_what_it_asks(name: str) -> None:
    chosen = preset(name)
    assert chosen.question.endswith("?") and chosen.reading.endswith(".") and set(chosen.methods) <= set(METHODS)
    methods, rows = chosen.asked()
    begun = {"init": "digits-kd"} if chosen.recipe == "finetune" else {}
    cells = plan(BASE | begun, methods, [0, 1], chosen.grid, rows=rows, recipe=chosen.recipe, **chosen.more)
    assert len(cells) >= 2 * len(methods) + 2 * len(rows) > 0
    for i, cell in enumerate(cells):
        teacher = cell.config.teacher or ""
        assert not teacher.startswith("@") or int(teacher[1:]) < i
        assert Cell.from_dict(cell.to_dict()) == cell


def test_a_preset_chooses_where_something_is_varied_and_held_out_and_says_why_where_not() -> None:
    chosen = preset("own-best-rate")
    varied = plan(BASE, ["ce"], [0], chosen.grid)
    assert (chosen.chosen_of(varied), chosen.not_chosen(varied)) == (["lr"], "")
    one_rate = plan(BASE, ["ce"], [0])
    assert chosen.chosen_of(one_rate) == [] and "each is trained at one" in chosen.not_chosen(one_rate)
    all_of_train = plan(BASE | {"validation": 0.0}, ["ce"], [0], chosen.grid)
    assert chosen.chosen_of(all_of_train) == [] and "nothing is held out" in chosen.not_chosen(all_of_train)
    assert preset("few-labels").not_chosen(all_of_train) == ""


def test_a_preset_says_the_parameters_of_methods_that_have_them_and_what_is_asked_for_goes_before() -> None:
    chosen = preset("temperature-per-sample")
    cells = plan(BASE | {"parameters": {"T": 2.0, "soft": 4.0}}, chosen.methods, [0], chosen.grid, **chosen.more)
    assert [cell.row for cell in cells] == ["ce", *(f"kd policy={p}" for p in ("constant", "norm", "std", "max"))]
    for cell in cells[1:]:
        said = cell.config.parameters
        assert (said["T"], said["hard"], said["soft"], said["t_squared"]) == (2.0, 1.0, 4.0, False)
    assert [cell.row for cell in plan(BASE, ["fn"], [0], **chosen.more)] == ["fn"]


def test_a_row_has_settings_of_its_own_that_go_before_what_is_given_and_leave_the_grid_alone() -> None:
    rows = read_rows(["dkd policy=norm lr=0.1,0.2", "  kd ", "ce"])
    assert rows == [("dkd", {"policy": ["norm"], "lr": [0.1, 0.2]}), ("kd", {}), ("ce", {})]
    own = {"hard": 1.0, "soft": 9.0, "t_squared": False}
    given = BASE | {"lr": 0.05, "parameters": {"T": 2.0}}
    cells = plan(given, ["kd"], [0, 1], {"alpha": [0.5, 0.7]}, parameters=own, rows=rows)
    assert list(dict.fromkeys(cell.row for cell in cells)) == [
        "kd alpha=0.5", "kd alpha=0.7", "dkd policy=norm lr=0.1", "dkd policy=norm lr=0.2", "kd", "ce",
    ]  # fmt: skip
    by_row = {cell.row: cell.config for cell in cells}
    assert (by_row["kd alpha=0.5"].parameters["hard"], by_row["kd"].parameters["hard"]) == (1.0, None)
    assert {by_row[row].parameters["T"] for row in by_row if row != "ce"} == {2.0}
    assert (by_row["dkd policy=norm lr=0.2"].lr, by_row["kd"].lr) == (0.2, 0.05)
    assert by_row["dkd policy=norm lr=0.1"].parameters["policy"] == "norm"
    # A row that is another one's run is that run.
    assert len(plan(BASE, ["kd"], [0], rows=read_rows(["kd", "kd T=4"]))) == 1
    alone = plan(BASE, [], [0], rows=rows)
    assert [cell.row for cell in alone] == ["dkd policy=norm lr=0.1", "dkd policy=norm lr=0.2", "kd", "ce"]
    assert "lr 0.05 unless a row says another" in settings_line(alone)
    assert "lr" not in settings_line(plan(BASE, ["ce"], [0], {"lr": [0.1, 0.2]}))
    assert settings_line(plan(BASE, ["ce"], [0])).count("lr 0.05") == 1


def test_rows_that_leave_unsaid_what_others_say_are_told_apart_when_each_is_shown_at_its_best() -> None:
    rows = read_rows(["dkd policy=norm lr=0.1,0.2", "kd lr=0.1,0.2", "kd\tT=8 lr=0.1,0.2", "kd hard=1", "ce"])
    cells = plan(BASE, ["dkd"], [0], {"lr": [0.1, 0.2]}, rows=rows)
    by_row = {cell.row: cell.varied for cell in cells}
    assert by_row["dkd lr=0.1"] == {"method": "dkd", "lr": 0.1, "policy": "constant"}
    assert by_row["kd lr=0.2"] == {"method": "kd", "lr": 0.2, "T": 4.0, "hard": "usual"}
    assert by_row["kd hard=1"] == {"method": "kd", "lr": 0.05, "T": 4.0, "hard": 1.0}
    assert by_row["ce"] == {"method": "ce"}
    assert "lr 0.05 unless a row says another" in settings_line(cells)
    reached = {"state": "finished", "accuracy": 0.5}
    runs = table([CellStatus(c, None, "").result() | reached | {"validation": c.config.lr} for c in cells])
    best = ["dkd lr=0.2", "dkd policy=norm lr=0.2", "kd lr=0.2", "kd T=8 lr=0.2", "kd hard=1", "ce"]
    assert list(at_best(runs, ["lr"])["row"]) == best


def test_a_row_that_is_called_as_one_of_the_grid_and_is_another_is_one_line() -> None:
    chosen = preset("temperature-per-sample")
    for text, message in (
        ("kd policy=constant", "The row 'kd policy=constant' is of the grid already, with other parameters"),
        ("kd policy=constant alpha=0.8", ""),
        ("kd policy=constant hard=1 soft=9 t_squared=false", ""),
    ):
        rows = read_rows([text])
        if not message:
            plan(BASE, chosen.methods, [0], chosen.grid, rows=rows, **chosen.more)
            continue
        with pytest.raises(UserError, match=message):
            plan(BASE, chosen.methods, [0], chosen.grid, rows=rows, **chosen.more)


def test_what_all_runs_have_says_nothing_of_settings_without_effect() -> None:
    noise = {"label_noise": [0.0, 0.2], "noise_kind": ["uniform", "similar"]}
    assert "unless a row says" not in settings_line(plan(BASE, ["ce", "kd"], [0], noise))
    assert "unless a row says" not in settings_line(
        plan(BASE, ["ce", "kd"], [0], {"teacher_outputs": ["live", "cached"]})
    )


def test_a_number_that_rows_leave_open_is_no_value_of_a_sweep_and_what_is_no_number_is_no_axis() -> None:
    cells = plan(BASE, [], [0], rows=read_rows(["kd T=2,4 hard=1,2", "kd T=2,4"]))
    runs = table([CellStatus(cell, None, "").result() | {"state": "finished", "accuracy": 0.5} for cell in cells])
    assert axes(runs, "kd") == ["T", "hard"] and words(runs, "kd") == []
    found = over_two(runs, "kd", "T", "hard")
    assert sorted(zip(found["T"], found["hard"], strict=True)) == [(2, 1), (2, 2), (4, 1), (4, 2)]
    cells = plan(BASE, [], [0], rows=read_rows(["kd policy=norm,constant T=2,4 t_squared=true,false"]))
    runs = table([CellStatus(cell, None, "").result() | {"state": "finished", "accuracy": 0.5} for cell in cells])
    assert (axes(runs, "kd"), words(runs, "kd")) == (["T"], ["policy", "t_squared"])
    also = ["method", "policy", "t_squared"]
    lines = sweep_lines(sweep(runs, "T", also), "T", also).data
    assert [line.name for line in lines] == [
        f"kd policy={policy} t_squared={on}" for policy in ("norm", "constant") for on in ("true", "false")
    ]


def test_wrong_labels_of_no_share_have_no_kind_beside_rows_either() -> None:
    rows = read_rows(["ce label_noise=0.2 noise_kind=similar", "ce"])
    assert [cell.varied for cell in plan(BASE, [], [0], rows=rows)] == [
        {"method": "ce", "label_noise": 0.2, "noise_kind": "similar"}, {"method": "ce", "label_noise": 0.0},
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("kdd T=2", "Unknown method 'kdd'."),
        ("T=2", "A row is METHOD NAME=VALUE, such as dkd policy=norm; got 'T=2'."),
        ("", "A row is METHOD NAME=VALUE, such as dkd policy=norm; got ''."),
        ("kd tau=2", "Unknown setting, or parameter of kd, 'tau'."),
        ("kd seed=2", "Unknown setting, or parameter of kd, 'seed'."),
    ],
)
def test_a_wrong_row_is_one_line(text: str, message: str) -> None:
    with pytest.raises(UserError) as caught:
        read_rows([text])
    assert str(caught.value).startswith(message)


def test_a_grid_of_no_method_is_one_line() -> None:
    assert read_grid([], []) == {}
    with pytest.raises(UserError, match="A grid is of methods, and none is named: rows have settings of their own."):
        read_grid(["T=1,2"], [])


def test_methods_that_are_asked_for_are_those_of_a_preset_s_rows() -> None:
    chosen = preset("short-runs")
    assert chosen.asked() == ([], read_rows(chosen.rows))
    methods, rows = chosen.asked(["fn", "ce"])
    assert (methods, rows) == ([], [row for row in read_rows(chosen.rows) if row[0] in ("fn", "ce")])
    assert len(rows) > 2
    with pytest.raises(UserError, match="This preset has no row of 'he', but of kd, .*; give it as a --row."):
        chosen.asked(["ce", "he"])
    assert preset("few-labels").asked(["he"]) == (["he"], [])


def on_record(table: str) -> list[dict[str, Any]]:
    """The runs of a table of docs/results that are kept with it."""
    lines = (ROOT / "docs" / "results" / f"{table}-runs.jsonl").read_text(encoding="utf-8").splitlines()
    assert len(lines) > 5
    return [json.loads(line) for line in lines]


@pytest.mark.parametrize(
    "table", ["cifar100-15", "cifar100-short", "cifar100-flat", "cifar100-label-noise", "verdict-gain"]
)
def test_the_settings_of_every_run_on_record_can_be_asked_for_today(table: str) -> None:
    for record in on_record(table):
        assert RunConfig.from_dict(record["config"]).epochs == len(record["metrics"]), record["id"]


TABLES = {
    "cifar100-15": "short-runs",
    "cifar100-short": "shortest-runs",
    "cifar100-label-noise": "wrong-labels",
    "cifar100-few-labels": "flat-temperature",
    "imagewoof": "fine-tuning",
    "digits-flat": "half-and-twice",
}
"""Of docs/results -> the preset that asks for it."""
BESIDES = {"cifar100-flat": ("half-and-twice", "shortest")}
"""Tables of a part of a preset's rows, under another recipe than its own."""


def planned(table: str) -> list[Cell]:
    """What the preset of a table plans, as its command says."""
    base = {"dataset": "c100", "teacher": "r56", "student": "cifar_resnet20", "threads": 1}
    begun = {"init": "lite0", "validation": 0.05} if table == "imagewoof" else {}
    name, recipe = BESIDES.get(table) or (TABLES[table], preset(TABLES[table]).recipe)
    _, rows = preset(name).asked()
    return plan(base | begun, [], [0, 1, 2], rows=rows, recipe=recipe)


@pytest.mark.parametrize("table", ["cifar100-15", "cifar100-short", "cifar100-flat", "cifar100-label-noise"])
def test_the_preset_of_a_table_has_the_settings_of_the_runs_that_are_on_record(table: str) -> None:
    def settings(config: RunConfig) -> str:
        # Where outputs are kept, a view seed that is not given is 0.
        seed = config.view_seed or 0 if config.teacher_outputs == "cached" else config.view_seed
        return json.dumps(config.deciding() | {"precision": "auto", "view_seed": seed}, sort_keys=True)

    there = {settings(cell.config) for cell in planned(table)}
    of_r56 = [record for record in on_record(table) if record["config"]["teacher"] in ("r56", None)]
    assert len(of_r56) >= 10
    for record in of_r56:
        assert settings(RunConfig.from_dict(record["config"])) in there, record["id"]


@pytest.mark.parametrize("table", TABLES)
def test_the_rows_of_a_table_are_those_that_its_preset_asks_for(table: str) -> None:
    def rate(line: dict[str, str]) -> float:
        said = re.search(r" lr=(\S+)", line["row"])
        return float(said[1] if said else line["lr"])

    def without_rate(row: str) -> str:
        return re.sub(r" lr=\S+", "", row)

    with (ROOT / "docs" / "results" / f"{table}.csv").open(encoding="utf-8") as file:
        lines = [line for line in csv.DictReader(file) if ", teacher " not in line["row"]]
    run = {(without_rate(line["row"]), rate(line)) for line in lines}
    assert run == {(without_rate(cell.row), cell.config.lr) for cell in planned(table)}
    page = (ROOT / "docs" / "results" / f"{table}.md").read_text(encoding="utf-8")
    assert f"fnkd compare --preset {TABLES[table]} " in page


@given(
    st.lists(st.sampled_from(sorted(METHODS)), min_size=1, max_size=5, unique=True),
    st.lists(st.integers(0, 9), min_size=1, max_size=3, unique=True),
    st.lists(st.sampled_from([0.5, 1.0, 2.0, 4.0]), min_size=1, max_size=3, unique=True),
)
def test_no_run_is_planned_twice_and_every_row_has_every_seed(methods: list, seeds: list, values: list) -> None:
    grid = {"T": values} if any(p.name == "T" for m in methods for p in parameters(m)) else {}
    cells = plan(BASE, methods, seeds, grid)
    assert len({str(cell.config.deciding()) for cell in cells}) == len(cells)
    for row in {cell.row for cell in cells}:
        assert [cell.seed for cell in cells if cell.row == row] == seeds


@pytest.mark.parametrize(
    ("texts", "found"),
    [
        (["tau=1,2,4"], {"tau": [1.0, 2.0, 4.0]}),
        (["per-class=5,10", "augment=true,false"], {"per_class": [5, 10], "augment": [True, False]}),
        (["variant=paper,released", "schedule=cosine"], {"variant": ["paper", "released"], "schedule": ["cosine"]}),
        (["teacher=a,b"], {"teacher": ["a", "b"]}),
        (["tau=1", "2", "4", "T=2", "4"], {"tau": [1.0, 2.0, 4.0], "T": [2.0, 4.0]}),
        (["tau = 1, 2 ,4 T=2,4"], {"tau": [1.0, 2.0, 4.0], "T": [2.0, 4.0]}),
        ([""], {}),
    ],
)
def test_a_grid_is_read_in_the_types_of_its_settings(texts: list[str], found: dict) -> None:
    assert read_grid(texts, ["kd", "fn"]) == found


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (["tau"], "A grid is NAME=VALUE,VALUE, such as tau=1,2,4; got 'tau'."),
        (["tau=1,x"], "tau in a grid must be a number, got 'x'."),
        (["per_class=1.5"], "per_class in a grid must be a whole number, got '1.5'."),
        (["augment=yes"], "augment in a grid must be true or false, got 'yes'."),
    ],
)
def test_a_wrong_grid_is_one_line(texts: list[str], message: str) -> None:
    with pytest.raises(UserError) as caught:
        read_grid(texts, ["kd", "fn"])
    assert str(caught.value) == message


@pytest.mark.parametrize("name", ["taau", "seed", "dataset", "epsilon"])
def test_a_grid_over_what_cannot_vary_lists_what_can(name: str) -> None:
    with pytest.raises(UserError, match=f"Unknown setting, or parameter of kd, fn, '{name}'. Nearest of "):
        read_grid([f"{name}=1"], ["kd", "fn"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([], [0]), "A comparison needs at least one method, such as kd."),
        ((["kd"], []), "A comparison needs at least one seed."),
        ((["kd", "kd"], [0]), "Method 'kd' is given twice."),
        ((["kdd"], [0]), "Unknown method 'kdd'."),
        ((["kd"], [0], {"T": [-1.0]}), "T must be > 0, got -1.0."),
        ((["kd"], [0], {"lr": [-1.0]}), "lr must be > 0, or 0 for the optimiser's usual, got -1.0."),
    ],
)
def test_a_plan_that_cannot_be_is_one_line(arguments: tuple, message: str) -> None:
    with pytest.raises(UserError) as caught:
        plan(BASE, *arguments)
    assert str(caught.value).startswith(message)


def test_a_method_without_a_teacher_has_no_generations() -> None:
    with pytest.raises(UserError, match="Method 'ce' has no teacher"):
        plan(BASE, ["ce", "kd"], [0], generations=2)
    with pytest.raises(UserError, match="Unknown preset 'few'. Nearest of 15: few-labels"):
        preset("few")

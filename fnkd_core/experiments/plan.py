"""Which runs a comparison has: methods x grid x seeds, and rows of their own, in their order. No torch."""

from __future__ import annotations

import dataclasses
import itertools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Annotated, Any, TypedDict, get_args, get_type_hints

from fnkd_core.errors import UserError, require, unknown
from fnkd_core.identity import digest
from fnkd_core.kd.methods import METHODS
from fnkd_core.kd.objective import method
from fnkd_core.kd.objective import parameters as parameters_of
from fnkd_core.training.config import RunConfig, reads_similar
from fnkd_core.training.recipes import with_recipe
from fnkd_core.wording import items

NOT_VARIED = (
    "method", "parameters", "seed", "name", "threads", "device", "dataset", "data_root", "milestones", "tensorboard",
    "keep_epochs", "validation",
)  # fmt: skip
"""Settings that a grid cannot vary: they have a place of their own, or change what is compared."""

USUAL = "usual"
"""In a cell's `varied`, a setting or parameter that is open, such as a weight that is the method's own."""

NOT_CHOSEN = ("method", "teacher", "generation")
"""What rows differ in that is the question itself, and not to be settled on validation."""


class CellRecord(TypedDict):
    """A `Cell` as a comparison's file holds it."""

    row: str
    varied: Annotated[dict[str, str | float | bool | None], Varied]
    seed: int
    config: dict[str, Any]


class Varied(TypedDict):
    """What is always among the things that are varied."""

    method: str


@dataclass(frozen=True)
class Cell:
    """One run to have.

    row: what it is compared as, the same for all seeds. varied: the method and the grid's values behind that name.
    seed: cells of the same seed are a pair. config.teacher may be "@3": the student of cell 3.
    """

    row: str
    varied: Mapping[str, Any]
    seed: int
    config: RunConfig

    def to_dict(self) -> dict[str, Any]:
        """As a comparison's file holds it."""
        return {"row": self.row, "varied": dict(self.varied), "seed": self.seed, "config": self.config.to_dict()}

    @property
    def taught_by(self) -> int | None:
        """The place of the cell whose student is its teacher, or None. `UserError` where the reference is none."""
        teacher = self.config.teacher
        if teacher is None or not teacher.startswith("@"):
            return None
        require(
            teacher[1:].isdecimal() and len(teacher) < 9, f"teacher must be @ and a cell's number, got {teacher!r}."
        )
        return int(teacher[1:])

    @classmethod
    def from_dict(cls, values: CellRecord) -> Cell:
        """From what a comparison's file holds. `UserError` where its settings are none."""
        return cls(values["row"], values["varied"], values["seed"], RunConfig.from_dict(values["config"]))


def settings_to_choose(cells: Sequence[Cell]) -> list[str]:
    """The settings and parameters of which each row of these cells can be shown at its best."""
    return list(dict.fromkeys(name for cell in cells for name in cell.varied if name not in NOT_CHOSEN))


def holds_out(cells: Sequence[Cell]) -> bool:
    """Whether each of these cells holds something out to choose by."""
    return all(cell.config.validation for cell in cells)


def read_grid(texts: Sequence[str], methods: Sequence[str]) -> dict[str, list[Any]]:
    """{"tau": [1.0, 2.0]} from ["tau=1,2"] or ["tau=1", "2"], each value in the type of its setting or parameter.

    `UserError` for a name that none of the methods has, or a value that cannot be read.
    """
    grid: dict[str, list[Any]] = {}
    whole = re.sub(r"\s*=\s*", "=", " ".join(texts))
    require(
        bool(methods) or not whole.strip(), "A grid is of methods, and none is named: rows have settings of their own."
    )
    for text in re.split(r"[,\s]+(?=[^,\s=]+=)", whole.strip()) if whole.strip() else ():
        name, sign, values = text.partition("=")
        name = name.strip().replace("-", "_")
        require(bool(sign and items(values)), f"A grid is NAME=VALUE,VALUE, such as tau=1,2,4; got {text!r}.")
        kind = _kind(name, methods)
        grid[name] = [_value(name, kind, value) for value in items(values)]
    return grid


Row = tuple[str, Mapping[str, Sequence[Any]]]
"""A method and a grid of its own."""


def read_rows(texts: Sequence[str]) -> list[Row]:
    """[("dkd", {"policy": ["norm"], "lr": [0.1, 0.2]})] from ["dkd policy=norm lr=0.1,0.2"].

    `UserError` for an unknown method, and as `read_grid`.
    """
    found: list[Row] = []
    for text in texts:
        name, grid = [*text.split(None, 1), "", ""][:2]
        require(bool(name) and "=" not in name, f"A row is METHOD NAME=VALUE, such as dkd policy=norm; got {text!r}.")
        method(name)
        found.append((name, read_grid([grid], [name])))
    return found


def settled(
    given: Mapping[str, Any], question: Mapping[str, Sequence[Any]], asked: Mapping[str, Sequence[Any]]
) -> dict[str, Sequence[Any]]:
    """The grid where a question varies one thing and somebody asks for another.

    given: settings and parameters that were given a value, which goes before what the question varies. question: the
    grid of a `presets.Preset`. asked: of `read_grid`. `UserError` where what is asked to be varied is also given.
    """
    for name in sorted(asked.keys() & given.keys()):
        raise UserError(f"{name} is varied by the grid, and given as {given[name]}; leave one out.")
    return {name: values for name, values in question.items() if name not in given} | dict(asked)


def _kind(name: str, methods: Sequence[str]) -> type:
    hints = {k: v for k, v in get_type_hints(RunConfig).items() if k not in NOT_VARIED}
    if name in hints:
        options = [*get_args(hints[name]), hints[name]]
        return next((k for k in (bool, int, float) if k in options), str)
    of_methods = {p.name: p for m in methods for p in parameters_of(m)}
    if name not in of_methods:
        what = f"setting, or parameter of {', '.join(methods)},"
        raise unknown(what, name, sorted({*hints, *of_methods}), "fnkd compare --help")
    return {"float": float, "bool": bool, "choice": str, "list": str}[of_methods[name].kind]


def _value(name: str, kind: type, text: str) -> Any:
    if kind is bool:
        require(text in ("true", "false"), f"{name} in a grid must be true or false, got {text!r}.")
        return text == "true"
    try:
        return kind(text)
    except ValueError:
        what = "a whole number" if kind is int else "a number"
        raise UserError(f"{name} in a grid must be {what}, got {text!r}.") from None


def plan(
    base: Mapping[str, Any],
    methods: Sequence[str],
    seeds: Sequence[int],
    grid: Mapping[str, Sequence[Any]] | None = None,
    *,
    parameters: Mapping[str, Any] | None = None,
    teachers: Sequence[str] = (),
    generations: int = 0,
    rows: Sequence[Row] = (),
    recipe: str | None = None,
) -> list[Cell]:
    """The cells of a comparison, each row's seeds together, teachers before those they teach.

    base: settings of all runs, `parameters` among them, which each method takes as far as it has them. grid: setting
    or parameter -> its values; a method takes the product of those it has. parameters, teachers, generations: see
    `presets.Preset`. rows: besides methods x grid, of `read_rows`; what one says goes before `base`, and neither grid
    nor parameters are for it. recipe: what each run has where nothing else says anything. `UserError` where a run's
    settings do not fit, a method is named twice, or nothing is to be compared. A `hard_weight` is the parameter `hard`
    of methods that have one and are given none; a method without a teacher asks none, however its outputs are kept.
    """
    require(bool(methods or rows), "A comparison needs at least one method, such as kd.")
    require(bool(seeds), "A comparison needs at least one seed.")
    require(not (teachers and generations), "Teachers of several sizes and generations cannot be combined.")
    for name in methods:
        method(name)
        require(list(methods).count(name) == 1, f"Method {name!r} is given twice.")
    fixed: dict[str, Any] = dict(base)
    grid = dict(grid or {})
    there = {p.name for name in methods for p in parameters_of(name)}
    asked = fixed.pop("parameters", None) or {}
    given = {k: v for k, v in (parameters or {}).items() if k in there} | asked
    every = list(dict.fromkeys([*methods, *(name for name, _ in rows)]))
    for key in (*given, *grid):
        _kind(key, every)
    if teachers or generations:
        for name in every:
            require(METHODS[name].needs_teacher, f"Method {name!r} has no teacher, so none of its size or kind.")

    cells = _Cells(fixed, shown_generation=bool(generations), recipe=recipe)
    sizes: dict[str | None, str] = {}
    for size in teachers:
        place = cells.add("ce", {}, seeds[0], row=f"teacher {size}", student=size, teacher=None)
        sizes[f"@{place}"] = size
    cells.sizes = sizes
    first = {seed: cells.add("ce", {}, seed, teacher=None) for seed in seeds} if generations else {}
    of_grid = [(name, values, given) for name, values in _product(methods, grid)]
    of_rows = [(name, values, asked) for row, own in rows for name, values in _product([row], own)]
    for name, values, fit in of_grid + of_rows:
        last = dict(first)
        for at in sizes or (fixed.get("teacher"),):
            for generation in range(2 if generations else 1, max(generations, 1) + 1):
                for seed in seeds:
                    teacher = f"@{last[seed]}" if generations else at
                    last[seed] = cells.add(name, values, seed, fit, generation=generation, teacher=teacher)
    taken: set[tuple[str, int]] = set()
    for cell in cells.found:
        # The parameters that a question fixes are in no row's name.
        text = f"The row {cell.row!r} is of the grid already, with other parameters; name one more of its own."
        require((cell.row, cell.seed) not in taken, text)
        taken.add((cell.row, cell.seed))
    return _comparable(cells.found) if rows else cells.found


def _comparable(cells: Sequence[Cell]) -> list[Cell]:
    """The cells, each with all that any one of its method varies: a row of its own leaves unsaid what is as usual."""
    names: dict[str, dict[str, None]] = {}
    for cell in cells:
        names.setdefault(cell.varied["method"], {}).update(dict.fromkeys(cell.varied))
    found = []
    for cell in cells:
        has = vars(cell.config) | dict(cell.config.parameters)
        idle = () if cell.config.label_noise else ("noise_kind",)
        silent = [name for name in names[cell.varied["method"]] if name not in cell.varied and name not in idle]
        unsaid = {name: USUAL if has[name] is None else has[name] for name in silent if name in has}
        found.append(dataclasses.replace(cell, varied={**cell.varied, **unsaid}))
    return found


@dataclass
class _Cells:
    """Cells as they are planned, each run once. sizes: the teachers' places -> the size that a row names."""

    fixed: Mapping[str, Any]
    shown_generation: bool
    recipe: str | None = None
    sizes: Mapping[str | None, str] = field(default_factory=dict)
    found: list[Cell] = field(default_factory=list)
    known: dict[str, int] = field(default_factory=dict)

    def add(
        self,
        name: str,
        values: Mapping[str, Any],
        seed: int,
        given: Mapping[str, Any] = MappingProxyType({}),
        *,
        generation: int = 1,
        row: str = "",
        **settings: Any,
    ) -> int:
        """Put a cell at the end, unless its run is there already; its place.

        given: parameters, as far as the method has them and the values have not.
        """
        own = {p.name for p in parameters_of(name)}
        idle = () if METHODS[name].needs_teacher else ("teacher_outputs",)
        others = {k: v for k, v in values.items() if k not in own and k not in idle}
        if not others.get("label_noise", self.fixed.get("label_noise", 0.0)):
            others.pop("noise_kind", None)
        chosen = {k: v for k, v in {**given, **values}.items() if k in own}
        varied = {"method": name} | {k: v for k, v in values.items() if k in own or k in others}
        if size := self.sizes.get(settings.get("teacher")):
            varied["teacher"] = size
        if self.shown_generation:
            varied["generation"] = generation
        is_to_teach = bool(row) or (self.shown_generation and settings.get("teacher") is None)
        row = row or " ".join([name, *(f"{k}={_said(v)}" for k, v in varied.items() if k != "method")])
        # A grid of teachers comes before the one that all would have.
        fixed = {k: v for k, v in self.fixed.items() if k not in idle}
        settings = fixed | settings | others | {"method": name, "parameters": chosen}
        if is_to_teach:
            settings.pop("weight_by_norm", None)  # for it has no teacher
        settings["seed"] = seed
        settings["name"] = re.sub(r"[^A-Za-z0-9.]+", "-", row).strip("-.")[:56] + f"-s{seed}"
        if not reads_similar(name, chosen, settings.get("label_noise", 0.0), settings.get("noise_kind", "")):
            settings.pop("similar", None)
        if "hard" in own:  # by which this method says it
            weight = settings.pop("hard_weight", None)
            settings["parameters"] = ({"hard": weight} if weight is not None else {}) | chosen
        if self.recipe is not None:
            settings = with_recipe(self.recipe, settings)
        cell = Cell(row, varied, seed, RunConfig(**settings))
        key = digest(cell.config.deciding())
        if key not in self.known:
            self.known[key] = len(self.found)
            self.found.append(cell)
        return self.known[key]


def _product(methods: Sequence[str], grid: Mapping[str, Sequence[Any]]) -> list[tuple[str, dict[str, Any]]]:
    """(method, values) for each method and each combination of those of the grid's values that it has."""
    settings = {f.name for f in dataclasses.fields(RunConfig)}
    found = []
    for name in methods:
        own = {p.name for p in parameters_of(name)} | settings
        mine = {k: v for k, v in grid.items() if k in own}
        found += [(name, dict(zip(mine, values, strict=True))) for values in itertools.product(*mine.values())]
    return found


def _said(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, int | float) else str(value)

"""A method by its name: its parameters, checked and completed, and the objective that they make."""

from __future__ import annotations

import functools
import inspect
import typing
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal

from fnkd_core.errors import unknown
from fnkd_core.kd.losses import Objective
from fnkd_core.kd.methods import METHODS, Method
from fnkd_core.kd.parameters import Parameter, Range, numbers, written
from fnkd_core.kd.policies import POLICIES

ANY = {"norm": 4.0, "std": 4.0, "max": 4.0}
"""Means of a teacher for those that ask what does not depend on them."""


def method(name: str) -> Method:
    """The method of this name. `UserError` lists those there are."""
    if name not in METHODS:
        raise unknown("method", name, sorted(METHODS), "fnkd methods")
    return METHODS[name]


def parameters(name: str) -> tuple[Parameter, ...]:
    """The parameters of a method, read from its signature, in its order.

    A trailing underscore is dropped (`lambda_` is the parameter `lambda`). Keyword-only arguments come
    from the data set, not from the user, and are left out.
    """
    return _read(method(name).build)


def of_many_meanings(methods: Iterable[str]) -> set[str]:
    """The names by which these methods call parameters that are not the same, as `alpha` of kd and of dkd.

    methods: names; of those that are none nothing is said.
    """
    helps = defaultdict[str, set[str]](set)
    for one in {*methods} & set(METHODS):
        for parameter in parameters(one):
            helps[parameter.name].add(parameter.help)
    return {name for name, found in helps.items() if len(found) > 1}


@functools.cache  # annotations are parsed at each look, and a page looks a hundred times
def _read(build: Callable[..., Objective]) -> tuple[Parameter, ...]:
    hints = typing.get_type_hints(build, include_extras=True)
    found = []
    for argument in inspect.signature(build).parameters.values():
        if argument.kind is inspect.Parameter.KEYWORD_ONLY:
            continue
        annotation, note = typing.get_args(hints[argument.name])[:2]
        choices = typing.get_args(annotation) if typing.get_origin(annotation) is Literal else ()
        kind = _kind(annotation)
        found.append(
            Parameter(
                name=argument.name.rstrip("_"),
                kind=kind,
                default=written(argument.default) if kind == "list" else argument.default,
                help=note.help,
                choices=choices,
                range=note if isinstance(note, Range) else None,
                later=note.later,
            )
        )
    return tuple(found)


def _kind(annotation: Any) -> Literal["float", "bool", "choice", "list"]:
    if typing.get_origin(annotation) is Literal:
        return "choice"
    return "bool" if annotation is bool else "list" if typing.get_origin(annotation) is tuple else "float"


def weighs_hard(name: str) -> bool:
    """Whether the method has a parameter `hard` for the weight of its hard term."""
    return any(parameter.name == "hard" for parameter in parameters(name))


def with_policy() -> list[str]:
    """The methods whose temperature is a policy; see `fnkd_core.kd.policies`."""
    return [name for name in METHODS if "policy" in inspect.signature(METHODS[name].build).parameters]


def complete(name: str, given: Mapping[str, Any], means: Mapping[str, float] | None = None) -> dict[str, Any]:
    """Every parameter of the method with a checked value: those given, else the defaults.

    means: statistic (`norm`, `std`, `max`) -> the teacher's mean on the training set, from which open parameters are
    set; without it they stay None. `UserError` for an unknown name or a value out of range.
    """
    known = {parameter.name: parameter for parameter in parameters(name)}
    for key in given:
        if key not in known:
            raise unknown(f"parameter of method {name!r}", key, known, "fnkd methods")
    values = {}
    for key, parameter in known.items():
        value = parameter.check(given.get(key, parameter.default))
        values[key] = value
    for key, (share, statistic) in _open(name, values).items():
        if means and means.get(statistic):
            values[key] = share * means[statistic]
    return values


def wanted(name: str, values: Mapping[str, Any]) -> frozenset[str]:
    """Of which statistics of the teacher the means are needed to complete these parameters: `norm`, `std`, `max`."""
    return frozenset(statistic for _, statistic in _open(name, values).values())


def _open(name: str, values: Mapping[str, Any]) -> dict[str, tuple[float, str]]:
    """Parameter that is open still -> (share, statistic) of the mean that it is."""
    found = {}
    for parameter in parameters(name):
        note = parameter.range
        if note is None or values.get(parameter.name) is not None:
            continue
        if note.mean_norm_share:
            found[parameter.name] = (note.mean_norm_share, "norm")
        elif policy := POLICIES.get(values.get(note.mean_by, "")):
            found[parameter.name] = (1.0, policy.statistic)
    return found


def deciding(name: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters by which a run is another one: all but those that came later and are at their defaults."""
    later = {p.name: p.default for p in parameters(name) if p.later}
    return {k: v for k, v in values.items() if k not in later or v != later[k]}


def context_of(name: str) -> frozenset[str]:
    """What the method wants that does not come from the user: `similar`, `progress`, `learnt`, `class_means`,
    `project`, `distances`."""
    arguments = inspect.signature(method(name).build).parameters.values()
    return frozenset(a.name for a in arguments if a.kind is inspect.Parameter.KEYWORD_ONLY)


def reads_similar(name: str, values: Mapping[str, Any]) -> bool:
    """Whether a method with these parameters reads the similar classes."""
    return "similar" in context_of(name) and values.get("costs", "similar") == "similar"


def objective(name: str, values: Mapping[str, Any], **context: Any) -> Objective:
    """The objective of a method with these parameters.

    context: `similar`, the classes similar to each class; `progress`, the share of the epochs begun, in (0, 1];
    `learnt`, a scalar parameter; `class_means` (K, D) of the teacher's features; `project`, from the student's features
    to as many as the teacher's; `distances` (K, K) between classes. The method takes what its signature names.
    """
    build = method(name).build
    arguments = inspect.signature(build).parameters
    lists = {p.name for p in parameters(name) if p.kind == "list"}
    from_user = {
        key if key in arguments else f"{key}_": tuple(numbers(key, value)) if key in lists else value
        for key, value in complete(name, values).items()
    }
    return build(**from_user, **{key: value for key, value in context.items() if key in context_of(name)})

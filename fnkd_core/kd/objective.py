"""A method by its name: its parameters, checked and completed, and the objective that they make."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Mapping
from typing import Any, Literal

from fnkd_core.errors import unknown
from fnkd_core.kd.losses import Objective
from fnkd_core.kd.methods import METHODS, Method
from fnkd_core.kd.parameters import Parameter, Range


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
    build = method(name).build
    hints = typing.get_type_hints(build, include_extras=True)
    found = []
    for argument in inspect.signature(build).parameters.values():
        if argument.kind is inspect.Parameter.KEYWORD_ONLY:
            continue
        annotation, note = typing.get_args(hints[argument.name])[:2]
        choices = typing.get_args(annotation) if typing.get_origin(annotation) is Literal else ()
        found.append(
            Parameter(
                name=argument.name.rstrip("_"),
                kind="choice" if choices else "bool" if annotation is bool else "float",
                default=argument.default,
                help=note.help,
                choices=choices,
                range=note if isinstance(note, Range) else None,
            )
        )
    return tuple(found)


def complete(name: str, given: Mapping[str, Any], mean_norm: float | None = None) -> dict[str, Any]:
    """Every parameter of the method with a checked value: those given, else the defaults.

    mean_norm: the teacher's mean ||f|| on the training set, from which an open tau is set; without it an
    open parameter stays None. `UserError` for an unknown name or a value out of range.
    """
    known = {parameter.name: parameter for parameter in parameters(name)}
    for key in given:
        if key not in known:
            raise unknown(f"parameter of method {name!r}", key, known, "fnkd methods")
    values = {}
    for key, parameter in known.items():
        value = parameter.check(given.get(key, parameter.default))
        share = parameter.range.mean_norm_share if parameter.range else None
        values[key] = share * mean_norm if value is None and share and mean_norm else value
    return values


def context_of(name: str) -> frozenset[str]:
    """What the method wants that does not come from the user: `similar`, `progress`, `learnt`."""
    arguments = inspect.signature(method(name).build).parameters.values()
    return frozenset(a.name for a in arguments if a.kind is inspect.Parameter.KEYWORD_ONLY)


def objective(name: str, values: Mapping[str, Any], **context: Any) -> Objective:
    """The objective of a method with these parameters.

    context: `similar`, the classes similar to each class; `progress`, the share of the epochs begun, in (0, 1];
    `learnt`, a scalar parameter. The method takes what its signature names.
    """
    build = method(name).build
    arguments = inspect.signature(build).parameters
    from_user = {key if key in arguments else f"{key}_": value for key, value in complete(name, values).items()}
    wanted = context_of(name)
    return build(**from_user, **{key: value for key, value in context.items() if key in wanted})

"""Shapes of values that come from outside: a type as annotations write it, and what of a value is not of it.

A shape is bool, int, float, str, None, a Literal, a list or tuple, a dict with text for keys, a union, a TypedDict
(other keys than its own are let be), a dataclass (they are not), Annotated with a bound or a further shape, or Any.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import reprlib
import types
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, NotRequired, Union, get_args, get_origin

DEEPEST = 32
"""Levels of what may be anything; ours have three."""
WORDS = {bool: "true or false", int: "a whole number", float: "a number", str: "text", types.NoneType: "null"}


@dataclass(frozen=True)
class AtLeast:
    """A bound of a number: `Annotated[int, AtLeast(1)]`."""

    low: float


Count = Annotated[int, AtLeast(1)]


def misfit(value: Any, shape: Any, where: str = "") -> str | None:
    """What of the value is not of this shape, such as "metrics.last must be an object, got 'x'"; None where it fits.

    where: what the value is called.
    """
    origin, arguments = get_origin(shape), get_args(shape)
    if shape is Any or shape is object:
        return f"{where or 'it'} is nested too deep" if _is_deep(value) else None
    if origin is Annotated:
        return misfit(value, arguments[0], where) or _beyond(value, arguments[1:], where)
    if origin in (Union, types.UnionType):
        return _none_of(value, shape, where)
    if origin is Literal:
        return None if any(type(value) is type(a) and value == a for a in arguments) else _not(value, shape, where)
    if _fields(shape) is not None:
        return _record_misfit(value, shape, where)
    if shape in WORDS:
        kinds = (int, float) if shape is float else shape
        fits = isinstance(value, kinds) and (shape is bool or not isinstance(value, bool))
        return None if fits and (shape is not float or math.isfinite(value)) else _not(value, shape, where)
    if not isinstance(value, Mapping if _is_mapping(shape) else list | tuple):
        return _not(value, shape, where)
    return _item_misfit(value, shape, where)


def _item_misfit(value: Any, shape: Any, where: str) -> str | None:
    """The first misfit among the items of a list, a tuple or an object."""
    arguments = get_args(shape)
    if _is_mapping(shape):
        items = ((f"{where}.{key}" if where else str(key), item, arguments[1]) for key, item in value.items())
        if not all(isinstance(key, str) for key in value):
            return f"{where or 'it'} must have text for keys"
    elif get_origin(shape) is tuple and arguments[-1] is not Ellipsis:
        if len(value) != len(arguments):
            return f"{where or 'it'} must have {len(arguments)} items, got {len(value)}"
        items = ((f"{where}[{i}]", item, kind) for i, (item, kind) in enumerate(zip(value, arguments, strict=True)))
    else:
        kind = arguments[0]
        # Lists of a thousand names are read again and again.
        if kind in (str, int) and all(type(item) is kind for item in value):
            return None
        items = ((f"{where}[{i}]", item, kind) for i, item in enumerate(value))
    return next((problem for name, item, kind in items if (problem := misfit(item, kind, name))), None)


def _record_misfit(value: Any, shape: Any, where: str) -> str | None:
    """The first misfit of a TypedDict or of what a dataclass is made from."""
    if not isinstance(value, Mapping):
        return _not(value, shape, where)
    if problem := misnamed(value, shape, where):
        return problem
    for name, (kind, _) in (_fields(shape) or {}).items():
        if name not in value or (type(value[name]) is kind and kind is not float):
            continue
        if problem := misfit(value[name], kind, f"{where}.{name}" if where else name):
            return problem
    return None


def misnamed(value: Mapping[str, Any], shape: Any, where: str = "") -> str | None:
    """What the value lacks of a TypedDict or a dataclass, or what no dataclass of this kind has; None where it fits."""
    fields = _fields(shape) or {}
    missing = [name for name, (_, needed) in fields.items() if needed and name not in value]
    if missing:
        return f"{where or 'it'} lacks {', '.join(missing)}"
    if dataclasses.is_dataclass(shape) and (strange := sorted(set(value) - set(fields))):
        return f"{where or 'it'} has unknown keys {reprlib.repr(', '.join(strange))[1:-1]}"
    return None


@functools.lru_cache(maxsize=256)
def _fields(shape: Any) -> dict[str, tuple[Any, bool]] | None:
    """Name -> shape and whether it must be there, of a TypedDict or a dataclass; None for what is neither."""
    if dataclasses.is_dataclass(shape):
        needed = {
            f.name: f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING
            for f in dataclasses.fields(shape)
        }
        hints = typing.get_type_hints(shape, include_extras=True)
        return {name: (hints[name], must) for name, must in needed.items()}
    if not typing.is_typeddict(shape):
        return None
    hints = typing.get_type_hints(shape, include_extras=True)
    return {
        name: (get_args(kind)[0], False) if get_origin(kind) is NotRequired else (kind, bool(shape.__total__))
        for name, kind in hints.items()
    }


def _none_of(value: Any, union: Any, where: str) -> str | None:
    problems = {option: misfit(value, option, where) for option in get_args(union)}
    if None in problems.values():
        return None
    # Of an object it is told what about it is wrong, not that it could have been something else.
    of_object = next((p for o, p in problems.items() if isinstance(value, Mapping) and _words(o) == "an object"), None)
    return of_object or _not(value, union, where)


def _beyond(value: Any, notes: Sequence[Any], where: str) -> str | None:
    """What of the value lies beyond the notes of an Annotated: bounds, or the shape that it has in a file."""
    for note in notes:
        if not isinstance(note, AtLeast):
            problem = misfit(value, note, where)
        else:
            problem = None if value >= note.low else f"{where or 'it'} must be at least {note.low:g}, got {value}"
        if problem:
            return problem
    return None


def _is_mapping(shape: Any) -> bool:
    origin = get_origin(shape) or shape
    return isinstance(origin, type) and issubclass(origin, Mapping)


def _is_deep(value: Any) -> bool:
    """Whether lists and objects lie in each other more than `DEEPEST` times; told without recursion."""
    level = [value] if isinstance(value, Mapping | list | tuple) else []
    for _ in range(DEEPEST):
        items = (item for one in level for item in (one.values() if isinstance(one, Mapping) else one))
        level = [item for item in items if isinstance(item, Mapping | list | tuple)]
    return bool(level)


def _not(value: Any, shape: Any, where: str) -> str:
    return f"{where or 'it'} must be {_words(shape)}, got {reprlib.repr(value)}"


def _words(shape: Any) -> str:
    """What a value of this shape is called."""
    origin, arguments = get_origin(shape), get_args(shape)
    if origin is Annotated:
        return _words(arguments[0])
    if origin in (Union, types.UnionType):
        return " or ".join(dict.fromkeys(_words(option) for option in arguments))
    if origin is Literal:
        return f"one of {', '.join(map(str, arguments))}"
    if shape in WORDS:
        return WORDS[shape]
    return "an object" if _fields(shape) is not None or _is_mapping(shape) else "a list"

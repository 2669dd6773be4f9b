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
        problem = _strange(value)
        return f"{where or 'it'} {problem}" if problem else None
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
        return None if fits and _is_sane(value) else _not(value, shape, where)
    if not isinstance(value, Mapping if _is_mapping(shape) else list | tuple):
        return _not(value, shape, where)
    return _item_misfit(value, shape, where)


def _item_misfit(value: Any, shape: Any, where: str) -> str | None:
    """The first misfit among the items of a list, a tuple or an object."""
    arguments = get_args(shape)
    if _is_mapping(shape):
        items = ((f"{where}.{_key(key)}" if where else _key(key), item, arguments[1]) for key, item in value.items())
        if not all(isinstance(key, str) for key in value):
            return f"{where or 'it'} must have text for keys"
    elif get_origin(shape) is tuple and arguments[-1] is not Ellipsis:
        if len(value) != len(arguments):
            return f"{where or 'it'} must have {len(arguments)} items, got {len(value)}"
        items = ((f"{where}[{i}]", item, kind) for i, (item, kind) in enumerate(zip(value, arguments, strict=True)))
    else:
        kind = arguments[0]
        # Lists of a thousand names are read again and again.
        if kind is str and all(type(item) is str for item in value):
            return None
        items = ((f"{where}[{i}]", item, kind) for i, item in enumerate(value))
    return next((problem for name, item, kind in items if (problem := misfit(item, kind, name))), None)


def _record_misfit(value: Any, shape: Any, where: str) -> str | None:
    """The first misfit of a TypedDict or of what a dataclass is made from."""
    if not isinstance(value, Mapping):
        return _not(value, shape, where)
    if problem := misnamed(value, shape, where):
        return problem
    for name, field in (_fields(shape) or {}).items():
        if name not in value:
            continue
        item = value[name]
        if type(item) in field.plain and _is_sane(item):
            continue
        if problem := misfit(item, field.shape, f"{where}.{name}" if where else name):
            return problem
    return None


def misnamed(value: Mapping[str, Any], shape: Any, where: str = "") -> str | None:
    """What the value lacks of a TypedDict or a dataclass, or what no dataclass of this kind has; None where it fits."""
    fields = _fields(shape) or {}
    missing = [name for name, field in fields.items() if field.needed and name not in value]
    if missing:
        return f"{where or 'it'} lacks {', '.join(missing)}"
    if dataclasses.is_dataclass(shape) and (strange := sorted(set(value) - set(fields))):
        return f"{where or 'it'} has unknown keys {_key(', '.join(strange))}"
    return None


@dataclass(frozen=True)
class _Field:
    """Of a record. needed: whether it must be there. plain: types whose values fit, for runs of a thousand epochs."""

    shape: Any
    needed: bool
    plain: frozenset[type]


@functools.lru_cache(maxsize=256)
def _fields(shape: Any) -> dict[str, _Field] | None:
    """Name -> field of a TypedDict or a dataclass; None for what is neither."""
    if dataclasses.is_dataclass(shape):
        needed = {
            f.name: f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING
            for f in dataclasses.fields(shape)
        }
    elif typing.is_typeddict(shape):
        needed = dict.fromkeys(shape.__annotations__, bool(shape.__total__))
    else:
        return None
    hints = typing.get_type_hints(shape, include_extras=True)
    fields = {}
    for name, must in needed.items():
        kind, optional = hints[name], get_origin(hints[name]) is NotRequired
        kind = get_args(kind)[0] if optional else kind
        options = get_args(kind) if get_origin(kind) in (Union, types.UnionType) else (kind,)
        plain = {option for option in options if option in WORDS} | ({int} if float in options else set())
        fields[name] = _Field(kind, must and not optional, frozenset(plain))
    return fields


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


def _is_sane(value: Any) -> bool:
    """Whether it is no number at all, or one that other programs can take: finite, and whole ones in 64 bits."""
    if type(value) is float:
        return math.isfinite(value)
    return type(value) is not int or -(2**63) <= value < 2**63


def _strange(value: Any) -> str | None:
    """What is wrong with what may be anything, such as "is nested too deep"; told without recursion."""
    level = [value]
    for _ in range(DEEPEST):
        if not all(map(_is_sane, level)):
            return "holds what is no number"
        containers = [one for one in level if isinstance(one, Mapping | list | tuple)]
        level = [item for one in containers for item in (one.values() if isinstance(one, Mapping) else one)]
        if not level:
            return None
    return "is nested too deep"


def _not(value: Any, shape: Any, where: str) -> str:
    return f"{where or 'it'} must be {_words(shape)}, got {reprlib.repr(value)}"


def _key(key: object) -> str:
    """Keys as they are told: on one line, and in short."""
    text = str(key)
    return text if text.isprintable() and len(text) <= 60 else reprlib.repr(text)


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

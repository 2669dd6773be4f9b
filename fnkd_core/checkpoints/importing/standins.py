"""What stands for everything but weights that a file's pickle names. No torch.

A stand-in calls nothing and keeps nothing, whatever it is given, and no module that a file names is imported. What
would execute gets none, so that torch refuses it.
"""

from __future__ import annotations

import argparse
import pickle
import pickletools
import re
import struct
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from fnkd_core.checkpoints.importing.formats import LEGACY, ZIP

MAX_NAMES = 1000
# NumPy's codes of the scalars that training loops save.
_SCALARS = {"f8": "d", "f4": "f", "f2": "e", "i8": "q", "i4": "i", "i2": "h", "i1": "b", "u1": "B", "b1": "?"}
# Python 2 called them otherwise, and torch takes them for what they are now.
_RENAMED = {"copy_reg": "copyreg", "__builtin__": "builtins"}

_HOLDS = re.compile(
    r"datetime\.\w+|pathlib(\._local)?\.\w+Path|collections\.(deque|defaultdict|ChainMap|User\w+)|decimal\.Decimal"
    r"|fractions\.Fraction|uuid\.\w*UUID|ipaddress\.IP\w+|zoneinfo\.ZoneInfo|time\.struct_time|typing\.[A-Z]\w*"
    r"|enum\.[A-Z]\w*|types\.(SimpleNamespace|MappingProxyType)|functools\.partial|random\.Random|re\._compile"
    r"|logging\.(\w*Logger|getLogger)|array\.(array|_array_reconstructor)|copyreg\._reconstructor"
    r"|builtins\.(set|frozenset|slice|range|complex|bytes|bytearray|bool|str|tuple|object|type)"
    r"|numpy(\.\w+)*\.(_reconstruct|_frombuffer|__\w+_ctor)|pandas(\.\w+)*\.(_unpickle_block|_new_Index)"
)
"""Of the standard library, NumPy and pandas: what a pickle makes values of, and nothing else."""
_EXECUTES = re.compile(
    r"torch\.(load|save|compile|hub|jit|package|fx|ops|classes|library|_C|_dynamo|_inductor|serialization|storage\._\w+"
    r"|distributed\.(rpc|run|launch|elastic)|utils\.cpp_extension)\b"
    r"|(numpy|pandas)\.(load|save|read_\w+|f2py|distutils|testing|ctypeslib)\b"
    r"|(dill|cloudpickle|joblib|pip|setuptools|pkg_resources|IPython|cffi|numba)\b"
)
"""Of libraries: what loads, runs or compiles programs. Of the standard library all does that does not hold values."""


class StandIn(type):
    """The class of stand-ins. name: of what a file names. callable: whether a file may make values by calling it."""

    name: str
    callable: bool

    def __call__(cls, *arguments: object) -> Any:
        if not cls.callable:
            raise pickle.UnpicklingError(f"GLOBAL {cls.name} is called")
        of = arguments[0] if arguments and cls.name.rpartition(".")[2].startswith("_reconstruct") else cls
        made: Any = of if isinstance(of, StandIn) else cls
        return list.__new__(made)

    # torch sets items of plain dicts alone, and sees by == whether a value is one.
    def __eq__(cls, other: object) -> bool:
        return other is cls or other is dict

    __hash__ = type.__hash__


class Dropped(list[Any], metaclass=StandIn):
    """A value that was dropped: it takes whatever a pickle does to values, as a list, a dict or an object."""

    __slots__ = ()
    name = ""
    callable = False

    def __new__(cls, *_: object) -> Any:
        return list.__new__(cls)

    def __init__(self, *_: object) -> None:
        pass

    def _drop(self, *_: object) -> None:
        pass

    append = extend = __setitem__ = __setstate__ = _drop  # type: ignore[assignment]
    __hash__, __eq__ = object.__hash__, object.__eq__  # type: ignore[assignment]


class _Dtype:
    """Stands for numpy.dtype: its code is all that is taken from the file."""

    def __init__(self, code: object = None, *_: object) -> None:
        self.code = code

    def __setstate__(self, _: object) -> None:
        pass


def _scalar(dtype: object = None, data: object = None, *_: object) -> float | int | None:
    """Stands for NumPy's scalar: the Python number; None for what is no number."""
    code = _SCALARS.get(str(getattr(dtype, "code", None)))
    if code is None or not isinstance(data, bytes) or len(data) != struct.calcsize(code):
        return None
    number: float | int = struct.unpack("<" + code, data)[0]
    return number


def _plain_dict(*_: object) -> dict[Any, Any]:
    """Stands for defaultdict, whose factory is no use here."""
    return {}


def allowed(path: Path, kind: str) -> list[Any]:
    """What torch may be told to make of the names in a file's pickle, as `torch.serialization.safe_globals` takes it.

    kind: of the file, by `sniff`. What would execute is not among it.
    """
    known: list[Any] = [
        argparse.Namespace,
        (_Dtype, "numpy.dtype"),
        (_plain_dict, "collections.defaultdict"),
        *((builtin, f"builtins.{builtin.__name__}") for builtin in (dict, list, int, float)),
        *((_scalar, f"numpy.{core}.multiarray.scalar") for core in ("core", "_core")),
    ]
    taken = {"argparse.Namespace", *(entry[1] for entry in known if isinstance(entry, tuple))}
    return known + [(stand_in(name), name) for name in sorted(named(path, kind) - taken) if not executes(name)]


def executes(name: str) -> bool:
    """Whether calling what has this full name would or might execute something."""
    module, _, own = name.rpartition(".")
    standard = module.partition(".")[0] in {*sys.stdlib_module_names, ""} or not own
    return _HOLDS.fullmatch(name) is None and (standard or _EXECUTES.match(name) is not None)


def stand_in(name: str) -> StandIn:
    """A class that stands for what has this full name.

    Only what is a class by its name may be called: of the rest, a file may hold but not use what it names.
    """
    is_class = name.rpartition(".")[2].lstrip("_")[:1].isupper()
    members = {"__slots__": (), "name": name, "callable": is_class or _HOLDS.fullmatch(name) is not None}
    return StandIn(name, (Dropped,), members)


def named(path: Path, kind: str) -> set[str]:
    """The full names of classes and functions in the pickle of a torch file, the first `MAX_NAMES`."""
    names: set[str] = set()
    for module, name in _globals(path, kind):
        names.add(f"{_RENAMED.get(module, module)}.{name}")
        if len(names) == MAX_NAMES:
            break
    return names


def _globals(path: Path, kind: str) -> Iterator[tuple[str, str]]:
    try:
        if kind == ZIP:
            with zipfile.ZipFile(path) as archive:
                member = next(m for m in archive.infolist() if m.orig_filename.endswith("/data.pkl"))
                with archive.open(member) as file:
                    yield from _of_pickle(file)
        if kind == LEGACY:
            with path.open("rb") as file:
                # A number, a version and the system's sizes stand before it.
                for _ in range(4):
                    yield from _of_pickle(file)
    except (ValueError, EOFError, OSError, zipfile.BadZipFile, NotImplementedError, StopIteration):
        # What is broken is said by torch, which reads it next.
        return


def _of_pickle(file: IO[bytes]) -> Iterator[tuple[str, str]]:
    for code, argument, _ in pickletools.genops(file):
        if code.name == "GLOBAL":
            module, _, name = str(argument).partition(" ")
            yield module, name

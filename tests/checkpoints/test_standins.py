"""What a file names beside its weights is stood for: nothing of it is called, imported or kept."""

from __future__ import annotations

import collections
import dataclasses
import datetime
import enum
import pathlib
import pickle
import re
import sys
import types
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from fnkd_core.checkpoints.importing.gate import read_untrusted
from fnkd_core.checkpoints.importing.sandbox import check, load, refusal
from fnkd_core.checkpoints.importing.standins import executes
from fnkd_core.checkpoints.importing.wrappers import peel
from fnkd_core.errors import UserError
from tests.checkpoints.files import legacy, rezip, weights
from tests.checkpoints.test_gate import assert_same


def library(module: str, name: str, *bases: type, **members: Any) -> type:
    """A class of a library that is not installed here, as long as a file is written."""
    made = type(name, bases, {"__module__": module, **members})
    sys.modules[module] = types.ModuleType(module)
    setattr(sys.modules[module], name, made)
    return made


class _Slots:
    __slots__ = ("a", "b")


@dataclasses.dataclass
class _Settings:
    lr: float = 0.1


class _Reduced:
    def __reduce__(self) -> Any:
        return _Reduced, (), {"state": 1}, iter([1, 2]), iter({"a": 1}.items())


class _Kind(enum.Enum):
    A = "a"


def slots() -> object:
    value = _Slots()
    value.a = value.b = 1
    return value


def state_of(value: object) -> dict[str, Any]:
    return {"state_dict": weights(), "beside": value}


BESIDE: dict[str, tuple[Callable[[], object], str]] = {
    "a dict of a library": (lambda: library("easydict", "EasyDict", dict)(lr=0.1, inner={"a": 1}), "easydict.EasyDict"),
    "a dict with attributes": (lambda: vars(d := library("yacs_", "CfgNode", dict)(a=1)).update(b=2) or d,
                               "yacs_.CfgNode"),
    "a dict of a lower case": (lambda: library("utils_", "dotdict", dict)(a=1), "utils_.dotdict"),
    "a list of a library": (lambda: library("omega_", "ListConfig", list)([1, 2]), "omega_.ListConfig"),
    "a path": (lambda: pathlib.PosixPath("results/x"), "pathlib.PosixPath"),
    "paths in a set": (lambda: {pathlib.PosixPath("a"), pathlib.PosixPath("b")}, "pathlib.PosixPath"),
    "a date": (lambda: datetime.datetime(2024, 1, 1), "datetime.datetime"),
    "a time zone": (lambda: [datetime.UTC], "datetime.timezone"),
    "an array": (lambda: np.arange(6.0).reshape(2, 3), "numpy.ndarray"),
    "an array of objects": (lambda: np.array([{"a": 1}], dtype=object), "numpy.ndarray"),
    "a random state": (lambda: np.random.RandomState(0), "numpy.random._pickle.__randomstate_ctor"),
    "a string of NumPy": (lambda: (np.str_("x"), datetime.date(2024, 1, 1)), "datetime.date"),
    "a queue": (lambda: collections.deque([1, 2], maxlen=3), "collections.deque"),
    "a decimal": (lambda: Decimal("0.1"), "decimal.Decimal"),
    "an object": (_Settings, f"{__name__}._Settings"),
    "an object with slots": (slots, f"{__name__}._Slots"),
    "an object made in five steps": (_Reduced, f"{__name__}._Reduced"),
    "a member of an enumeration": (lambda: _Kind.A, f"{__name__}._Kind"),
    "a loss function": (lambda: torch.nn.functional.cross_entropy, "torch.nn.functional.cross_entropy"),
    "a class": (lambda: torch.nn.Linear, "torch.nn.modules.linear.Linear"),
    "a layer": (lambda: torch.nn.Linear(2, 2), "torch.nn.modules.linear.Linear"),
}  # fmt: skip


# The legacy format keeps modules with their source, which torch refuses.
@pytest.mark.parametrize(
    ("name", "old"), [*((n, False) for n in BESIDE), *((n, True) for n in BESIDE if n not in ("a class", "a layer"))]
)
def test_what_lies_beside_weights_is_dropped_by_name_and_never_made(tmp_path: Path, name: str, old: bool) -> None:
    make, dropped = BESIDE[name]
    if old:
        legacy(tmp_path / "x.pth", state_of(make()))
    else:
        torch.save(state_of(make()), tmp_path / "x.pth")
    for module in ("easydict", "yacs_", "utils_", "omega_"):
        sys.modules.pop(module, None)
    before = set(sys.modules)
    kind, listing = check(tmp_path / "x.pth")
    peeled = peel(load(tmp_path / "x.pth", kind, listing), "x.pth")
    assert_same(peeled.state, weights())
    said = [text for _, text in peeled.notes if text.startswith("Left behind, nothing of it was run or kept: ")]
    assert len(said) == 1 and dropped in said[0]
    assert not {"easydict", "yacs_", "utils_", "omega_"} & (set(sys.modules) - before)


def test_values_of_an_unknown_class_can_be_keys_and_members(tmp_path: Path) -> None:
    path = pathlib.PosixPath("a")
    torch.save({"state_dict": weights(), path: 1, "seen": {path: {path}}}, tmp_path / "x.pth")
    assert_same(peel(load(tmp_path / "x.pth", *check(tmp_path / "x.pth")), "x").state, weights())


def named(path: Path, module: str, name: str, use: bytes) -> None:
    """A torch file with this name in its pickle, and what is done with it."""
    place = f"X{chr(len(str(path.parent / 'ran')))}\0\0\0{path.parent / 'ran'}".encode("latin1")
    body = b"\x80\x02}X\x01\x00\x00\x00ac" + f"{module}\n{name}\n".encode() + use.replace(b"PATH", place) + b"s."
    rezip(path, lambda n, d: (n, body if n.endswith("data.pkl") else d))


EXECUTING = (
    "os system", "os mkdir", "posix mkdir", "nt system", "subprocess Popen", "subprocess call", "builtins eval",
    "builtins exec", "builtins compile", "builtins open", "builtins getattr", "builtins setattr",
    "builtins __import__", "builtins print", "builtins globals", "__builtin__ eval", "__builtin__ apply",
    "sys exit", "importlib import_module", "runpy run_path", "shutil rmtree", "pty spawn",
    "code InteractiveInterpreter", "ctypes CDLL", "socket socket", "threading Thread", "multiprocessing Process",
    "multiprocessing.context Process", "pickle loads", "marshal loads", "types FunctionType", "types CodeType",
    "operator attrgetter", "operator methodcaller", "functools reduce", "pathlib Path.mkdir", "io open",
    "_io FileIO", "io FileIO", "tempfile NamedTemporaryFile", "timeit Timer", "pdb Pdb", "bdb Bdb",
    "webbrowser open", "zipimport zipimporter", "codecs open", "glob glob", "linecache getline", "ssl SSLSocket",
    "torch load", "torch save", "torch.serialization load", "torch.storage _load_from_bytes", "torch.hub load",
    "torch.jit load", "torch.jit CompilationUnit", "torch.package PackageImporter", "torch.fx GraphModule",
    "torch.ops x", "torch.fx.graph_module reduce_graph_module", "torch._C Graph", "torch.utils.cpp_extension load",
    "numpy load", "numpy.testing runstring", "numpy.f2py compile", "pandas read_pickle", "joblib load",
    "dill loads", "cloudpickle.cloudpickle _make_function", "dill._dill _create_function", "pip main",
    "setuptools setup",
)  # fmt: skip
USES = {
    "called": b"PATH\x85R", "made": b"PATH\x85\x81", "made and set": b")\x81}X\x01\x00\x00\x00aPATHsb",
    "held": b"", "set": b"}X\x01\x00\x00\x00aPATHsb",
}  # fmt: skip


@pytest.mark.parametrize("name", EXECUTING)
def test_what_would_execute_is_refused_by_name_however_it_is_used(tmp_path: Path, name: str) -> None:
    module, own = name.split()
    for use in USES.values():
        named(tmp_path / "x.pth", module, own, use)
        with pytest.raises(pickle.UnpicklingError) as error:
            load(tmp_path / "x.pth", *check(tmp_path / "x.pth"))
        said = refusal(tmp_path / "x.pth", "torch zip", error.value)
        # torch names what is built in without its module.
        assert re.search(rf"holds more than weights \(([\w.]+\.)?{re.escape(own)}\), and nothing else is loaded", said)
        assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("name", ["mylib.utils build", "torch.nn.functional relu", "numpy.linalg norm", "__main__ run"])
def test_what_may_be_a_function_can_be_held_and_not_called(tmp_path: Path, name: str) -> None:
    module, own = name.split()
    named(tmp_path / "x.pth", module, own, b"PATH\x85R")
    with pytest.raises(pickle.UnpicklingError, match=rf"GLOBAL {module}\.{own}"):
        load(tmp_path / "x.pth", *check(tmp_path / "x.pth"))
    named(tmp_path / "x.pth", module, own, b"")
    with pytest.raises(
        UserError, match=rf"holds no state_dict of tensors, but {module}\.{own}, of which nothing is run"
    ):
        peel(load(tmp_path / "x.pth", *check(tmp_path / "x.pth")), "x.pth")


def test_nothing_can_be_set_on_what_stands_in(tmp_path: Path) -> None:
    # The class itself, as an object that is built: what stands in for later values would be changed.
    named(tmp_path / "x.pth", "mylib", "Thing", b"}X\x07\x00\x00\x00__new__PATHsb")
    with pytest.raises(pickle.UnpicklingError):
        load(tmp_path / "x.pth", *check(tmp_path / "x.pth"))


def test_a_module_that_a_file_names_is_never_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "canary_of_a_file.py").write_text("from pathlib import Path\nPath(__file__).with_name('ran').touch()\n")
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:{Path(__file__).parents[2]}")
    torch.save(state_of(library("canary_of_a_file", "Thing", dict)(a=1)), tmp_path / "x.pth")
    del sys.modules["canary_of_a_file"]
    contents = read_untrusted(tmp_path / "x.pth")
    assert_same(contents.state, weights())
    assert any("canary_of_a_file.Thing" in text for _, text in contents.notes)
    assert not (tmp_path / "ran").exists() and "canary_of_a_file" not in sys.modules


def test_arrays_among_the_weights_are_named_and_arrays_alone_are_no_weights(tmp_path: Path) -> None:
    state: dict[str, Any] = {**weights(), "fc.scale": np.ones(5)}
    torch.save({"state_dict": state}, tmp_path / "x.pth")
    peeled = peel(load(tmp_path / "x.pth", *check(tmp_path / "x.pth")), "x.pth")
    text = "Left out of the weights, for they are no tensors: fc.scale (numpy.ndarray)."
    assert ("warning", text) in peeled.notes
    torch.save({"state_dict": {k: v.numpy() for k, v in weights().items()}}, tmp_path / "x.pth")
    with pytest.raises(UserError, match="no state_dict of tensors, but numpy.ndarray, of which nothing is run or read"):
        peel(load(tmp_path / "x.pth", *check(tmp_path / "x.pth")), "x.pth")


def test_a_whole_network_as_an_object_is_told_to_be_saved_as_a_state_dict(tmp_path: Path) -> None:
    torch.save(torch.nn.Sequential(torch.nn.Linear(2, 2)), tmp_path / "x.pth")
    with pytest.raises(UserError, match=r"torch.nn.modules.container.Sequential, .* save the network's state_dict"):
        peel(load(tmp_path / "x.pth", *check(tmp_path / "x.pth")), "x.pth")


@pytest.mark.parametrize(
    ("name", "wanted"),
    [("builtins.set", False), ("builtins.exec", True), ("collections.namedtuple", True), ("pathlib.PosixPath", False),
     ("pathlib._local.PosixPath", False), ("easydict.EasyDict", False), ("torch.optim.SGD", False), ("nomodule", True),
     ("__main__.Config", False), ("numpy._core.multiarray._reconstruct", False), ("copyreg._reconstructor", False)],
)  # fmt: skip
def test_what_executes_is_told_by_its_name_alone(name: str, wanted: bool) -> None:
    assert executes(name) is wanted

"""A device that is not the CPU, for machines without one: what it computes is real, and mixes with nothing here."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any, ClassVar
from unittest import mock

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

ops: Any = torch.ops.aten
DEVICE = torch.device("meta")
"""What it calls itself: torch has no name for it that works without a driver, and nothing of ours lies on this one."""
INDEXED = {ops.index.Tensor, ops.index_put.default, ops.index_put_.default, ops._index_put_impl_.default}
"""Take places from either device, as those of a GPU do."""


class There(Tensor):
    """A tensor on the device; `held` has its values."""

    held: Tensor

    @staticmethod
    def __new__(cls, held: Tensor) -> There:
        with torch.inference_mode(False):  # else it could be no view of a weight
            made: There = Tensor._make_wrapper_subclass(  # type: ignore[attr-defined]
                cls, held.shape, strides=held.stride(), storage_offset=held.storage_offset(), dtype=held.dtype,
                device=DEVICE, requires_grad=False,
            )  # fmt: skip
        made.held = held
        return made

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is Tensor.tolist:
            Accelerator.waits.append("tolist")
            return args[0].held.tolist()
        return torch._C._disabled_torch_function_impl(func, types, args, kwargs or {})

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return dispatched(func, args, kwargs or {})

    def __repr__(self, **_: Any) -> str:
        return f"There({self.held!r})"


class Accelerator(TorchDispatchMode):
    """While it is active, `DEVICE` is a device that computes. waits: what made the CPU wait for it, by operation.
    has_float64: whether it does in double precision, as Apple's does not."""

    waits: ClassVar[list[str]] = []
    has_float64: ClassVar[bool] = True

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return dispatched(func, args, kwargs or {})


def dispatched(func: Any, args: Any, kwargs: Any) -> Any:
    """What the operation gives: there where its tensors are there, or where it is told to be."""
    told = kwargs.get("device")
    tensors = list(_tensors_in((args, *kwargs.values())))
    there = [value for value in tensors if isinstance(value, There)]
    if not there and told != DEVICE:
        return func(*args, **kwargs)
    moves = func is ops._to_copy.default or func is ops.copy_.default
    leaves = moves and bool(there) and (told or args[0].device) != DEVICE
    if leaves or func is ops._local_scalar_dense.default:
        Accelerator.waits.append(str(func))
    mixable = _tensors_in(args[:1]) if func in INDEXED else tensors
    if there and not moves and any(value.dim() for value in mixable if not isinstance(value, There)):
        raise RuntimeError(f"{func} was given tensors of two devices.")
    if told is not None:
        kwargs = kwargs | {"device": torch.device("cpu")}
    done = func(*_each(args, held), **{name: _each(value, held) for name, value in kwargs.items()})
    if func is ops.copy_.default:
        return args[0]
    wrapped = {id(value.held): value for value in there}

    def result(value: Any) -> Any:
        if not isinstance(value, Tensor):
            return value
        if value.dtype == torch.float64 and not Accelerator.has_float64:
            raise TypeError(f"{func} would give float64, which this device has not.")
        return wrapped[id(value)] if id(value) in wrapped else There(value)

    return _each(done, result) if told in (None, DEVICE) else done


def held(value: Any) -> Any:
    return value.held if isinstance(value, There) else value


def _tensors_in(values: Any) -> Iterator[Tensor]:
    for value in values:
        if isinstance(value, Tensor):
            yield value
        elif isinstance(value, list | tuple):
            yield from _tensors_in(value)


def _each(value: Any, change: Callable[[Any], Any]) -> Any:
    """The value, or what a list or tuple of such holds, changed."""
    return type(value)(_each(one, change) for one in value) if type(value) in (list, tuple) else change(value)


def _autocast(device_type: str, *how: Any, _real: Any = torch.autocast, **options: Any) -> Any:
    return _real("cpu" if device_type == DEVICE.type else device_type, *how, **options)


def _tensor(data: Any, *how: Any, device: Any = None, _real: Any = torch.tensor, **options: Any) -> Tensor:
    made: Tensor = _real(data, *how, **options)
    return made if device is None else made.to(device)


@contextlib.contextmanager
def an_accelerator() -> Iterator[type[Accelerator]]:
    """The device is there as long as the block runs."""
    Accelerator.waits.clear()
    before = torch.__future__.get_overwrite_module_params_on_conversion()
    torch.__future__.set_overwrite_module_params_on_conversion(True)
    try:
        with Accelerator(), mock.patch("torch.autocast", _autocast), mock.patch("torch.tensor", _tensor):
            yield Accelerator
    finally:
        torch.__future__.set_overwrite_module_params_on_conversion(before)

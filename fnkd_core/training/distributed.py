"""Processes that train one student together. Only the environment of `torch.distributed` is read.

`torchrun`, `srun torchrun`, Ray's TorchTrainer: whoever starts the processes sets RANK, WORLD_SIZE and what belongs to
them, or has made the process group already. Without them there is one process, and nothing here does anything.
"""

from __future__ import annotations

import contextlib
import importlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from fnkd_core.errors import UserError
from fnkd_core.kd.outputs import Outputs
from fnkd_core.models.classifier import Classifier

TIMEOUT = timedelta(minutes=30)
"""How long a process waits for the others: the first may have to decode a data set."""
PLACE = {"WORLD_SIZE": "1", "LOCAL_RANK": "0", "LOCAL_WORLD_SIZE": "1"}
"""What the environment says of this process's place, and what holds where it does not."""


@dataclass(frozen=True)
class Group:
    """The processes that train together, as one of them sees them. rank: from 0; local_rank: on this machine, where
    there are local_size of them.
    """

    rank: int = 0
    size: int = 1
    local_rank: int = 0
    local_size: int = 1

    @property
    def leads(self) -> bool:
        """Whether this process is the one that writes."""
        return self.rank == 0

    def part(self, rows: Tensor) -> Tensor:
        """This process's part of them, in their order; the parts differ by at most one row."""
        return rows.tensor_split(self.size)[self.rank]

    def place(self, count: int) -> slice:
        """Where this process's part of so many rows stands among them; see `part`."""
        mine = self.part(torch.arange(count))
        return slice(int(mine[0]), int(mine[-1]) + 1) if len(mine) else slice(0, 0)

    def whole(self, part: Tensor, count: int) -> Tensor:
        """(count, ...) the processes' parts of so many rows in their order, on each of them; a gradient of it, summed
        over the processes, is one of the parts. See `part`."""
        if self.size == 1:
            return part
        own = self.place(count)
        before, after = (part.new_zeros(n, *part.shape[1:]) for n in (own.start, count - own.stop))
        # Parts differ by a row, which gathering does not allow; beside the others' zeros each number stays what it is.
        return summed(torch.cat([before, part, after]))

    def total(self, values: Tensor) -> Tensor:
        """The sum over all processes, in place."""
        if self.size > 1:
            dist.all_reduce(values)
        return values

    def least(self, value: Tensor) -> Tensor:
        """The least over all processes, in place."""
        if self.size > 1:
            dist.all_reduce(value, dist.ReduceOp.MIN)
        return value

    def same_buffers(self, *networks: nn.Module) -> None:
        """Give these networks of all processes what batch norm has counted in the first, as a training step does before
        it begins."""
        if self.size > 1:
            for network in networks:
                for buffer in network.buffers():
                    dist.broadcast(buffer, src=0)

    def joined(self, rows: Tensor) -> Tensor:
        """All processes' rows one after another, whole on each of them. On the CPU."""
        if self.size == 1:
            return rows.cpu()
        parts: list[Any] = [None] * self.size
        dist.all_gather_object(parts, rows.cpu())
        return torch.cat(parts)

    def agreed(self, value: Any) -> Any:
        """What the first process says, on each of them."""
        if self.size == 1:
            return value
        said = [value]
        dist.broadcast_object_list(said, src=0)
        return said[0]


ALONE = Group()
"""The group of a process that trains on its own."""


@contextlib.contextmanager
def joined_group() -> Iterator[Group]:
    """The group that the environment describes, joined for as long as the block runs.

    The backend is NCCL where the process has a GPU of its own, else Gloo.
    """
    size, local, beside = (int(os.environ.get(*each)) for each in PLACE.items())
    if dist.is_available() and dist.is_initialized():
        yield Group(dist.get_rank(), dist.get_world_size(), local, beside)
    elif size == 1:
        yield ALONE
    else:
        own = torch.cuda.is_available() and torch.cuda.device_count() >= beside  # or none of them has
        if own:
            torch.cuda.set_device(local)
        # Imported later, as torch does by itself, its functions would keep this group as a default; one of its threads,
        # that outlives the training, can end the process by SIGABRT when Python ends.
        importlib.import_module("torch.distributed.nn.functional")
        dist.init_process_group("cpu:gloo,cuda:nccl" if own else "gloo", timeout=TIMEOUT)
        try:
            yield Group(dist.get_rank(), size, local, beside)
        except BaseException:
            if not own:  # NCCL waits here for the others, who wait for this one, and why it ends would not be told
                dist.destroy_process_group()
            raise
        dist.destroy_process_group()


def summed(values: Tensor) -> Tensor:
    """(N, ...) the sum over all processes of values (N, ...). A gradient of it, summed over them, is one of these."""
    from torch.distributed._functional_collectives import all_reduce  # what torch.compile can follow

    everybody = dist.group.WORLD
    assert everybody is not None
    found: Tensor = all_reduce(values, "sum", everybody)
    return found


class SyncedBatchNorm(nn.modules.batchnorm._BatchNorm):
    """Batch norm over the images of all processes, on any device; torch's own is for GPUs only, waits for the GPU in
    each layer, and breaks a compiled network there.

    Mean and variance are of the whole batch, however unevenly it is split; so is the running variance.
    """

    def _check_input_dim(self, x: Tensor) -> None:
        """Of an input (N, C, ...) of any number of dimensions."""

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return super().forward(x)
        wide, others = x.float(), [0, *range(2, x.ndim)]
        count = torch.full((1,), x.numel() / x.shape[1], device=x.device)  # which does not wait for the device
        *sums, count = summed(torch.cat([wide.sum(others), (wide * wide).sum(others), count])).split(x.shape[1])
        count = count.detach()
        mean, square = (each / count for each in sums)
        variance = (square - mean * mean).clamp(min=0)
        if self.track_running_stats and self.running_mean is not None and self.running_var is not None:
            with torch.no_grad():
                assert self.num_batches_tracked is not None
                self.num_batches_tracked += 1
                share = 1 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
                self.running_mean.lerp_(mean.detach(), share)
                self.running_var.lerp_(variance.detach() * count / (count - 1).clamp(min=1), share)
        scale = (variance + self.eps).rsqrt()
        shift = -mean * scale
        if self.affine:
            scale, shift = scale * self.weight, shift * self.weight + self.bias
        form = (-1, *[1] * (x.ndim - 2))
        return (wide * scale.view(form) + shift.view(form)).to(x.dtype)


class SyncedBatchNormAct(SyncedBatchNorm):
    """timm's batch norm, within which its activation is, and what it drops."""

    act: nn.Module
    drop: nn.Module

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.act(self.drop(super().forward(x)))
        return found


PLAIN = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


def synchronise(network: nn.Module, native: bool) -> None:
    """Turn every batch norm of the network into one over all processes, in place; names, weights and whatever else it
    does stay. native: torch's own where there is one. `UserError` where what a layer does is not known."""
    for name, child in list(network.named_children()):
        if not isinstance(child, nn.modules.batchnorm._BatchNorm) or isinstance(child, nn.SyncBatchNorm):
            synchronise(child, native)
        elif type(child) in PLAIN and native:
            setattr(network, name, nn.SyncBatchNorm.convert_sync_batchnorm(child))
        elif type(child) in PLAIN:
            child.__class__ = SyncedBatchNorm
        elif type(child).__name__ == "BatchNormAct2d" and type(child).__module__.startswith("timm."):
            child.__class__ = SyncedBatchNormAct
        else:
            raise UserError(
                f"{type(child).__name__} of the student is a batch norm that cannot be synchronised; train it with "
                "--batch-norm local, or on one device."
            )


def shared(
    student: Classifier,
    synchronised: bool,
    device: torch.device,
    group: Group,
    thawed: bool = False,
    compiled: bool = False,
) -> Callable[[Tensor], Outputs]:
    """The student as a step calls it: gradients are averaged over the processes; alone, the student itself.

    synchronised: batch norm's statistics are of all processes' images. thawed: some weights learn only later. compiled:
    what this gives is to be.
    It takes images (N, C, H, W).
    """
    if group.size == 1:
        return student
    if synchronised:
        # Where nothing fuses its operations, torch's own takes less memory.
        synchronise(student, native=device.type == "cuda" and not compiled)
    devices = [device] if device.type == "cuda" else None
    return nn.parallel.DistributedDataParallel(student, devices, find_unused_parameters=thawed)

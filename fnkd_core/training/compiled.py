"""torch.compile, where it works."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import torch
from torch import Tensor

from fnkd_core.kd.outputs import Outputs


class Compiled:
    """A network that is compiled when it is first called, and for images of another size when those come. Where that
    fails, it says so once and runs as it is."""

    def __init__(self, network: Callable[[Tensor], Outputs]) -> None:
        from torch._functorch import config  # nothing else is sure to have loaded it

        self.network = network
        # A step's graph may be asked for a gradient twice, see `Gradients`; buffers given away would not be there.
        config.donated_buffer = False
        # Else the backward pass is compiled when it is first run, where nothing can begin again without.
        config.force_non_lazy_backward_lowering = True
        self._compiled: Callable[[Tensor], Outputs] | None = torch.compile(network)

    def __call__(self, images: Tensor) -> Outputs:
        if self._compiled is None:
            return self.network(images)
        try:
            outputs: Outputs = self._compiled(images)
        except Exception as error:
            outputs = self.network(images)  # an error of the network's own is raised here again
            self._compiled = None
            said = (str(error).strip() or type(error).__name__).splitlines()
            why = " ".join(said[: 2 if said[0].endswith(":") else 1])[:200]  # "backend='inductor' raised:" says nothing
            warnings.warn(f"torch.compile failed ({why}); the network runs uncompiled.", CompileFailed, stacklevel=2)
        return outputs


class CompileFailed(UserWarning):
    """A network could not be compiled."""

"""The contract: a network with its input normalisation, whose head is found and checked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fnkd_core.errors import UserError, require
from fnkd_core.kd.outputs import Outputs, at_least_float32
from fnkd_core.models.architecture import Architecture
from fnkd_core.wording import counted

TOLERANCE = 1e-4
"""head(f) may differ from the logits by this much, relative to the largest logit."""


class CosineLinear(nn.Linear):
    """scale * cos(f, W_k): both f and each row of W normalised, no bias (hypersphere embedding)."""

    def __init__(self, in_features: int, out_features: int, scale: float) -> None:
        super().__init__(in_features, out_features, bias=False)
        self.scale = scale

    def forward(self, x: Tensor) -> Tensor:
        return self.scale * F.linear(F.normalize(x, dim=1), F.normalize(self.weight, dim=1))


class Classifier(nn.Module):
    """Images (N, C, H, W), uint8 or float in [0, 1], to `Outputs`.

    body: normalised images to features f (N, D). head: f to logits v (N, K), in float32 also where the body runs in
    half precision. The mean and standard deviation that the network was trained with belong to it and are applied here,
    so that teacher and student each see their own. network: is taken over, its head put apart. `UserError` where the
    logits are not a linear map of one feature vector.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        network: nn.Module,
        mean: Sequence[float],
        std: Sequence[float],
        architecture: Architecture,
        image_size: tuple[int, int] = (32, 32),
    ) -> None:
        super().__init__()
        require(
            len(mean) == len(std) == architecture.in_channels and all(s > 0 for s in std),
            f"mean and std need {counted(architecture.in_channels, 'value')} each, std > 0, got {mean} and {std}.",
        )
        self.architecture = architecture
        self.image_size = image_size
        self.register_buffer("mean", torch.tensor(mean).view(1, -1, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(1, -1, 1, 1), persistent=False)
        self.head_name = find_head(network, (architecture.in_channels, *image_size), architecture.name)
        linear = network.get_submodule(self.head_name)
        assert isinstance(linear, nn.Linear)
        self._names = list(network.state_dict())
        if architecture.head == "cosine":
            assert architecture.scale is not None
            linear = CosineLinear(linear.in_features, linear.out_features, architecture.scale)
            self._names = [name for name in self._names if name != f"{self.head_name}.bias"]
        self.body, self.head = network, linear
        self._set_head(nn.Identity())
        self.num_features = linear.in_features
        self.num_classes = linear.out_features

    def _set_head(self, module: nn.Module) -> None:
        parent, _, name = self.head_name.rpartition(".")
        setattr(self.body.get_submodule(parent), name, module)

    def normalised(self, images: Tensor) -> Tensor:
        """(N, C, H, W) what the body reads."""
        x = images.float() / 255 if images.dtype == torch.uint8 else images
        return (x - self.mean) / self.std

    def forward(self, images: Tensor) -> Outputs:
        features = at_least_float32(self.body(self.normalised(images)))
        with torch.autocast(features.device.type, enabled=False):
            return Outputs(features, self.head(features), self.head.bias)

    def state(self) -> dict[str, Tensor]:
        """The weights under the network's own names, in its order; last the scale of a cosine head."""
        parts = {**self.body.state_dict(), **{f"{self.head_name}.{k}": v for k, v in self.head.state_dict().items()}}
        scale = {f"{self.head_name}.scale": self.head.scale} if isinstance(self.head, CosineLinear) else {}
        return {name: parts[name] for name in self._names} | {k: torch.tensor(v) for k, v in scale.items()}

    def load(self, state: Mapping[str, Tensor], with_head: bool = True) -> None:
        """Take weights under the network's own names; all of them, of the same shapes, or `RuntimeError`.

        The scale of a cosine head is the architecture's, whether or not it is among them. with_head: else the head
        stays what it is.
        """
        head = f"{self.head_name}."
        weights = {k.removeprefix(head): v for k, v in state.items() if k.startswith(head)}
        if with_head:
            self.head.load_state_dict({k: v for k, v in weights.items() if k != "scale"})
        self.body.load_state_dict({k: v for k, v in state.items() if not k.startswith(head)})


def find_head(network: nn.Module, shape: tuple[int, int, int], name: str) -> str:
    """The name of the linear layer whose output is the network's output; found by running, not by name.

    shape: (C, H, W) of a probe image. `UserError` where there is none: then the logits are not W f + b of
    any one feature vector.
    """
    device = next(network.parameters()).device
    probe = torch.randn(2, *shape, generator=torch.Generator().manual_seed(0)).to(device)
    calls: list[tuple[str, Tensor, Tensor]] = []
    handles = [
        module.register_forward_hook(lambda _m, i, o, n=module_name: calls.append((n, i[0], o)))
        for module_name, module in network.named_modules()
        if isinstance(module, nn.Linear)
    ]
    was_training = network.training
    network.eval()
    try:
        with torch.no_grad():
            logits = network(probe)
    except Exception as error:
        size = "x".join(map(str, shape[1:]))
        raise UserError(
            f"{name} cannot take {shape[0]}-channel images of {size} pixels "
            f"({str(error).splitlines()[0][:120] or type(error).__name__}); choose another architecture or size."
        ) from None
    finally:
        for handle in handles:
            handle.remove()
        network.train(was_training)
    if isinstance(logits, Tensor):
        for head, f, v in reversed(calls):
            if f.ndim == 2 and v.shape == logits.shape and torch.equal(v, logits):
                with torch.no_grad():
                    again = network.get_submodule(head)(f)
                if float((again - logits).abs().max()) <= TOLERANCE * float(logits.abs().max().clamp(min=1)):
                    return head
    raise UserError(
        f"{name} has no linear head: its logits are not W f + b of one feature vector, so ||f|| means nothing "
        "for them. Choose another architecture."
    )


def head_error(classifier: Classifier, images: Tensor) -> float:
    """Largest |head(f) - logits of the whole network| over the images: 0 but for rounding where f is what it reads."""
    was_training = classifier.training
    classifier.eval()
    try:
        with torch.inference_mode():
            outputs = classifier(images)
            classifier._set_head(classifier.head)
            whole = classifier.body(classifier.normalised(images))
            return float((outputs.logits - whole).abs().max())
    finally:
        classifier._set_head(nn.Identity())
        classifier.train(was_training)


def num_parameters(classifier: nn.Module) -> int:
    """Number of parameters, normalisation statistics not counted."""
    return sum(p.numel() for p in classifier.parameters())

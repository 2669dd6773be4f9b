"""Networks by name: the CIFAR residual networks and every torchvision classifier."""

from __future__ import annotations

import re
from collections.abc import Sequence

from torch import nn

from fnkd_core.errors import UserError, unknown
from fnkd_core.models.architecture import CIFAR_RESNETS, TORCHVISION, Architecture
from fnkd_core.models.cifar_resnet import CifarResNet
from fnkd_core.models.classifier import Classifier


def list_architectures() -> list[str]:
    """Every name that `build` takes."""
    return [*CIFAR_RESNETS, *(TORCHVISION + name for name in _torchvision_names())]


def _torchvision_names() -> list[str]:
    import torchvision

    return torchvision.models.list_models(module=torchvision.models)


def build(
    architecture: Architecture, mean: Sequence[float], std: Sequence[float], image_size: tuple[int, int] = (32, 32)
) -> Classifier:
    """A classifier with random weights, under torch's global seed. Its head has been found and checked.

    mean, std: per channel, white is 1. image_size: (H, W) it will see. `UserError` where the architecture is
    unknown or cannot take such images.
    """
    name = architecture.name
    if name in CIFAR_RESNETS:
        match = re.fullmatch(r"cifar_resnet(\d+)(_v2)?", name)
        assert match
        network: nn.Module = CifarResNet(
            int(match[1]), architecture.num_classes, architecture.in_channels, pre_activation=bool(match[2])
        )
    else:
        network = _torchvision(name.removeprefix(TORCHVISION), architecture, image_size)
    return Classifier(network, mean, std, architecture, image_size)


def _torchvision(name: str, architecture: Architecture, image_size: tuple[int, int]) -> nn.Module:
    import torchvision

    if name not in _torchvision_names():
        raise unknown("torchvision model", name, _torchvision_names())
    options: dict[str, object] = {"weights": None, "num_classes": architecture.num_classes}
    if name in ("googlenet", "inception_v3"):
        options |= {"aux_logits": False, "init_weights": True}
    if name.startswith("vit_"):
        options |= {"image_size": image_size[0]}
    if name.startswith("maxvit"):
        options |= {"input_size": image_size}
    try:
        network: nn.Module = torchvision.models.get_model(name, **options)
    except (ValueError, AssertionError) as error:
        size = "x".join(map(str, image_size))
        raise UserError(f"torchvision/{name} cannot be built for {size} images ({error}); choose another.") from None
    if architecture.in_channels != 3:
        _replace_stem(network, architecture.in_channels)
    return network


def _replace_stem(network: nn.Module, in_channels: int) -> None:
    """The first convolution, made anew for this number of channels."""
    name, old = next((n, m) for n, m in network.named_modules() if isinstance(m, nn.Conv2d))
    new = nn.Conv2d(
        in_channels,
        old.out_channels,
        old.kernel_size,  # type: ignore[arg-type]
        old.stride,  # type: ignore[arg-type]
        old.padding,  # type: ignore[arg-type]
        bias=old.bias is not None,
    )
    parent, _, child = name.rpartition(".")
    setattr(network.get_submodule(parent), child, new)

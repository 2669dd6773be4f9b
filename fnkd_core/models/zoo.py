"""Networks by name: the zoo's own, and every classifier of torchvision and timm."""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence
from typing import Any

from torch import nn

from fnkd_core.errors import UserError
from fnkd_core.models.architecture import STEM, TIMM, TORCHVISION, Architecture, unknown_architecture
from fnkd_core.models.classifier import Classifier
from fnkd_core.models.heads import replace_head
from fnkd_core.models.networks.mobile import MobileNetV2, ShuffleNetV1, ShuffleNetV2
from fnkd_core.models.networks.resnet import CifarResNet
from fnkd_core.models.networks.vgg import AveragedVGG, MaxVGG


@functools.cache
def torchvision_names() -> tuple[str, ...]:
    """The classifiers of the torchvision that is installed."""
    import torchvision

    return tuple(torchvision.models.list_models(module=torchvision.models))


@functools.cache
def timm_names() -> tuple[str, ...]:
    """The models of the timm that is installed."""
    import timm

    return tuple(timm.list_models())


def build(
    architecture: Architecture, mean: Sequence[float], std: Sequence[float], image_size: tuple[int, int] = (32, 32)
) -> Classifier:
    """A classifier with random weights, under torch's global seed. Its head has been found and checked.

    mean, std: per channel, white is 1. image_size: (H, W) it will see. `UserError` where the architecture is
    unknown or cannot take such images.
    """
    return Classifier(build_network(architecture, image_size), mean, std, architecture, image_size)


def build_network(architecture: Architecture, image_size: tuple[int, int] | None = None) -> nn.Module:
    """The bare network with random weights, its head linear and not yet looked for.

    image_size: (H, W); None is the size the architecture was published for, where its weights depend on one.
    `UserError` where the architecture is unknown or its weights cannot be made for that size.
    """
    return replace_head(_published(architecture, image_size), architecture)


def _published(architecture: Architecture, image_size: tuple[int, int] | None) -> nn.Module:
    """The network with its own head."""
    name, classes, channels = architecture.name, architecture.num_classes, architecture.in_channels
    for prefix, make in ((TORCHVISION, _torchvision), (TIMM, _timm)):
        if name.startswith(prefix):
            return make(name.removeprefix(prefix), architecture, image_size)
    if name.startswith(STEM):
        from fnkd_core.models.networks.stem import cifar_stem

        return _with_channels(cifar_stem(name.removeprefix(STEM), classes), channels)
    for pattern, family in FAMILIES.items():
        if match := re.fullmatch(pattern, name):
            return family(classes, channels, *match.groups())
    raise unknown_architecture(name)


def _cifar_resnet(classes: int, channels: int, depth: str, wide: str | None, version: str | None) -> nn.Module:
    widths = {"widths": (32, 64, 128, 256)} if wide else {}
    return CifarResNet((int(depth) - 2) // 6, classes, channels, version or "", **widths)


def _wide_resnet(classes: int, channels: int, depth: str, width: str) -> nn.Module:
    w = int(width)
    return CifarResNet((int(depth) - 4) // 6, classes, channels, "_v2", (16, 16 * w, 32 * w, 64 * w))


def _max_vgg(classes: int, channels: int, depth: str, hidden: str) -> nn.Module:
    return MaxVGG(int(depth), classes, channels, int(hidden) if hidden else None)


FAMILIES: dict[str, Any] = {
    r"cifar_resnet(\d+)(x4)?(_\w+)?": _cifar_resnet,
    r"wrn_(\d+)_(\d+)": _wide_resnet,
    r"cifar_vgg(\d+)": lambda classes, channels, depth: AveragedVGG(int(depth), classes, channels),
    r"cifar_vgg(\d+)_max(\d*)": _max_vgg,
    r"cifar_mobilenet_v2": MobileNetV2,
    r"cifar_shufflenet_v1": ShuffleNetV1,
    r"cifar_shufflenet_v2": ShuffleNetV2,
}
"""A pattern of names -> what builds the network from K, C and the pattern's groups."""


def _torchvision(name: str, architecture: Architecture, image_size: tuple[int, int] | None) -> nn.Module:
    import torchvision

    if name not in torchvision_names():
        raise unknown_architecture(TORCHVISION + name)
    options: dict[str, object] = {"weights": None, "num_classes": architecture.num_classes}
    if name in ("googlenet", "inception_v3"):
        options |= {"aux_logits": False, "init_weights": True}
    if name.startswith("vit_") and image_size:
        options |= {"image_size": image_size[0]}
    if name.startswith("maxvit") and image_size:
        options |= {"input_size": image_size}
    try:
        network: nn.Module = torchvision.models.get_model(name, **options)
    except (ValueError, AssertionError) as error:
        raise _unfit(TORCHVISION + name, image_size, error) from None
    return _with_channels(network, architecture.in_channels)


def _timm(name: str, architecture: Architecture, image_size: tuple[int, int] | None) -> nn.Module:
    import timm

    if name not in timm_names():
        raise unknown_architecture(TIMM + name)
    options: dict[str, object] = {"num_classes": architecture.num_classes, "in_chans": architecture.in_channels}
    # Only models whose weights or windows depend on the image's size take it.
    if image_size and timm.models.get_pretrained_cfg(name).fixed_input_size:
        options |= {"img_size": image_size}
    try:
        network: nn.Module = timm.create_model(name, pretrained=False, **options)
    except (ValueError, AssertionError, TypeError, RuntimeError, ZeroDivisionError) as error:
        raise _unfit(TIMM + name, image_size, error) from None
    return network


def _unfit(name: str, image_size: tuple[int, int] | None, error: Exception) -> UserError:
    size = "x".join(map(str, image_size or ("its own",)))
    reason = str(error).splitlines()[0][:120] if str(error) else type(error).__name__
    return UserError(f"{name} cannot be built for {size} images ({reason}); choose another.")


def _with_channels(network: nn.Module, in_channels: int) -> nn.Module:
    """The network, its first convolution made anew where this number of channels is not 3."""
    if in_channels == 3:
        return network
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
    return network

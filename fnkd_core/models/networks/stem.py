"""torchvision's networks with a stem for small images: stride 1 and no max-pooling before the first stage."""

from __future__ import annotations

from torch import nn
from torchvision import models


def cifar_stem(name: str, num_classes: int) -> nn.Module:
    """The torchvision network with fewer halvings: 8 in a residual network, 8 in the mobile ones.

    name: `resnet50`, `mobilenet_v2_x0_5`, `shufflenet_v2_x1_0` and so on. A residual network's stem becomes a
    3x3 convolution; the others keep theirs.
    """
    network: nn.Module
    if name.startswith("resnet"):
        network = models.get_model(name, weights=None, num_classes=num_classes)
        network.conv1 = nn.Conv2d(3, 64, 3, padding=1, bias=False)
        nn.init.kaiming_normal_(network.conv1.weight, mode="fan_out", nonlinearity="relu")
        network.maxpool = nn.Identity()
    elif name.startswith("mobilenet_v2_x"):
        width = float(name.removeprefix("mobilenet_v2_x").replace("_", "."))
        network = models.MobileNetV2(num_classes, width_mult=width)
        for convolution in ("features.0.0", "features.2.conv.1.0"):
            network.get_submodule(convolution).stride = (1, 1)  # type: ignore[assignment]
    else:
        network = models.get_model(name, weights=None, num_classes=num_classes)
        network.get_submodule("conv1.0").stride = (1, 1)  # type: ignore[assignment]
        network.maxpool = nn.Identity()
    return network

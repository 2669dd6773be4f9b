"""The small students of the CIFAR distillation benchmarks: MobileNetV2 (Sandler et al., CVPR 2018) at half width,
ShuffleNet v1 and v2 (Zhang et al., CVPR 2018; Ma et al., ECCV 2018) with a 1x1 stem that keeps the image's size.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import channel_shuffle

INVERTED = ((1, 8, 1, 1), (6, 12, 2, 1), (6, 16, 3, 2), (6, 32, 4, 2), (6, 48, 3, 1), (6, 80, 3, 2), (6, 160, 1, 1))
"""Stages of the half-width MobileNetV2: expansion, channels, blocks, stride of the first."""


def _conv(inside: int, outside: int, size: int, stride: int = 1, groups: int = 1) -> nn.Conv2d:
    return nn.Conv2d(inside, outside, size, stride, padding=size // 2, groups=groups, bias=False)


def _start(network: nn.Module) -> None:
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out")


class InvertedResidual(nn.Module):
    """1x1 to `expansion` times as many channels, 3x3 depthwise, 1x1 back without relu; added where shapes allow."""

    def __init__(self, inside: int, outside: int, stride: int, expansion: int) -> None:
        super().__init__()
        middle = inside * expansion
        self.conv = nn.Sequential(
            *(_conv(inside, middle, 1), nn.BatchNorm2d(middle), nn.ReLU()),
            *(_conv(middle, middle, 3, stride, middle), nn.BatchNorm2d(middle), nn.ReLU()),
            *(_conv(middle, outside, 1), nn.BatchNorm2d(outside)),
        )
        self.added = stride == 1 and inside == outside

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv(x) if self.added else self.conv(x)


class MobileNetV2(nn.Module):
    """(N, C, H, W) -> (N, K) logits; the feature has 1280 values, all >= 0."""

    def __init__(self, num_classes: int, in_channels: int = 3) -> None:
        super().__init__()
        self.conv1 = nn.Sequential(_conv(in_channels, 16, 3, 2), nn.BatchNorm2d(16), nn.ReLU())
        stages, inside = [], 16
        for expansion, outside, blocks, stride in INVERTED:
            layers = []
            for i in range(blocks):
                layers.append(InvertedResidual(inside, outside, stride if i == 0 else 1, expansion))
                inside = outside
            stages.append(nn.Sequential(*layers))
        self.blocks = nn.Sequential(*stages)
        self.conv2 = nn.Sequential(_conv(inside, 1280, 1), nn.BatchNorm2d(1280), nn.ReLU())
        self.classifier = nn.Sequential(nn.Linear(1280, num_classes))
        _start(self)

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.conv2(self.blocks(self.conv1(x))).mean(dim=(2, 3)))


class ShuffleUnitV1(nn.Module):
    """Grouped 1x1, shuffle, depthwise 3x3, grouped 1x1; a halved image is averaged and appended, not added."""

    def __init__(self, inside: int, outside: int, first: bool, groups: int) -> None:
        super().__init__()
        middle, self.first = outside // 4, first
        self.groups = 1 if inside == 24 else groups
        self.conv1, self.bn1 = _conv(inside, middle, 1, groups=self.groups), nn.BatchNorm2d(middle)
        self.conv2, self.bn2 = _conv(middle, middle, 3, 2 if first else 1, middle), nn.BatchNorm2d(middle)
        self.conv3, self.bn3 = _conv(middle, outside, 1, groups=groups), nn.BatchNorm2d(outside)
        self.halved = nn.AvgPool2d(3, 2, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        h = channel_shuffle(torch.relu(self.bn1(self.conv1(x))), self.groups)
        h = self.bn3(self.conv3(torch.relu(self.bn2(self.conv2(h)))))
        return torch.relu(torch.cat([h, self.halved(x)], 1) if self.first else h + x)


class ShuffleNetV1(nn.Module):
    """(N, C, H, W) -> (N, K) logits; the feature has 960 values, all >= 0. Three groups."""

    def __init__(self, num_classes: int, in_channels: int = 3) -> None:
        super().__init__()
        self.conv1, self.bn1 = _conv(in_channels, 24, 1), nn.BatchNorm2d(24)
        inside = 24
        for stage, (outside, blocks) in enumerate(((240, 4), (480, 8), (960, 4)), 1):
            units = [ShuffleUnitV1(inside, outside - inside, True, 3)]
            units += [ShuffleUnitV1(outside, outside, False, 3) for _ in range(blocks - 1)]
            self.add_module(f"layer{stage}", nn.Sequential(*units))
            inside = outside
        self.linear = nn.Linear(inside, num_classes)
        _start(self)

    def forward(self, x: Tensor) -> Tensor:
        h = torch.relu(self.bn1(self.conv1(x)))
        for stage in (1, 2, 3):
            h = self.get_submodule(f"layer{stage}")(h)
        return self.linear(h.mean(dim=(2, 3)))


class ShuffleUnitV2(nn.Module):
    """Half of the channels through 1x1, depthwise 3x3, 1x1; the other half untouched; shuffle."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        half = channels // 2
        self.conv1, self.bn1 = _conv(half, half, 1), nn.BatchNorm2d(half)
        self.conv2, self.bn2 = _conv(half, half, 3, groups=half), nn.BatchNorm2d(half)
        self.conv3, self.bn3 = _conv(half, half, 1), nn.BatchNorm2d(half)

    def forward(self, x: Tensor) -> Tensor:
        kept, h = x.chunk(2, dim=1)
        h = self.bn2(self.conv2(torch.relu(self.bn1(self.conv1(h)))))
        return channel_shuffle(torch.cat([kept, torch.relu(self.bn3(self.conv3(h)))], 1), 2)


class ShuffleDownV2(nn.Module):
    """Two branches, each halving the image: depthwise 3x3 and 1x1; 1x1, depthwise 3x3 and 1x1; shuffle."""

    def __init__(self, inside: int, outside: int) -> None:
        super().__init__()
        half = outside // 2
        self.conv1, self.bn1 = _conv(inside, inside, 3, 2, inside), nn.BatchNorm2d(inside)
        self.conv2, self.bn2 = _conv(inside, half, 1), nn.BatchNorm2d(half)
        self.conv3, self.bn3 = _conv(inside, half, 1), nn.BatchNorm2d(half)
        self.conv4, self.bn4 = _conv(half, half, 3, 2, half), nn.BatchNorm2d(half)
        self.conv5, self.bn5 = _conv(half, half, 1), nn.BatchNorm2d(half)

    def forward(self, x: Tensor) -> Tensor:
        left = torch.relu(self.bn2(self.conv2(self.bn1(self.conv1(x)))))
        right = self.bn4(self.conv4(torch.relu(self.bn3(self.conv3(x)))))
        right = torch.relu(self.bn5(self.conv5(right)))
        return channel_shuffle(torch.cat([left, right], 1), 2)


class ShuffleNetV2(nn.Module):
    """(N, C, H, W) -> (N, K) logits; the feature has 1024 values, all >= 0. Width 1."""

    def __init__(self, num_classes: int, in_channels: int = 3) -> None:
        super().__init__()
        self.conv1, self.bn1 = _conv(in_channels, 24, 1), nn.BatchNorm2d(24)
        inside = 24
        for stage, (outside, blocks) in enumerate(((116, 3), (232, 7), (464, 3)), 1):
            units = [ShuffleUnitV2(outside) for _ in range(blocks)]
            self.add_module(f"layer{stage}", nn.Sequential(ShuffleDownV2(inside, outside), *units))
            inside = outside
        self.conv2, self.bn2 = _conv(inside, 1024, 1), nn.BatchNorm2d(1024)
        self.linear = nn.Linear(1024, num_classes)
        _start(self)

    def forward(self, x: Tensor) -> Tensor:
        h = torch.relu(self.bn1(self.conv1(x)))
        for stage in (1, 2, 3):
            h = self.get_submodule(f"layer{stage}")(h)
        return self.linear(torch.relu(self.bn2(self.conv2(h))).mean(dim=(2, 3)))

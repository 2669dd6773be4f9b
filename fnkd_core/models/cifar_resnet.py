"""Residual networks for small images: He et al., CVPR 2016 (v1), and ECCV 2016 (v2, pre-activation).

Depth 6n + 2: a 3x3 stem and three stages of n blocks with 16, 32 and 64 channels, the last two halving the
image. Shortcuts that change shape are 1x1 convolutions. Global average pooling takes any image size.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

WIDTHS = (16, 32, 64)


def _conv(inside: int, outside: int, size: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(inside, outside, size, stride, padding=size // 2, bias=False)


class Block(nn.Module):
    """conv-bn-relu-conv-bn, added to the shortcut, relu."""

    def __init__(self, inside: int, outside: int, stride: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = _conv(inside, outside, 3, stride), nn.BatchNorm2d(outside)
        self.conv2, self.bn2 = _conv(outside, outside, 3), nn.BatchNorm2d(outside)
        self.shortcut = nn.Sequential()
        if stride != 1 or inside != outside:
            self.shortcut = nn.Sequential(_conv(inside, outside, 1, stride), nn.BatchNorm2d(outside))

    def forward(self, x: Tensor) -> Tensor:
        h = torch.relu(self.bn1(self.conv1(x)))
        return torch.relu(self.bn2(self.conv2(h)) + self.shortcut(x))


class PreActivationBlock(nn.Module):
    """bn-relu-conv-bn-relu-conv, added to the shortcut; a changed shape takes its shortcut after the first relu."""

    def __init__(self, inside: int, outside: int, stride: int) -> None:
        super().__init__()
        self.bn1, self.conv1 = nn.BatchNorm2d(inside), _conv(inside, outside, 3, stride)
        self.bn2, self.conv2 = nn.BatchNorm2d(outside), _conv(outside, outside, 3)
        self.shortcut = _conv(inside, outside, 1, stride) if stride != 1 or inside != outside else None

    def forward(self, x: Tensor) -> Tensor:
        a = torch.relu(self.bn1(x))
        shortcut = x if self.shortcut is None else self.shortcut(a)
        return self.conv2(torch.relu(self.bn2(self.conv1(a)))) + shortcut


class CifarResNet(nn.Module):
    """(N, C, H, W) -> (N, K) logits; the feature before `fc` has 64 values, all >= 0."""

    def __init__(self, depth: int, num_classes: int, in_channels: int = 3, pre_activation: bool = False) -> None:
        super().__init__()
        blocks = (depth - 2) // 6
        block = PreActivationBlock if pre_activation else Block
        self.conv1 = _conv(in_channels, WIDTHS[0], 3)
        # v1 normalises after the stem, v2 after the last block.
        self.bn1 = nn.BatchNorm2d(WIDTHS[-1] if pre_activation else WIDTHS[0])
        self.pre_activation = pre_activation
        inside = WIDTHS[0]
        for stage, width in enumerate(WIDTHS, 1):
            layers = []
            for i in range(blocks):
                layers.append(block(inside, width, 2 if stage > 1 and i == 0 else 1))
                inside = width
            self.add_module(f"layer{stage}", nn.Sequential(*layers))
        self.fc = nn.Linear(WIDTHS[-1], num_classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        h = self.conv1(x)
        if not self.pre_activation:
            h = torch.relu(self.bn1(h))
        for stage in (1, 2, 3):
            h = self.get_submodule(f"layer{stage}")(h)
        if self.pre_activation:
            h = torch.relu(self.bn1(h))
        return self.fc(h.mean(dim=(2, 3)))

"""Residual networks for small images: He et al., CVPR 2016 (v1), ECCV 2016 (v2), and Zagoruyko, BMVC 2016 (wide).

Depth 6n + 2: a 3x3 stem and three stages of n blocks, the last two halving the image. Global average pooling
takes any image size. A wide residual network of depth 6n + 4 is v2 with wider stages: it counts its shortcuts.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

WIDTHS = (16, 16, 32, 64)
"""Channels of the stem and of the three stages."""


def _conv(inside: int, outside: int, size: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(inside, outside, size, stride, padding=size // 2, bias=False)


class PaddedShortcut(nn.Module):
    """Every second pixel, between zero channels: the shortcut without parameters (option A)."""

    def __init__(self, inside: int, outside: int) -> None:
        super().__init__()
        self.more = outside - inside

    def forward(self, x: Tensor) -> Tensor:
        return F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, self.more // 2, self.more - self.more // 2))


class Block(nn.Module):
    """conv-bn-relu-conv-bn, added to the shortcut, relu. late: the second convolution changes the shape."""

    def __init__(self, inside: int, outside: int, stride: int, padded: bool = False, late: bool = False) -> None:
        super().__init__()
        between, first, second = (inside, 1, stride) if late else (outside, stride, 1)
        self.conv1, self.bn1 = _conv(inside, between, 3, first), nn.BatchNorm2d(between)
        self.conv2, self.bn2 = _conv(between, outside, 3, second), nn.BatchNorm2d(outside)
        self.shortcut: nn.Module = nn.Sequential()
        if padded and inside != outside:
            self.shortcut = PaddedShortcut(inside, outside)
        elif stride != 1 or inside != outside:
            self.shortcut = nn.Sequential(_conv(inside, outside, 1, stride), nn.BatchNorm2d(outside))

    def forward(self, x: Tensor) -> Tensor:
        h = torch.relu(self.bn1(self.conv1(x)))
        return torch.relu(self.bn2(self.conv2(h)) + self.shortcut(x))


class PreActivationBlock(nn.Module):
    """bn-relu-conv-bn-relu-conv, added to the shortcut.

    A changed shape takes its shortcut after the first relu, or, if raw, from the block's input (Gluon).
    """

    def __init__(self, inside: int, outside: int, stride: int, raw: bool = False) -> None:
        super().__init__()
        self.bn1, self.conv1 = nn.BatchNorm2d(inside), _conv(inside, outside, 3, stride)
        self.bn2, self.conv2 = nn.BatchNorm2d(outside), _conv(outside, outside, 3)
        self.shortcut = _conv(inside, outside, 1, stride) if stride != 1 or inside != outside else None
        self.raw = raw

    def forward(self, x: Tensor) -> Tensor:
        a = torch.relu(self.bn1(x))
        shortcut = x if self.shortcut is None else self.shortcut(x if self.raw else a)
        return self.conv2(torch.relu(self.bn2(self.conv1(a)))) + shortcut


class CifarResNet(nn.Module):
    """(N, C, H, W) -> (N, K) logits; the feature before `fc` has widths[-1] values, all >= 0.

    version: "" (1x1 convolutions where a shortcut changes shape), "_a" (padded shortcuts), "_a_late" (and the last
    block of a stage leads over to the next), "_v2", or "_v2_bn" (the input normalised by a batch norm without scale
    or offset, raw shortcuts: Gluon's).
    """

    def __init__(
        self, blocks: int, num_classes: int, in_channels: int = 3, version: str = "", widths: tuple[int, ...] = WIDTHS
    ) -> None:
        super().__init__()
        self.pre_activation = version.startswith("_v2")
        self.bn0 = nn.BatchNorm2d(in_channels, affine=False) if version == "_v2_bn" else nn.Identity()
        self.conv1 = _conv(in_channels, widths[0], 3)
        # v1 normalises after the stem, v2 after the last block.
        self.bn1 = nn.BatchNorm2d(widths[-1] if self.pre_activation else widths[0])
        inside = widths[0]
        for stage, width in enumerate(widths[1:], 1):
            layers: list[nn.Module] = []
            for i in range(blocks):
                late = version == "_a_late"
                leads_over = stage < 3 and i == blocks - 1 if late else stage > 1 and i == 0
                stride, out = 2 if leads_over else 1, widths[stage + 1] if late and leads_over else width
                if self.pre_activation:
                    layers.append(PreActivationBlock(inside, out, stride, raw=version == "_v2_bn"))
                else:
                    layers.append(Block(inside, out, stride, version.startswith("_a"), late))
                inside = out
            self.add_module(f"layer{stage}", nn.Sequential(*layers))
        self.fc = nn.Linear(widths[-1], num_classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        h = self.conv1(self.bn0(x))
        if not self.pre_activation:
            h = torch.relu(self.bn1(h))
        for stage in (1, 2, 3):
            h = self.get_submodule(f"layer{stage}")(h)
        if self.pre_activation:
            h = torch.relu(self.bn1(h))
        return self.fc(h.mean(dim=(2, 3)))

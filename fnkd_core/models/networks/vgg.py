"""VGG with batch norm for small images: Simonyan and Zisserman, ICLR 2015, as two schools of CIFAR code shape it.

The distillation benchmarks halve the image three times and average at the end. The others halve it five times,
which takes 32 pixels to one, and may put hidden layers before the head.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

WIDTHS = (64, 128, 256, 512, 512)
LAYERS = {8: (1, 1, 1, 1, 1), 11: (1, 1, 2, 2, 2), 13: (2, 2, 2, 2, 2), 16: (2, 2, 3, 3, 3), 19: (2, 2, 4, 4, 4)}
"""Depth -> 3x3 convolutions in each of the five blocks."""


def _layers(depth: int, in_channels: int) -> list[list[nn.Module]]:
    blocks, inside = [], in_channels
    for count, width in zip(LAYERS[depth], WIDTHS, strict=True):
        block: list[nn.Module] = []
        for _ in range(count):
            convolution = nn.Conv2d(inside, width, 3, padding=1)
            nn.init.kaiming_normal_(convolution.weight, mode="fan_out", nonlinearity="relu")
            nn.init.zeros_(convolution.bias)  # type: ignore[arg-type]
            block += [convolution, nn.BatchNorm2d(width), nn.ReLU()]
            inside = width
        blocks.append(block)
    return blocks


class AveragedVGG(nn.Module):
    """(N, C, H, W) -> (N, K) logits; the feature before `classifier` has 512 values, all >= 0.

    A fourth halving comes in from 64 pixels up, as the benchmarks have it for Tiny ImageNet.
    """

    def __init__(self, depth: int, num_classes: int, in_channels: int = 3) -> None:
        super().__init__()
        for i, layers in enumerate(_layers(depth, in_channels)):
            self.add_module(f"block{i}", nn.Sequential(*layers))
        self.classifier = nn.Linear(WIDTHS[-1], num_classes)

    def forward(self, x: Tensor) -> Tensor:
        halvings = 4 if x.shape[2] >= 64 else 3
        for i in range(len(WIDTHS)):
            x = self.get_submodule(f"block{i}")(x)
            if i < halvings:
                x = torch.max_pool2d(x, 2)
        return self.classifier(x.mean(dim=(2, 3)))


class MaxVGG(nn.Module):
    """(N, C, H, W) -> (N, K) logits; the feature is 512 maxima, or `hidden` values >= 0 after two hidden layers.

    Larger images than 32 pixels are averaged before the head.
    """

    def __init__(self, depth: int, num_classes: int, in_channels: int = 3, hidden: int | None = None) -> None:
        super().__init__()
        blocks = _layers(depth, in_channels)
        self.features = nn.Sequential(*(m for block in blocks for m in (*block, nn.MaxPool2d(2))))
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.classifier: nn.Module = nn.Linear(WIDTHS[-1], num_classes)
        if hidden is not None:
            self.classifier = nn.Sequential(
                *(nn.Linear(WIDTHS[-1], hidden), nn.ReLU(), nn.Dropout()),
                *(nn.Linear(hidden, hidden), nn.ReLU(), nn.Dropout()),
                nn.Linear(hidden, num_classes),
            )

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.pool(self.features(x)).flatten(1))

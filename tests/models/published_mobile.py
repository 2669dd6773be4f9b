"""The mobile networks of public repositories, weights by name."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from tests.models.weights import K, Weights


def inverted(w: Weights, name: str, x: Tensor, out: int, stride: int, expansion: int, nested: bool) -> Tensor:
    """MobileNetV2's block: benchmarks number its layers flatly, torchvision nests them and drops an expansion of 1."""
    act = F.relu6 if nested else F.relu
    h, middle, i = x, x.shape[1] * expansion, 0
    if expansion > 1 or not nested:
        conv, norm = (f"{name}0.0", f"{name}0.1") if nested else (f"{name}0", f"{name}1")
        h, i = act(w.conv_norm(conv, norm, h, middle, 1)), 1
    conv, norm = (f"{name}{i}.0", f"{name}{i}.1") if nested else (f"{name}3", f"{name}4")
    h = act(w.conv_norm(conv, norm, h, middle, 3, stride, middle))
    conv, norm = (f"{name}{i + 1}", f"{name}{i + 2}") if nested else (f"{name}6", f"{name}7")
    h = w.conv_norm(conv, norm, h, out, 1)
    return x + h if stride == 1 and x.shape == h.shape else h


STAGES = ((1, 16, 1, 1), (6, 24, 2, 1), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))


def benchmark_mobilenet(w: Weights, x: Tensor) -> Tensor:
    x = w.conv_norm("conv1.0", "conv1.1", x, 16, 3, 2).relu()
    for s, (t, c, n, stride) in enumerate(STAGES):
        for b in range(n):
            x = inverted(w, f"blocks.{s}.{b}.conv.", x, c // 2, stride if b == 0 else 1, t, nested=False)
    return w.linear("classifier.0", w.conv_norm("conv2.0", "conv2.1", x, 1280, 1).relu().mean((2, 3)), K)


def chenyaofo_mobilenet(w: Weights, x: Tensor) -> Tensor:
    x, i = F.relu6(w.conv_norm("features.0.0", "features.0.1", x, 32)), 1
    for t, c, n, stride in STAGES:
        for b in range(n):
            x = inverted(w, f"features.{i}.conv.", x, c, stride if b == 0 else 1, t, nested=True)
            i += 1
    x = F.relu6(w.conv_norm("features.18.0", "features.18.1", x, 1280, 1))
    return w.linear("classifier.1", x.mean((2, 3)), K)


def shuffled(x: Tensor, groups: int) -> Tensor:
    n, c, h, width = x.shape
    return x.view(n, groups, c // groups, h, width).transpose(1, 2).reshape(n, c, h, width)


def benchmark_shufflenet_v1(w: Weights, x: Tensor) -> Tensor:
    x = w.conv_norm("conv1", "bn1", x, 24, 1).relu()
    for s, (out, blocks) in enumerate(((240, 4), (480, 8), (960, 4)), 1):
        for b in range(blocks):
            name, inside, stride = f"layer{s}.{b}.", x.shape[1], 2 if b == 0 else 1
            new = out - inside if b == 0 else out
            groups = 1 if inside == 24 else 3
            h = shuffled(w.conv_norm(f"{name}conv1", f"{name}bn1", x, new // 4, 1, 1, groups).relu(), groups)
            h = w.conv_norm(f"{name}conv2", f"{name}bn2", h, new // 4, 3, stride, new // 4).relu()
            h = w.conv_norm(f"{name}conv3", f"{name}bn3", h, new, 1, 1, 3)
            x = (torch.cat([h, F.avg_pool2d(x, 3, 2, 1)], 1) if b == 0 else h + x).relu()
    return w.linear("linear", x.mean((2, 3)), K)


def benchmark_shufflenet_v2(w: Weights, x: Tensor) -> Tensor:
    x = w.conv_norm("conv1", "bn1", x, 24, 1).relu()
    for s, (out, blocks) in enumerate(((116, 4), (232, 8), (464, 4)), 1):
        half = out // 2
        for b in range(blocks):
            n = f"layer{s}.{b}."
            if b == 0:
                left = w.conv_norm(f"{n}conv1", f"{n}bn1", x, x.shape[1], 3, 2, x.shape[1])
                left = w.conv_norm(f"{n}conv2", f"{n}bn2", left, half, 1).relu()
                right = w.conv_norm(f"{n}conv3", f"{n}bn3", x, half, 1).relu()
                right = w.conv_norm(f"{n}conv4", f"{n}bn4", right, half, 3, 2, half)
                right = w.conv_norm(f"{n}conv5", f"{n}bn5", right, half, 1).relu()
            else:
                left = x[:, :half]
                right = w.conv_norm(f"{n}conv1", f"{n}bn1", x[:, half:], half, 1).relu()
                right = w.conv_norm(f"{n}conv2", f"{n}bn2", right, half, 3, 1, half)
                right = w.conv_norm(f"{n}conv3", f"{n}bn3", right, half, 1).relu()
            x = shuffled(torch.cat([left, right], 1), 2)
    return w.linear("linear", w.conv_norm("conv2", "bn2", x, 1024, 1).relu().mean((2, 3)), K)


def chenyaofo_shufflenet(w: Weights, x: Tensor) -> Tensor:
    x = w.conv_norm("conv1.0", "conv1.1", x, 24).relu()
    for s, (out, blocks) in enumerate(((48, 4), (96, 8), (192, 4)), 2):
        half = out // 2
        for b in range(blocks):
            n, stride = f"stage{s}.{b}.branch", 2 if b == 0 else 1
            left, right = (x, x) if b == 0 else x.chunk(2, 1)
            if b == 0:
                left = w.conv_norm(f"{n}1.0", f"{n}1.1", left, x.shape[1], 3, 2, x.shape[1])
                left = w.conv_norm(f"{n}1.2", f"{n}1.3", left, half, 1).relu()
            right = w.conv_norm(f"{n}2.0", f"{n}2.1", right, half, 1).relu()
            right = w.conv_norm(f"{n}2.3", f"{n}2.4", right, half, 3, stride, half)
            right = w.conv_norm(f"{n}2.5", f"{n}2.6", right, half, 1).relu()
            x = shuffled(torch.cat([left, right], 1), 2)
    return w.linear("fc", w.conv_norm("conv5.0", "conv5.1", x, 1024, 1).relu().mean((2, 3)), K)


SMALL, WIDER, LARGE = (16, 16, 32, 64), (32, 64, 128, 256), (64, 64, 128, 256, 512)

TV, KL = ("downsample", "fc"), ("shortcut", "linear")

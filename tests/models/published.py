"""Networks as public repositories write them, weights by name: what recognition is tried on."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from tests.models.published_mobile import (
    KL,
    LARGE,
    SMALL,
    TV,
    WIDER,
    benchmark_mobilenet,
    benchmark_shufflenet_v1,
    benchmark_shufflenet_v2,
    chenyaofo_mobilenet,
    chenyaofo_shufflenet,
)
from tests.models.weights import K, Source, Weights


def residual(
    blocks: tuple[int, ...], widths: tuple[int, ...], shortcut: str, head: str, *, expansion: int = 1, stem: int = 3
) -> Source:
    """He's v1 with torchvision's names or kuangliu's; without a name for shortcuts, option A. stem 7: ImageNet's."""

    def network(w: Weights, x: Tensor) -> Tensor:
        x = w.conv_norm("conv1", "bn1", x, widths[0], stem, 2 if stem == 7 else 1).relu()
        x = F.max_pool2d(x, 3, 2, 1) if stem == 7 else x
        for s, (count, width) in enumerate(zip(blocks, widths[1:], strict=True), 1):
            for b in range(count):
                name, stride, out = f"layer{s}.{b}.", 2 if s > 1 and b == 0 else 1, width * expansion
                if expansion == 1:
                    h = w.conv_norm(f"{name}conv1", f"{name}bn1", x, width, 3, stride).relu()
                    h = w.conv_norm(f"{name}conv2", f"{name}bn2", h, width)
                else:
                    h = w.conv_norm(f"{name}conv1", f"{name}bn1", x, width, 1).relu()
                    h = w.conv_norm(f"{name}conv2", f"{name}bn2", h, width, 3, stride).relu()
                    h = w.conv_norm(f"{name}conv3", f"{name}bn3", h, out, 1)
                if x.shape != h.shape:
                    if shortcut:
                        x = w.conv_norm(f"{name}{shortcut}.0", f"{name}{shortcut}.1", x, out, 1, stride)
                    else:
                        pad = torch.zeros_like(h[:, : (out - x.shape[1]) // 2])
                        x = torch.cat([pad, x[:, :, ::2, ::2], pad], 1)
                x = (x + h).relu()
        return w.linear(head, x.mean((2, 3)), K)

    return network


def weiaicunzai(blocks: tuple[int, ...], expansion: int) -> Source:
    def network(w: Weights, x: Tensor) -> Tensor:
        x = w.conv_norm("conv1.0", "conv1.1", x, 64).relu()
        for s, (count, width) in enumerate(zip(blocks, (64, 128, 256, 512), strict=True), 2):
            for b in range(count):
                name, stride = f"conv{s}_x.{b}.", 2 if s > 2 and b == 0 else 1
                plan = ((width, 3, stride), (width, 3)) if expansion == 1 else (
                    (width, 1), (width, 3, stride), (4 * width, 1))  # fmt: skip
                h, function = x, f"{name}residual_function"
                for i, part in enumerate(plan):
                    h = w.conv_norm(f"{function}.{3 * i}", f"{function}.{3 * i + 1}", h, *part)
                    h = h.relu() if i < len(plan) - 1 else h
                if x.shape != h.shape:
                    x = w.conv_norm(f"{name}shortcut.0", f"{name}shortcut.1", x, width * expansion, 1, stride)
                x = (x + h).relu()
        return w.linear("fc", x.mean((2, 3)), K)

    return network


def hugging_face(w: Weights, x: Tensor) -> Tensor:
    def part(name: str, x: Tensor, *sizes: int) -> Tensor:
        return w.conv_norm(f"{name}.convolution", f"{name}.normalization", x, *sizes)

    x = F.max_pool2d(part("resnet.embedder.embedder", x, 64, 7, 2).relu(), 3, 2, 1)
    for s, width in enumerate((64, 128, 256, 512)):
        for b in range(2):
            name, stride = f"resnet.encoder.stages.{s}.layers.{b}", 2 if s and b == 0 else 1
            h = part(f"{name}.layer.1", part(f"{name}.layer.0", x, width, 3, stride).relu(), width)
            x = x if x.shape == h.shape else part(f"{name}.shortcut", x, width, 1, stride)
            x = (x + h).relu()
    return w.linear("classifier.1", x.mean((2, 3)), K)


def gluon_v1(w: Weights, x: Tensor) -> Tensor:
    x = w.conv_norm("conv0", "batchnorm0", x, 16).relu()
    for s, width in enumerate((16, 32, 64), 1):
        i = 0
        for b in range(2):
            stride = 2 if s > 1 and b == 0 else 1
            h = w.conv_norm(f"stage{s}_conv{i}", f"stage{s}_batchnorm{i}", x, width, 3, stride).relu()
            h = w.conv_norm(f"stage{s}_conv{i + 1}", f"stage{s}_batchnorm{i + 1}", h, width)
            i += 2
            if x.shape != h.shape:
                x = w.conv_norm(f"stage{s}_conv{i}", f"stage{s}_batchnorm{i}", x, width, 1, stride)
                i += 1
            x = (x + h).relu()
    return w.linear("dense0", x.mean((2, 3)), K)


def gluon_v1_by_structure(w: Weights, x: Tensor) -> Tensor:
    x = w.conv_norm("features.0", "features.1", x, 16).relu()
    for s, width in enumerate((16, 32, 64), 2):
        for b in range(2):
            name, stride = f"features.{s}.{b}.", 2 if s > 2 and b == 0 else 1
            h = w.conv_norm(f"{name}body.0", f"{name}body.1", x, width, 3, stride).relu()
            h = w.conv_norm(f"{name}body.3", f"{name}body.4", h, width)
            if x.shape != h.shape:
                x = w.conv_norm(f"{name}downsample.0", f"{name}downsample.1", x, width, 1, stride)
            x = (x + h).relu()
    return w.linear("output", x.mean((2, 3)), K)


def gluon_v2(w: Weights, x: Tensor) -> Tensor:
    x = w.conv("conv0", w.norm("batchnorm0", x, affine=False), 16)
    for s, width in enumerate((16, 32, 64), 1):
        i = 0
        for b in range(2):
            stride = 2 if s > 1 and b == 0 else 1
            h = w.conv(f"stage{s}_conv{i}", w.norm(f"stage{s}_batchnorm{2 * b}", x).relu(), width, 3, stride)
            h = w.conv(f"stage{s}_conv{i + 1}", w.norm(f"stage{s}_batchnorm{2 * b + 1}", h).relu(), width)
            i += 2
            if x.shape != h.shape:
                x = w.conv(f"stage{s}_conv{i}", x, width, 1, stride)
                i += 1
            x = x + h
    return w.linear("dense0", w.norm("batchnorm1", x).relu().mean((2, 3)), K)


def gluon_v2_by_structure(w: Weights, x: Tensor) -> Tensor:
    x = w.conv("features.1", w.norm("features.0", x, affine=False), 16)
    for s, width in enumerate((16, 32, 64), 2):
        for b in range(2):
            name, stride = f"features.{s}.{b}.", 2 if s > 2 and b == 0 else 1
            h = w.conv(f"{name}conv1", w.norm(f"{name}bn1", x).relu(), width, 3, stride)
            h = w.conv(f"{name}conv2", w.norm(f"{name}bn2", h).relu(), width)
            x = (x if x.shape == h.shape else w.conv(f"{name}downsample", x, width, 1, stride)) + h
    return w.linear("output", w.norm("features.5", x).relu().mean((2, 3)), K)


def wide(blocks: int, width: int) -> Source:
    def network(w: Weights, x: Tensor) -> Tensor:
        x = w.conv("conv1", x, 16)
        for s in (1, 2, 3):
            for b in range(blocks):
                name, stride, out = f"block{s}.layer.{b}.", 2 if s > 1 and b == 0 else 1, 2 ** (s + 3) * width
                a = w.norm(f"{name}bn1", x).relu()
                h = w.conv(f"{name}conv2", w.norm(f"{name}bn2", w.conv(f"{name}conv1", a, out, 3, stride)).relu(), out)
                x = (x if x.shape == h.shape else w.conv(f"{name}convShortcut", a, out, 1, stride)) + h
        return w.linear("fc", w.norm("bn1", x).relu().mean((2, 3)), K)

    return network


def benchmark_vgg(*counts: int) -> Source:
    def network(w: Weights, x: Tensor) -> Tensor:
        halvings = 4 if x.shape[2] == 64 else 3
        for block, (count, width) in enumerate(zip(counts, (64, 128, 256, 512, 512), strict=True)):
            for i in range(count):
                x = w.norm(f"block{block}.{3 * i + 1}", w.conv(f"block{block}.{3 * i}", x, width, bias=True)).relu()
            x = F.max_pool2d(x, 2) if block < halvings else x
        return w.linear("classifier", x.mean((2, 3)), K)

    return network


def vgg11(hidden: int | None) -> Source:
    def network(w: Weights, x: Tensor) -> Tensor:
        i = 0
        for width in (64, 0, 128, 0, 256, 256, 0, 512, 512, 0, 512, 512, 0):
            if width:
                x = w.norm(f"features.{i + 1}", w.conv(f"features.{i}", x, width, bias=True)).relu()
            else:
                x = F.max_pool2d(x, 2)
            i += 3 if width else 1
        x = x.flatten(1)
        if hidden:
            x = w.linear("classifier.3", w.linear("classifier.0", x, hidden).relu(), hidden).relu()
        return w.linear("classifier.6" if hidden else "classifier", x, K)

    return network


BENCH = "RepDistiller / mdistiller"


def late(blocks: int) -> Source:
    """Shortcuts of option A; a stage's last block, kept apart, leads over to the next; templates stay unused."""

    def network(w: Weights, x: Tensor) -> Tensor:
        x = w.conv_norm("first_layer", "bn", x, 16).relu()
        for stage, width, out in (("first", 16, 32), ("second", 32, 64), ("third", 64, 64)):
            w.conv_norm(f"{stage}_block.conv_block.0", f"{stage}_block.conv_block.1", x, width)
            w.norm(f"{stage}_block.bn", torch.zeros(1, out, 1, 1, dtype=x.dtype))
            for name in (*(f"residual_block.{b}" for b in range(blocks - 1)), "final_block"):
                part, leads_over = f"{stage}_block.{name}", name == "final_block" and out > width
                h = w.conv_norm(f"{part}.0", f"{part}.1", x, width).relu()
                h = w.conv_norm(f"{part}.3", f"{part}.4", h, out if leads_over else width, 3, 2 if leads_over else 1)
                if leads_over:
                    pad = torch.zeros_like(h[:, : (out - width) // 2])
                    x = torch.cat([pad, x[:, :, ::2, ::2], pad], 1)
                x = (x + h).relu()
        return w.linear("fc", x.mean((2, 3)), K)

    return network


PUBLISHED: dict[str, tuple[Source, str, str, int, str | None]] = {
    "benchmark resnet14": (residual((2,) * 3, SMALL, *TV), "cifar_resnet14", "chenyaofo", 16, None),
    "benchmark resnet8x4": (residual((1,) * 3, WIDER, *TV), "cifar_resnet8x4", BENCH, 16, None),
    "akamaster B": (residual((3,) * 3, SMALL, *KL), "cifar_resnet20", "akamaster", 16, None),
    "akamaster A": (residual((3,) * 3, SMALL, "", "linear"), "cifar_resnet20_a", "akamaster", 16, None),
    "fattorib resnet20": (late(3), "cifar_resnet20_a_late", "fattorib", 16, None),
    "benchmark ResNet50": (residual((3, 4, 6, 3), LARGE, *KL, expansion=4), "cifar_stem_resnet50", BENCH, 16, None),
    "kuangliu ResNet18": (residual((2,) * 4, LARGE, *KL), "cifar_stem_resnet18", "kuangliu", 16, None),
    "3x3 stem": (residual((2,) * 4, LARGE, *TV), "cifar_stem_resnet18", "torchvision", 16, None),
    "weiaicunzai resnet34": (weiaicunzai((3, 4, 6, 3), 1), "cifar_stem_resnet34", "weiaicunzai", 16, None),
    "weiaicunzai resnet50": (weiaicunzai((3, 4, 6, 3), 4), "cifar_stem_resnet50", "weiaicunzai", 16, None),
    "torchvision resnet18": (residual((2,) * 4, LARGE, *TV, stem=7), "torchvision/resnet18", "torchvision", 64, None),
    "Hugging Face resnet18": (hugging_face, "torchvision/resnet18", "Hugging Face", 64, None),
    "Gluon v1": (gluon_v1, "cifar_resnet14", "Gluon", 16, "cifarresnetv10_"),
    "Gluon v1, structure": (gluon_v1_by_structure, "cifar_resnet14", "Gluon", 16, ""),
    "Gluon v2": (gluon_v2, "cifar_resnet14_v2_bn", "Gluon", 16, "cifarresnetv14_"),
    "Gluon v2, read": (gluon_v2, "cifar_resnet14_v2_bn", "Gluon", 16, None),
    "Gluon v2, structure": (gluon_v2_by_structure, "cifar_resnet14_v2_bn", "Gluon", 16, ""),
    "wrn 16-2": (wide(2, 2), "wrn_16_2", BENCH, 16, None),
    "wrn 16-1": (wide(2, 1), "wrn_16_1", BENCH, 16, None),
    "wrn 22-3, not listed": (wide(3, 3), "wrn_22_3", BENCH, 16, None),
    "benchmark vgg8": (benchmark_vgg(1, 1, 1, 1, 1), "cifar_vgg8", BENCH, 32, None),
    "benchmark vgg13 at 64": (benchmark_vgg(2, 2, 2, 2, 2), "cifar_vgg13", BENCH, 64, None),
    "kuangliu vgg11": (vgg11(None), "cifar_vgg11_max", "kuangliu", 32, None),
    "chenyaofo vgg11": (vgg11(512), "cifar_vgg11_max512", "chenyaofo", 32, None),
    "weiaicunzai vgg11": (vgg11(4096), "cifar_vgg11_max4096", "weiaicunzai", 32, None),
    "benchmark MobileNetV2": (benchmark_mobilenet, "cifar_mobilenet_v2", BENCH, 32, None),
    "chenyaofo mobilenetv2": (chenyaofo_mobilenet, "cifar_stem_mobilenet_v2_x1_0", "chenyaofo", 16, None),
    "benchmark ShuffleV1": (benchmark_shufflenet_v1, "cifar_shufflenet_v1", BENCH, 16, None),
    "benchmark ShuffleV2": (benchmark_shufflenet_v2, "cifar_shufflenet_v2", BENCH, 16, None),
    "chenyaofo shufflenetv2": (chenyaofo_shufflenet, "cifar_stem_shufflenet_v2_x0_5", "chenyaofo", 16, None),
}  # fmt: skip
"""What it is -> the plain network, our name, whose names, pixels, and the prefix of its names if Gluon's."""


def shapes_of(state: Any) -> dict[str, tuple[int, ...]]:
    return {name: tuple(value.shape) for name, value in state.items()}

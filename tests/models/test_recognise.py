"""Whose network a file holds is read from its names and shapes, and the weights then say what they said before.

Every published layout has a plain network here: a function that makes its weights under the published names
where it first uses them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fnkd_core.errors import UserError
from fnkd_core.models.architecture import TIMM, TORCHVISION, ZOO, Architecture
from fnkd_core.models.classifier import Classifier
from fnkd_core.models.index import indexed_names, with_fingerprint
from fnkd_core.models.layouts import apply, layouts
from fnkd_core.models.recognise import (
    Recognition,
    network_shapes,
    published_crop,
    published_normalisation,
    recognise,
    rename,
)
from fnkd_core.models.zoo import build_network, timm_names, torchvision_names

K = 7


class Weights(dict[str, Tensor]):
    """Published name -> float64 weight, drawn where it is first used.

    gluon: None for PyTorch's names, a prefix for Gluon's names, "" for Gluon's names by structure.
    """

    def __init__(self, gluon: str | None = None) -> None:
        super().__init__()
        self.gluon, self.generator = gluon, torch.Generator().manual_seed(1)

    def draw(self, layer: str, leaf: str, shape: tuple[int, ...], low: float, high: float) -> Tensor:
        key = f"{layer}.{leaf}"
        if self.gluon:
            key = f"{'aux' if 'running' in leaf else 'arg'}:{self.gluon}{layer}_{leaf}"
        if key not in self:
            self[key] = low + (high - low) * torch.rand(shape, generator=self.generator, dtype=torch.float64)
        return self[key]

    def conv(
        self, layer: str, x: Tensor, out: int, size: int = 3, stride: int = 1, groups: int = 1, bias: bool = False
    ) -> Tensor:
        shape = (out, x.shape[1] // groups, size, size)
        bound = (6 / (shape[1] * size * size)) ** 0.5
        weight = self.draw(layer, "weight", shape, -bound, bound)
        offset = self.draw(layer, "bias", (out,), -0.1, 0.1) if bias else None
        return F.conv2d(x, weight, offset, stride, size // 2, groups=groups)

    def norm(self, layer: str, x: Tensor, affine: bool = True) -> Tensor:
        c = (x.shape[1],)
        mean, var = self.draw(layer, "running_mean", c, -0.2, 0.2), self.draw(layer, "running_var", c, 0.8, 1.5)
        names = ("weight", "bias") if self.gluon is None else ("gamma", "beta")
        scale = self.draw(layer, names[0], c, 0.5, 1.2) if affine else None
        offset = self.draw(layer, names[1], c, -0.2, 0.3) if affine else None
        return F.batch_norm(x, mean, var, scale, offset)

    def linear(self, layer: str, x: Tensor, out: int) -> Tensor:
        bound = x.shape[1] ** -0.5
        weight = self.draw(layer, "weight", (out, x.shape[1]), -bound, bound)
        return F.linear(x, weight, self.draw(layer, "bias", (out,), -bound, bound))

    def conv_norm(self, conv: str, norm: str, x: Tensor, out: int, *sizes: int) -> Tensor:
        return self.norm(norm, self.conv(conv, x, out, *sizes))


Source = Callable[[Weights, Tensor], Tensor]


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
BENCH = "RepDistiller / mdistiller"
PUBLISHED: dict[str, tuple[Source, str, str, int, str | None]] = {
    "benchmark resnet14": (residual((2,) * 3, SMALL, *TV), "cifar_resnet14", "chenyaofo", 16, None),
    "benchmark resnet8x4": (residual((1,) * 3, WIDER, *TV), "cifar_resnet8x4", BENCH, 16, None),
    "akamaster B": (residual((3,) * 3, SMALL, *KL), "cifar_resnet20", "akamaster", 16, None),
    "akamaster A": (residual((3,) * 3, SMALL, "", "linear"), "cifar_resnet20_a", "akamaster", 16, None),
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


GREY = ("akamaster A", "benchmark vgg8", "benchmark MobileNetV2", "Gluon v1", "Gluon v2", "Gluon v2, structure")


@pytest.mark.parametrize(("case", "channels"), [*((case, 3) for case in PUBLISHED), *((case, 1) for case in GREY)])
def test_a_published_layout_is_recognised_and_gives_the_logits_it_gave(case: str, channels: int) -> None:
    source, name, layout, size, gluon = PUBLISHED[case]
    state, x = Weights(gluon), torch.rand(2, channels, size, size, dtype=torch.float64)
    logits = source(state, x)
    found = recognise(shapes_of(state)).candidates
    assert found[0].architecture == Architecture(name, K, channels)
    assert layout in found[0].layout and found[0].image_size is None
    network = build_network(found[0].architecture).double().eval()
    network.load_state_dict(rename(state, found[0]))
    with torch.no_grad():
        again = network(x)
    assert float(logits.std()) > 1e-3
    torch.testing.assert_close(again, logits, atol=1e-5, rtol=0)


def test_every_architecture_of_the_zoo_is_found_by_its_own_names_in_every_layout() -> None:
    for name in ZOO:
        for _, rules in layouts(name):
            theirs = {apply(rules, ours): shape for ours, shape in network_shapes(name, K).items()}
            assert name in with_fingerprint(theirs), name


def test_the_index_knows_the_installed_models() -> None:
    assert {n.removeprefix(TORCHVISION) for n in indexed_names(TORCHVISION)} == set(torchvision_names())
    missing = set(timm_names()) - {n.removeprefix(TIMM) for n in indexed_names(TIMM)}
    assert len(missing) <= 0.05 * len(timm_names())


@pytest.mark.parametrize(
    ("name", "size"), [("timm/resnet10t", None), ("timm/vit_tiny_patch16_224", 96), ("torchvision/vit_b_32", 64)]
)
def test_a_model_of_a_library_is_recognised_with_its_classes_channels_and_image_size(
    name: str, size: int | None
) -> None:
    architecture = Architecture(name, K, 1)
    torch.manual_seed(0)
    network = build_network(architecture, (size, size) if size else None).eval()
    found = recognise(shapes_of(network.state_dict())).candidates
    mine = next(c for c in found if c.architecture == architecture)
    assert mine.image_size == size and mine.layout == name.partition("/")[0]
    again = build_network(mine.architecture, (size, size) if size else None).eval()
    again.load_state_dict(rename(network.state_dict(), mine))
    x = torch.rand(2, 1, size or 64, size or 64)
    with torch.no_grad():
        assert torch.equal(again(x), network(x))


def test_networks_that_differ_in_strides_alone_are_all_listed_the_likeliest_first() -> None:
    shapes = dict(network_shapes("torchvision/mobilenet_v2", 100))
    small = [c.architecture.name for c in recognise(shapes).candidates]
    assert small[0] == "cifar_stem_mobilenet_v2_x1_0" and "torchvision/mobilenet_v2" in small[1:]
    shapes = dict(network_shapes("torchvision/resnet18", 1000))
    published = [c.architecture.name for c in recognise(shapes).candidates]
    assert published[:2] == ["torchvision/resnet18", "timm/resnet18"]


def test_a_named_architecture_is_the_only_one_tried() -> None:
    shapes = dict(network_shapes("torchvision/mobilenet_v2", 100))
    only = recognise(shapes, "torchvision/mobilenet_v2").candidates
    assert [c.architecture.name for c in only] == ["torchvision/mobilenet_v2"]
    other = recognise(shapes, "cifar_resnet20")
    assert not other.candidates and [n.architecture for n in other.nearest] == ["cifar_resnet20"]
    with pytest.raises(UserError, match="Unknown architecture 'resnet20'"):
        recognise(shapes, "resnet20")


def test_a_network_inside_a_module_is_recognised_under_the_names_it_has_there() -> None:
    inside = {f"module.model.{name}": shape for name, shape in network_shapes("cifar_resnet20", 5).items()}
    candidate = recognise(inside).candidates[0]
    assert candidate.architecture.name == "cifar_resnet20" and candidate.layout == "ours"
    assert candidate.names["fc.bias"] == "module.model.fc.bias"


def test_images_of_many_channels_are_recognised_too() -> None:
    shapes = dict(network_shapes("cifar_resnet20", 5, 13))
    assert recognise(shapes).candidates[0].architecture == Architecture("cifar_resnet20", 5, 13)


def test_an_indexed_model_that_is_not_installed_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    shapes = dict(network_shapes("torchvision/resnet18", 1000))
    known = with_fingerprint(shapes)
    monkeypatch.setattr("fnkd_core.models.recognise.with_fingerprint", lambda _: ["timm/resnet18_of_tomorrow", *known])
    assert recognise(shapes).candidates[0].architecture.name == "torchvision/resnet18"


def test_an_unknown_file_is_shown_its_nearest_architecture_and_the_keys_that_do_not_fit() -> None:
    shapes = dict(network_shapes("cifar_resnet20", 100))
    shapes["layer1.0.attention.weight"] = (16, 16)
    shapes["layer3.0.conv1.weight"] = (64, 32, 5, 5)
    del shapes["layer2.0.bn1.running_mean"]
    result = recognise(shapes)
    assert not result.candidates and 1 <= len(result.nearest) <= 3
    nearest = result.nearest[0]
    assert nearest.architecture == "cifar_resnet20" and nearest.layout == "ours"
    assert nearest.missing == ("layer2.0.bn1.running_mean",) and nearest.left_over == ("layer1.0.attention.weight",)
    assert nearest.shapes == ("layer3.0.conv1.weight (64, 32, 5, 5) instead of (64, 32, 3, 3)",)


def test_a_file_that_shares_a_few_names_is_shown_what_it_is_nearest_to() -> None:
    shapes = {f"layers.{i}.conv.weight": (64, 64, 3, 3) for i in range(300)} | {"conv1.weight": (16, 3, 3, 3)}
    result = recognise(shapes)
    assert len(result.nearest) == 3 and result.nearest[0].num_left_over == 300


def test_what_does_not_fit_is_counted_and_shown_within_bounds() -> None:
    shapes = dict(network_shapes("cifar_resnet8", 10)) | {f"{'x' * 500}{i}": (3,) for i in range(1000)}
    nearest = recognise(shapes).nearest[0]
    assert nearest.num_left_over == 1000 and len(nearest.left_over) == 5
    assert all(len(name) <= 100 for name in nearest.left_over)


@pytest.mark.parametrize("shapes", [{}, {"a": ()}, {"fc.weight": (0, 0), "fc.bias": (0,)}, {"w": (2**62, 64)}])
def test_a_file_that_is_no_network_has_no_candidate(shapes: dict[str, tuple[int, ...]]) -> None:
    assert recognise(shapes) == Recognition((), recognise(shapes).nearest)


def test_sizes_that_no_memory_holds_are_a_miss_and_not_an_error() -> None:
    shapes = dict(network_shapes("cifar_resnet8", 10)) | {"fc.weight": (2**62, 64)}
    result = recognise(shapes)
    assert not result.candidates and result.nearest[0].architecture == "cifar_resnet8"


def test_a_head_that_is_a_1x1_convolution_is_made_linear_and_counts_of_batches_are_filled() -> None:
    torch.manual_seed(0)
    network = build_network(Architecture("cifar_resnet8", 5)).eval()
    state = {k: v for k, v in network.state_dict().items() if not k.endswith("num_batches_tracked")}
    state["fc.weight"] = state["fc.weight"][:, :, None, None]
    candidate = recognise(shapes_of(state)).candidates[0]
    renamed = rename(state, candidate)
    assert renamed["bn1.num_batches_tracked"] == 0 and renamed["fc.weight"].shape == (5, 64)
    build_network(candidate.architecture).load_state_dict(renamed)


def test_an_input_norm_with_a_scale_of_its_own_is_refused() -> None:
    state = Weights("net_")
    gluon_v2(state, torch.rand(1, 3, 16, 16, dtype=torch.float64))
    state |= {"arg:net_batchnorm0_gamma": torch.ones(3), "arg:net_batchnorm0_beta": torch.zeros(3)}
    candidate = recognise(shapes_of(state)).candidates[0]
    assert candidate.architecture.name == "cifar_resnet14_v2_bn"
    rename(state, candidate)
    state["arg:net_batchnorm0_beta"] = torch.full((3,), 0.5)
    with pytest.raises(UserError, match="arg:net_batchnorm0_beta is not 0 throughout"):
        rename(state, candidate)


def test_heads_for_training_and_tables_are_let_go() -> None:
    shapes = dict(network_shapes("torchvision/googlenet", 1000)) | {"aux1.fc1.weight": (1024, 2048), "total_ops": (1,)}
    assert recognise(shapes).candidates[0].architecture.name == "torchvision/googlenet"


def test_published_normalisation_is_the_libraries() -> None:
    imagenet = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225), 224)
    assert published_normalisation(Architecture("torchvision/resnet18", 100)) == imagenet
    assert published_normalisation(Architecture("timm/resnet10t", 100)) == (*imagenet[:2], 176)
    assert published_normalisation(Architecture("timm/vit_tiny_patch16_224", 5)) == ((0.5,) * 3, (0.5,) * 3, 224)
    assert published_crop(Architecture("torchvision/resnet18", 100)) == (0.875, "bilinear")
    assert published_crop(Architecture("timm/vit_tiny_patch16_224", 5)) == (0.9, "bicubic")
    assert published_crop(Architecture("cifar_resnet20", 5)) == (1.0, "bilinear")
    assert published_normalisation(Architecture("torchvision/inception_v3", 5)) == ((0.5,) * 3, (0.5,) * 3, 299)
    for name in ("cifar_resnet20", "torchvision/resnet18"):
        assert published_normalisation(Architecture(name, 10, 1)) is None


def test_a_recognised_file_becomes_a_classifier_with_its_head_found() -> None:
    state = Weights()
    wide(2, 2)(state, torch.rand(1, 3, 16, 16, dtype=torch.float64))
    candidate = recognise(shapes_of(state)).candidates[0]
    network: nn.Module = build_network(candidate.architecture)
    network.load_state_dict({k: v.float() for k, v in rename(state, candidate).items()})
    assert Classifier(network, (0.5,) * 3, (0.5,) * 3, candidate.architecture).head_name == "fc"

"""Whose names a state dict has: literal tables from names to names. No torch.

`VIEWS` make a file's names plain, `LAYOUTS` turn the names of one of our networks into plain ones of others.
A rule is a pattern and its replacement, as for `re.sub`; rules apply one after the other.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from fnkd_core.models.architecture import CIFAR_DEPTHS, TIMM, TORCHVISION

Rules = tuple[tuple[str, str | Callable[[re.Match[str]], str]], ...]


def apply(rules: Rules, name: str) -> str:
    """The name after every rule."""
    for pattern, replacement in rules:
        name = re.sub(pattern, replacement, name)
    return name


def _gluon_index(match: re.Match[str]) -> str:
    """Gluon counts a stage's convolutions; the first block of stages 2 and 3 has a third, in its shortcut."""
    stage, block, part, which = match.groups()
    return f"stage{stage}_{part}{2 * int(block) + int(which) - 1 + (stage != '1' and block != '0')}."


def _gluon_norm(match: re.Match[str]) -> str:
    """In v2 a shortcut has no batch norm, so each block has two."""
    stage, block, which = match.groups()
    return f"stage{stage}_batchnorm{2 * int(block) + int(which) - 1}."


def _late_blocks(depth: int) -> Rules:
    """The names of a repository that keeps the last block of a stage apart."""
    last = (depth - 2) // 6 - 1

    def block(match: re.Match[str]) -> str:
        stage, number, part, which = match.groups()
        where = "final_block" if int(number) == last else f"residual_block.{number}"
        return f"{('first', 'second', 'third')[int(stage) - 1]}_block.{where}.{3 * int(which) - 3 + (part == 'bn')}."

    return (r"^conv1\.", "first_layer."), (r"^bn1\.", "bn."), (r"^layer(\d)\.(\d+)\.(conv|bn)(\d)\.", block)


_GLUON_VALUES: Rules = ((r"^(?:arg|aux):", ""), (r"([._])gamma$", r"\1weight"), (r"([._])beta$", r"\1bias"))

VIEWS: tuple[tuple[str, Rules], ...] = (
    ("", ()),
    # A network kept inside another module, as trainers do.
    ("", ((r"^(?:(?:module|_orig_mod|model|net|network|student)\.)+", ""),)),
    ("Gluon", _GLUON_VALUES),
    (
        "Gluon",
        (
            *_GLUON_VALUES,
            (r"^[^.]*?((?:stage\d_)?(?:conv|batchnorm|dense)\d+)[._](weight|bias|running_\w+)$", r"\1.\2"),
        ),
    ),
    (
        "Hugging Face",
        (
            (r"^resnet\.embedder\.embedder\.convolution\.", "conv1."),
            (r"^resnet\.embedder\.embedder\.normalization\.", "bn1."),
            (r"^resnet\.encoder\.stages\.(\d)\.layers\.", lambda m: f"layer{int(m[1]) + 1}."),
            (r"\.shortcut\.convolution\.", ".downsample.0."),
            (r"\.shortcut\.normalization\.", ".downsample.1."),
            (r"\.layer\.(\d)\.convolution\.", lambda m: f".conv{int(m[1]) + 1}."),
            (r"\.layer\.(\d)\.normalization\.", lambda m: f".bn{int(m[1]) + 1}."),
            (r"^classifier\.1\.", "fc."),
        ),
    ),
    ("Hugging Face", ((r"^timm_model\.", ""),)),
    # The DenseNets that torchvision publishes are older than its present names.
    ("torchvision", ((r"(denselayer\d+\.(?:norm|conv))\.([12])\.", r"\1\2."),)),
)
"""Whose names they are, and the rules that make them plain. The first leaves names as they are."""

_BENCHMARKS = "RepDistiller / mdistiller"
_SHORTCUT_LINEAR: Rules = ((r"\.downsample\.", ".shortcut."), (r"^fc\.", "linear."))

LAYOUTS: dict[str, tuple[tuple[str, Rules], ...]] = {
    r"cifar_resnet\d+(x4)?": (
        ("ours", ()),
        (f"{_BENCHMARKS} / chenyaofo", ((r"\.shortcut\.", ".downsample."),)),
        ("akamaster", ((r"^fc\.", "linear."),)),
        (
            "Gluon",
            (
                *((r"^conv1\.", "conv0."), (r"^bn1\.", "batchnorm0."), (r"^fc\.", "dense0.")),
                (r"^layer(\d)\.0\.shortcut\.0\.", r"stage\1_conv2."),
                (r"^layer(\d)\.0\.shortcut\.1\.", r"stage\1_batchnorm2."),
                (r"\.bn(\d)\.", r".batchnorm\1."),
                (r"^layer(\d)\.(\d+)\.(conv|batchnorm)(\d)\.", _gluon_index),
            ),
        ),
        (
            "Gluon",
            (
                *((r"^conv1\.", "features.0."), (r"^bn1\.", "features.1."), (r"^fc\.", "output.")),
                (r"\.(conv|bn)(\d)\.", lambda m: f".body.{3 * int(m[2]) - 3 + (m[1] == 'bn')}."),
                (r"^layer(\d)", lambda m: f"features.{int(m[1]) + 1}"),
                (r"\.shortcut\.", ".downsample."),
            ),
        ),
    ),
    r"cifar_resnet\d+_a": (("ours", ()), ("akamaster", ((r"^fc\.", "linear."),))),
    **{f"cifar_resnet{depth}_a_late": (("ours", ()), ("fattorib", _late_blocks(depth))) for depth in CIFAR_DEPTHS},
    r"cifar_resnet\d+_v2": (("ours", ()),),
    r"cifar_resnet\d+_v2_bn": (
        ("ours", ()),
        (
            "Gluon",
            (
                *((r"^conv1\.", "conv0."), (r"^bn([01])\.", r"batchnorm\1."), (r"^fc\.", "dense0.")),
                (r"^layer(\d)\.0\.shortcut\.", r"stage\1_conv2."),
                (r"^layer(\d)\.(\d+)\.(conv)(\d)\.", _gluon_index),
                (r"^layer(\d)\.(\d+)\.bn(\d)\.", _gluon_norm),
            ),
        ),
        (
            "Gluon",
            (
                *((r"^bn0\.", "features.0."), (r"^conv1\.", "features.1."), (r"^bn1\.", "features.5.")),
                (r"^layer(\d)", lambda m: f"features.{int(m[1]) + 1}"),
                *((r"\.shortcut\.", ".downsample."), (r"^fc\.", "output.")),
            ),
        ),
    ),
    r"wrn_\d+_\d+": (
        ("ours", ()),
        (_BENCHMARKS, ((r"^layer(\d)\.", r"block\1.layer."), (r"\.shortcut\.", ".convShortcut."))),
    ),
    r"cifar_vgg\d+|cifar_\w+net_v[12]": ((_BENCHMARKS, ()),),
    r"cifar_vgg\d+_max": (("kuangliu", ()),),
    r"cifar_vgg\d+_max512": (("chenyaofo", ()),),
    r"cifar_vgg\d+_max4096": (("weiaicunzai", ()),),
    r"cifar_stem_resnet\d+": (
        ("torchvision", ()),
        (f"{_BENCHMARKS} / kuangliu", _SHORTCUT_LINEAR),
        (
            "weiaicunzai",
            (
                *((r"^conv1\.", "conv1.0."), (r"^bn1\.", "conv1.1."), (r"\.downsample\.", ".shortcut.")),
                (
                    r"^layer(\d)\.(\d+)\.(conv|bn)(\d)\.",
                    lambda m: f"layer{m[1]}.{m[2]}.residual_function.{3 * int(m[4]) - 3 + (m[3] == 'bn')}.",
                ),
                (r"^layer(\d)\.", lambda m: f"conv{int(m[1]) + 1}_x."),
            ),
        ),
    ),
    r"cifar_stem_(mobile|shuffle)net_\w+": (("chenyaofo", ()),),
    rf"{TORCHVISION}.+": (("torchvision", ()),),
    rf"{TIMM}.+": (("timm", ()),),
}
"""A pattern of architectures -> whose names its weights are met in, and the rules from our names to those."""


def layouts(name: str) -> tuple[tuple[str, Rules], ...]:
    """The layouts that this architecture's weights are met in."""
    return next(known for pattern, known in LAYOUTS.items() if re.fullmatch(pattern, name))

"""Which architectures have weights of these names and shapes, without building any. No torch.

`index.json`, made by `benchmarks/make_model_index.py`: sketch of the names -> fingerprint -> architectures.
A name or shape that this leaves open is settled by building the few that are left.
"""

from __future__ import annotations

import functools
import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

PATH = Path(__file__).with_name("index.json")
SKETCH, DIGITS = 16, 5
"""Hashes in a sketch, and hexadecimal digits of each."""

OPEN = re.compile(
    r"^(head\w*|aux_head|classif\w*|fc|last_linear|linear|dense0|output)\.|^(bn0|batchnorm0|features\.0)\."
    r"|pos_|position|rel_|relative|attention_bias|rope"
)
"""Weights whose sizes are not the architecture's alone: heads, what meets the input, what knows the image's size."""
SURPLUS = re.compile(
    r"(num_batches_tracked|relative_position_index|relative_coords_table|attn_mask|attention_bias_idxs)$"
    r"|^AuxLogits\.|^aux[12]\.|(^|\.)total_(ops|params)$"
)
"""What files may hold beyond the weights: tables a network makes for itself, heads used in training only, and a
profiler's counts."""
TRIVIAL = re.compile(r"^(batchnorm0|features\.0)\.(weight|bias)$")
"""Gluon's input batch norm has a scale of 1 and an offset of 0, which files may hold."""

Shapes = Mapping[str, tuple[int, ...]]


@functools.cache
def read_index() -> dict[str, dict[str, list[str]]]:
    """Sketch -> fingerprint -> architectures, the plain variant first."""
    return json.loads(PATH.read_text())


def indexed_names(prefix: str) -> list[str]:
    """The architectures in the index whose names start so, sorted."""
    groups = (names for group in read_index().values() for names in group.values())
    return sorted({name for names in groups for name in names if name.startswith(prefix)})


def with_fingerprint(shapes: Shapes) -> list[str]:
    """Architectures that may have these weights, the plain variant first."""
    print_ = fingerprint(shapes)
    return [name for group in read_index().values() for name in group.get(print_, ())]


def _counts(name: str) -> bool:
    return not SURPLUS.search(name) and not TRIVIAL.search(name)


def fingerprint(shapes: Shapes) -> str:
    """A hash of names and shapes that K, up to 4 input channels and the image's size leave as it is."""
    lines = sorted(f"{name} {_shape(name, shapes[name])}" for name in shapes if _counts(name))
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:10]


def _shape(name: str, shape: tuple[int, ...]) -> str:
    if OPEN.search(name):
        # A head that is a 1x1 convolution is a linear layer.
        return str(2 if shape[2:] == (1, 1) else len(shape))
    if len(shape) == 4 and shape[1] <= 4:
        return str((shape[0], *shape[2:]))
    return str(shape)


def sketch(names: Iterable[str]) -> str:
    """The smallest hashes of the names; the more two sketches share, the more do the names (Broder, 1997)."""
    hashes = sorted(hashlib.sha256(n.encode()).hexdigest()[:DIGITS] for n in names if _counts(n))
    return "".join(hashes[:SKETCH])


def similar(names: Iterable[str], count: int) -> list[str]:
    """Up to this many architectures, those that share most names first, each the first of its kind."""
    ours = _hashes(sketch(names))

    def shared(theirs: str) -> float:
        both = sorted(ours | _hashes(theirs))[:SKETCH]
        return len(set(both) & ours & _hashes(theirs)) / len(both)

    best = sorted(read_index(), key=shared, reverse=True)[:count]
    return [group[0] for theirs in best if shared(theirs) > 0 for group in read_index()[theirs].values()][:count]


def _hashes(text: str) -> set[str]:
    return {text[i : i + DIGITS] for i in range(0, len(text), DIGITS)}

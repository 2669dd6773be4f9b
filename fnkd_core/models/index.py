"""Which architectures have weights of these names and shapes, without building any. No torch.

`index.json`, made by `benchmarks/make_model_index.py`: under "names", sketch of the names -> fingerprint ->
architectures; under "orders", the order of shapes -> architectures. A name or shape that this leaves open is settled by
building the few that are left.
"""

from __future__ import annotations

import functools
import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TypedDict

PATH = Path(__file__).with_name("index.json")
SKETCH, DIGITS = 16, 5
"""Hashes in a sketch, and hexadecimal digits of each."""

HEADS = re.compile(r"^(aux_head|last_linear|dense0|(head|classif|fc|linear|output|logits)\w*)\.")
"""Heads, which people replace: an architecture is known by its body."""
OPEN = re.compile(r"^(bn0|batchnorm0|features\.0)\.|pos_|position|rel_|relative|attention_bias|rope")
"""Weights whose sizes are not the architecture's alone: what meets the input, what knows the image's size."""
SURPLUS = re.compile(
    r"(num_batches_tracked|relative_position_index|relative_coords_table|attn_mask|attention_bias_idxs)$"
    r"|^AuxLogits\.|^aux[12]\.|(^|\.)total_(ops|params)$|^(first|second|third)_block\.(conv_block|bn)\."
)
"""What files may hold beyond the weights: tables a network makes for itself, heads used in training only, a
profiler's counts, and blocks that were copied and are never called themselves."""
TRIVIAL = re.compile(r"^(batchnorm0|features\.0)\.(weight|bias)$")
"""Gluon's input batch norm has a scale of 1 and an offset of 0, which files may hold."""

Shapes = Mapping[str, tuple[int, ...]]


class Index(TypedDict):
    """names: sketch -> fingerprint -> architectures. orders: order of shapes -> architectures. The plain one first."""

    names: dict[str, dict[str, list[str]]]
    orders: dict[str, list[str]]


@functools.cache
def read_index() -> Index:
    """The index, read once."""
    return json.loads(PATH.read_text())


def indexed_names(prefix: str) -> list[str]:
    """The architectures in the index whose names start so, sorted."""
    groups = (names for group in read_index()["names"].values() for names in group.values())
    return sorted({name for names in groups for name in names if name.startswith(prefix)})


def with_fingerprint(shapes: Shapes) -> list[str]:
    """Architectures whose body may have these weights, the plain variant first."""
    print_ = fingerprint(shapes)
    return [name for group in read_index()["names"].values() for name in group.get(print_, ())]


def with_order(shapes: Shapes) -> list[str]:
    """Architectures whose body has weights of these shapes in this order, whatever they are called."""
    return read_index()["orders"].get(order_of_shapes(shapes), [])


def _counts(name: str) -> bool:
    return not SURPLUS.search(name) and not TRIVIAL.search(name) and not HEADS.search(name)


def fingerprint(shapes: Shapes) -> str:
    """A hash of the body's names and shapes that up to 4 input channels and the image's size leave as it is."""
    lines = sorted(f"{name} {_shape(name, shapes[name])}" for name in shapes if _counts(name))
    return _hash(lines)


def order_of_shapes(shapes: Shapes) -> str:
    """A hash of the body's shapes in order that goes by no name; what it leaves open is as in `fingerprint`."""
    names = in_order(shapes)
    return _hash(_shape("", shapes[name]) for name in names[: len(names) - num_trailing(shapes)])


def in_order(shapes: Shapes) -> list[str]:
    """The names of the weights, in order, without what files may hold beyond them."""
    return [name for name in shapes if not SURPLUS.search(name)]


def num_trailing(shapes: Shapes) -> int:
    """How many of the weights, from the end, belong to linear layers that nothing else follows: the head, by shapes."""
    ranks = [len(shapes[name]) for name in in_order(shapes)]
    count = 0
    while count < len(ranks):
        rest = ranks[: len(ranks) - count]
        if rest[-1] == 2:
            count += 1
        elif rest[-2:] == [2, 1]:
            count += 2
        else:
            break
    return count


def _hash(lines: Iterable[str]) -> str:
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:10]


def _shape(name: str, shape: tuple[int, ...]) -> str:
    if OPEN.search(name):
        return str(len(shape))
    if len(shape) == 4 and shape[1] <= 4:
        return str((shape[0], *shape[2:]))
    # Of three dimensions are embeddings of places, one for each patch.
    return f"3 {shape[-1]}" if len(shape) == 3 and not name else str(shape)


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

    sketches = read_index()["names"]
    best = sorted(sketches, key=shared, reverse=True)[:count]
    return [group[0] for theirs in best if shared(theirs) > 0 for group in sketches[theirs].values()][:count]


def _hashes(text: str) -> set[str]:
    return {text[i : i + DIGITS] for i in range(0, len(text), DIGITS)}

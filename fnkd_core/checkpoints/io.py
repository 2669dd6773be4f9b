"""Reading and writing checkpoints: safetensors and a card. Files of others come in through `gate`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from fnkd_core.checkpoints.card import Card, card_path, write_card
from fnkd_core.checkpoints.library import find_checkpoint
from fnkd_core.errors import UserError, require
from fnkd_core.files import replacing, sha256
from fnkd_core.models.architecture import Architecture
from fnkd_core.models.classifier import Classifier
from fnkd_core.models.zoo import build


def write_checkpoint(path: str | Path, state: Mapping[str, Tensor], card: Card) -> Card:
    """Write weights and card; returns the card with the weights' sha256.

    Both are written before either takes its place, so that a full disk leaves both as they were. Stopped between the
    two, the old weights are not those of the new card, which loading says.
    """
    path = Path(path)
    with replacing(path) as weights, replacing(card_path(path)) as beside:
        save_file({k: v.detach().cpu().contiguous() for k, v in state.items()}, weights)
        card = Card(**(card.to_dict() | {"sha256": sha256(weights)}))
        write_card(beside, card)
    return card


def load_checkpoint(ref: str | Path) -> tuple[Classifier, Card]:
    """The classifier, in evaluation mode on the CPU, and its card. ref: a name or a path.

    `UserError` in one line where the file is missing, broken, not what its card says, or does not fit the
    architecture.
    """
    entry = find_checkpoint(ref)
    card = entry.card
    assert card is not None
    entry.require_its_file()
    state = read_state(entry.path)
    architecture = Architecture.from_dict(card.architecture)
    classifier = build(architecture, card.mean, card.std, image_size=(card.image_size[0], card.image_size[1]))
    _load_strictly(classifier, state, entry.path.name)
    return classifier.eval(), card


def read_state(path: Path) -> dict[str, Tensor]:
    """Names and tensors of a safetensors file.

    `UserError` where the file is not whole, is empty, or holds numbers that are not finite. Their shapes are the
    file's.
    """
    try:
        state = load_file(path)
    except (SafetensorError, OSError) as error:
        raise UserError(f"{path.name} is not a whole safetensors file ({str(error)[:100]}); copy it again.") from None
    require(bool(state), f"{path.name} holds no tensors; copy it again.")
    broken = [k for k, v in state.items() if v.is_floating_point() and not bool(torch.isfinite(v).all())]
    require(not broken, f"{path.name} has values that are not finite in {', '.join(broken[:3])}; it is no use.")
    return state


def _load_strictly(classifier: Classifier, state: dict[str, Tensor], name: str) -> None:
    wanted = classifier.state()
    # Older files leave the scale of a cosine head to the card.
    missing = [k for k in wanted if k not in state and k != f"{classifier.head_name}.scale"]
    strange = [k for k in state if k not in wanted]
    shapes = [
        f"{k} {tuple(v.shape)} instead of {tuple(wanted[k].shape)}"
        for k, v in state.items()
        if k in wanted and v.shape != wanted[k].shape
    ]
    for what, keys in (("lacks", missing), ("has unknown", strange), ("has other shapes:", shapes)):
        if keys:
            more = f" and {len(keys) - 3} more" if len(keys) > 3 else ""
            raise UserError(
                f"{name} does not fit {classifier.architecture.name}: it {what} {', '.join(keys[:3])}{more}; "
                "correct the card's architecture."
            )
    classifier.load(state)

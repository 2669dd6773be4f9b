"""Whether what a store says can be trusted: one line per check. No torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from fnkd_core.checkpoints.card import Card

HEAD_TOLERANCE = 1e-4
"""Relative to logits of order 10; float32 rounding stays two orders below."""


@dataclass(frozen=True)
class Check:
    """One finding. level: `good`, `warning` (numbers may mislead) or `bad` (numbers are wrong)."""

    level: Literal["good", "warning", "bad"]
    text: str


def health(card: Card, manifest: dict[str, Any]) -> list[Check]:
    """Label space, dead outputs, head, normalisation, and the card's own accuracy, in this order."""
    num_classes, dead = len(manifest["classes"]), manifest["dead_outputs"]
    checks = [Check("good", f"Label space fits: {num_classes} classes, the same names in the same order.")]
    if dead:
        names = ", ".join(manifest["classes"][k] for k in dead[:5]) + (" ..." if len(dead) > 5 else "")
        checks.append(Check("warning", f"{len(dead)} of {num_classes} outputs never pass 1 %: {names}."))
    else:
        checks.append(Check("good", "No dead outputs: each is sure of some image."))
    error = manifest["head_error"]
    if error <= HEAD_TOLERANCE:
        checks.append(Check("good", f"head(f) equals the logits (largest difference {error:.1g}), so ‖f‖ is theirs."))
    else:
        checks.append(Check("bad", f"head(f) differs from the logits by {error:.2g}; ‖f‖ is not the norm behind them."))
    mean, std = ([f"{x:.3g}" for x in values] for values in (card.mean, card.std))
    checks.append(Check("good", f"Input normalisation known: mean {', '.join(mean)}, std {', '.join(std)}."))
    if card.architecture.get("head") == "cosine":
        checks.append(Check("warning", "Cosine head: its logits do not grow with ‖f‖, so the norm says less here."))
    claimed = card.metrics.get(card.metrics.get("weights", "last"), {}).get("accuracy")
    same_data = (card.dataset, card.label_space) == (manifest["dataset"], manifest["label_space"])
    if manifest["split"] == "test" and same_data and claimed is not None:
        gap = abs(claimed - manifest["accuracy"])
        # Autocast and another machine's arithmetic move single images over the boundary.
        if gap * manifest["num_samples"] < 1.5 or gap < 0.002:
            checks.append(Check("good", f"Accuracy as its card says: {claimed:.4f}."))
        else:
            text = f"Accuracy is {manifest['accuracy']:.4f} here, the card says {claimed:.4f}; is this the same data?"
            checks.append(Check("warning", text))
    elif manifest["split"] == "train" and same_data:
        checks.append(Check("warning", "This is the training split: accuracy and norms flatter the model."))
    return checks

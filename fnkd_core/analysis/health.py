"""Whether what a store says can be trusted: one line per check. No torch."""

from __future__ import annotations

from typing import Any

from fnkd_core.checkpoints.card import Card, Finding

HEAD_TOLERANCE = 1e-4
"""Relative to logits of order 10; float32 rounding stays two orders below."""


def health(card: Card, manifest: dict[str, Any]) -> list[Finding]:
    """Label space, dead outputs, head, normalisation, the card's accuracy, and what its import found, in this order."""
    num_classes, dead = len(manifest["classes"]), manifest["dead_outputs"]
    moved, matched = manifest["matched"]["moved"], manifest["matched"]["accuracy"]
    checks = [Finding("good", f"Label space fits: {num_classes} classes, the same names in the same order.")]
    if moved:
        text = f"{moved} of {num_classes} outputs seem to stand for other classes than their names say: accuracy "
        text += f"{manifest['accuracy']:.3f}, matched {matched:.3f}. Import its file again for this data to reorder."
        checks = [Finding("bad", text)]
    if dead:
        names = ", ".join(manifest["classes"][k] for k in dead[:5]) + (" ..." if len(dead) > 5 else "")
        checks.append(Finding("warning", f"{len(dead)} of {num_classes} outputs never pass 1 %: {names}."))
    else:
        checks.append(Finding("good", "No dead outputs: each passes 1 % on some image."))
    error = manifest["head_error"]
    if error <= HEAD_TOLERANCE:
        checks.append(Finding("good", f"head(f) equals the logits (largest difference {error:.1g}), so ‖f‖ is theirs."))
    else:
        checks.append(
            Finding("bad", f"head(f) differs from the logits by {error:.2g}; ‖f‖ is not the norm behind them.")
        )
    mean, std = ([f"{x:.3g}" for x in values] for values in (card.mean, card.std))
    checks.append(Finding("good", f"Input normalisation in its card: mean {', '.join(mean)}, std {', '.join(std)}."))
    if card.architecture.get("head") == "cosine":
        checks.append(Finding("warning", "Cosine head: its logits do not grow with ‖f‖, so the norm says less here."))
    claimed = card.reached.get("accuracy")
    split = manifest["split"]
    if card.provenance:  # it says what it was measured on
        same_data = card.provenance.get(split) == manifest["identity"]
    else:
        same_data = (card.dataset, card.label_space) == (manifest["dataset"], manifest["label_space"])
    if split == "test" and same_data and claimed is not None:
        gap = abs(claimed - manifest["accuracy"])
        # Autocast and another machine's arithmetic move single images over the boundary.
        if gap * manifest["num_samples"] < 1.5 or gap < 0.002:
            text = f"Accuracy as its card says: {claimed:.4f}."
            if f"{claimed:.4f}" != f"{manifest['accuracy']:.4f}":
                text = f"Accuracy is {manifest['accuracy']:.4f} here, its card says {claimed:.4f}, which is close."
            checks.append(Finding("good", text))
        else:
            text = f"Accuracy is {manifest['accuracy']:.4f} here, the card says {claimed:.4f}; is this the same data?"
            checks.append(Finding("warning", text))
    elif split == "test" and card.provenance.get("test") and claimed is not None:
        text = f"Accuracy is {manifest['accuracy']:.4f} here; its card's {claimed:.4f} is of other images or labels."
        checks.append(Finding("warning", text))
    elif split == "train" and same_data:
        checks.append(Finding("warning", "This is the training split: accuracy and norms flatter the model."))
    return checks + [Finding(**finding) for finding in card.findings]

"""What a run saves after an epoch, and goes on from."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from fnkd_core.checkpoints.card import Card
from fnkd_core.checkpoints.io import write_checkpoint
from fnkd_core.errors import UserError, require
from fnkd_core.files import replacing, write_text
from fnkd_core.kd import objective as by_name
from fnkd_core.training.config import FREE
from fnkd_core.training.prepare import Setup


def _card(setup: Setup, history: list[dict[str, Any]], name: str, weights: str) -> Card:
    best = max(history, key=lambda line: line["test_accuracy"])
    config, info = setup.config, setup.info
    short = {"accuracy": "test_accuracy", "nll": "test_nll", "ece": "test_ece", "norm": "test_norm", "epoch": "epoch"}
    return Card(
        name=name,
        architecture=setup.student.architecture.to_dict(),
        dataset=info.name,
        label_space=info.label_space,
        classes=list(info.classes),
        mean=list(info.mean),
        std=list(info.std),
        image_size=list(info.image[1:]),
        crop_pct=info.crop_pct,
        interpolation=info.interpolation,
        method=config.method,
        parameters=dict(setup.parameters),
        metrics={
            "last": {short_name: history[-1][key] for short_name, key in short.items()},
            "best": {short_name: best[key] for short_name, key in short.items()},
            "weights": weights,
        },
        teacher=config.teacher if by_name.method(config.method).needs_teacher else None,
        seed=config.seed,
        epochs=config.epochs,
        source="trained with FNKD Lab",
        created=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def _write_model(setup: Setup, history: list[dict[str, Any]], path: Path, weights: str = "last") -> None:
    state = {k: v.detach().cpu().contiguous() for k, v in setup.student.state().items()}
    name = setup.config.name or path.parent.name
    write_checkpoint(path, state, _card(setup, history, name, weights))


def _save(setup: Setup, history: list[dict[str, Any]], folder: Path) -> None:
    """Best model if this epoch is it, then the state, then the line that shows it."""
    folder.mkdir(parents=True, exist_ok=True)
    accuracies = [line["test_accuracy"] for line in history]
    if accuracies[-1] > max(accuracies[:-1], default=-1.0):
        _write_model(setup, history, folder / "best.safetensors", weights="best")
    state = {
        "config": setup.config.to_dict(),
        "network": setup.student.state(),
        "learnt": setup.learnt,
        "optimizer": setup.optimizer.state_dict(),
        "history": history,
    }
    with replacing(folder / "state.pt") as temporary:
        torch.save(state, temporary)
    with (folder / "metrics.jsonl").open("a") as file:
        file.write(json.dumps(history[-1]) + "\n")
        file.flush()
        os.fsync(file.fileno())


def _resume(setup: Setup, folder: Path) -> list[dict[str, Any]]:
    """The epochs already done in this folder, with student and optimiser as they were after the last."""
    path = folder / "state.pt"
    if not path.exists():
        (folder / "metrics.jsonl").unlink(missing_ok=True)
        return []
    try:
        state = torch.load(path, weights_only=True, map_location=setup.device)
    except Exception as error:
        raise UserError(f"{path} cannot be read ({type(error).__name__}); delete it to start again.") from None
    now = setup.config.to_dict()
    changed = [key for key, value in state["config"].items() if key not in FREE and now.get(key) != value]
    require(
        not changed,
        f"{folder} holds a run with another {', '.join(changed)}; resume it unchanged, or use a new folder.",
    )
    setup.student.load(state["network"])
    if setup.learnt is not None:
        setup.learnt.data.copy_(state["learnt"])
    setup.optimizer.load_state_dict(state["optimizer"])
    history: list[dict[str, Any]] = state["history"]
    # A run killed between the state and its line has the line here only.
    write_text(folder / "metrics.jsonl", "".join(json.dumps(line) + "\n" for line in history))
    return history

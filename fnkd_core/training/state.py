"""What a run saves after an epoch and goes on from, and what it leaves when it is done."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from fnkd_core.checkpoints.card import Card
from fnkd_core.checkpoints.io import read_state, write_checkpoint
from fnkd_core.data import Samples
from fnkd_core.errors import UserError
from fnkd_core.files import append_json, replacing, write_json, write_text
from fnkd_core.kd import objective as by_name
from fnkd_core.models.classifier import Classifier
from fnkd_core.records import read_json
from fnkd_core.training.evaluate import evaluate
from fnkd_core.training.resolve import Resolved
from fnkd_core.training.setup import Setup

MEASURED = ("accuracy", "nll", "ece", "norm", "agreement")


@dataclass(frozen=True)
class Results:
    """What the student reached on the test split, each with epoch, accuracy, nll, ece, norm and agreement.

    last: of the last epoch. best: of the epoch that was best on validation, None where nothing was held out.
    best_on_test: epoch and accuracy of the best epoch on the test split itself, for comparison with tables that are
    made so; None where something was held out, since nothing looks at the test split before the end then. raw: of the
    last epoch's own weights where the others are of their average.
    """

    last: Mapping[str, Any]
    best: Mapping[str, Any] | None
    best_on_test: Mapping[str, Any] | None
    raw: Mapping[str, Any] | None = None


NEXT = "best-next-"
"""With its epoch behind it, the name of a model that is the best as soon as that epoch is saved."""


class State:
    """A run's finished epochs, and its folder where it has one.

    history: a line of metrics for each. Made from a folder, student and optimiser are as after the last of them. Of
    several processes, the first alone writes.
    """

    def __init__(self, setup: Setup, folder: Path | None) -> None:
        self.setup, self.folder = setup, folder
        self.history: list[dict[str, Any]] = []
        self._best: dict[str, Tensor] | None = None
        if folder is not None:
            self._read(folder)

    @property
    def best(self) -> dict[str, Any] | None:
        """The line of the epoch that was best on validation, the first of equals; None where nothing is held out."""
        held_out = [line for line in self.history if line["evaluated_on"] == "validation"]
        return max(held_out, key=lambda line: line["accuracy"], default=None)

    def save(self, line: dict[str, Any]) -> None:
        """The model if this epoch is the best, then the state, then the line that shows it.

        The model takes the place of the best one before when the state says so: what is lost before that is trained
        again, and then need not be the best, as where another device rounds otherwise.
        """
        self.history.append(line)
        if self.best is line:
            self._keep_best()
        if self.folder is None or not self.setup.group.leads:
            return
        state: dict[str, Any] = {
            "network": self.setup.student.state(),
            "learnt": self.setup.learnt,
            "projector": None if self.setup.projector is None else self.setup.projector.state_dict(),
            "optimizer": self.setup.optimizer.state_dict(),
            "scaler": self.setup.scaler.state_dict(),
            "history": self.history,
        }
        if self.setup.average is not None:
            state |= {"average": self.setup.average.network.state(), "averaged": self.setup.average.steps}
        # Into an open file: writing to a path, torch does not say why it could not.
        with replacing(self.folder / "state.pt") as temporary, temporary.open("wb") as file:
            torch.save(state, file)
        self._settle_best(self.folder)
        append_json(self.folder / "metrics.jsonl", line)

    def best_weights(self) -> dict[str, Tensor]:
        """Of the epoch that was best on validation."""
        if self._best is None:
            assert self.folder is not None
            self._best = read_state(self.folder / "best.safetensors")
        return self._best

    def _keep_best(self) -> None:
        weights = copied(self.setup.kept)
        if self.folder is None or not self.setup.group.leads:
            self._best = weights
            return
        self._best = None
        path = self.folder / f"{NEXT}{self.history[-1]['epoch']}.safetensors"
        write_checkpoint(path, weights, card(self, None, "best"))

    def _settle_best(self, folder: Path) -> None:
        """Have the model that waits be the best one if the epoch that made it is saved; else there is none of it."""
        name = f"{NEXT}{self.best['epoch']}" if self.best is not None else ""
        for waits in folder.glob(f"{NEXT}*"):
            if waits.stem == name:
                waits.replace(folder / f"best{waits.suffix}")
            else:
                waits.unlink()

    def _read(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / "state.pt"
        if not self.setup.group.agreed(path.exists()):
            if self.setup.group.leads:
                self._settle_best(folder)
                (folder / "metrics.jsonl").unlink(missing_ok=True)
            return
        try:
            state = torch.load(path, weights_only=True, map_location=self.setup.device)
            self.setup.student.load(state["network"])
            if self.setup.learnt is not None:
                self.setup.learnt.data.copy_(state["learnt"])
            if self.setup.projector is not None:
                self.setup.projector.load_state_dict(state["projector"])
            if self.setup.average is not None:
                self.setup.average.network.load(state["average"])
                self.setup.average.steps = state["averaged"]
            self.setup.optimizer.load_state_dict(state["optimizer"])
            self.setup.scaler.load_state_dict(state["scaler"])
            self.history = list(state["history"])
        except Exception as error:
            raise UserError(f"{path} cannot be read ({type(error).__name__}); delete it to start again.") from None
        # A run killed between the state and its line has the line here only.
        if self.setup.group.leads:
            self._settle_best(folder)
            write_text(
                folder / "metrics.jsonl", "".join(json.dumps(line, allow_nan=False) + "\n" for line in self.history)
            )


def copied(student: Classifier) -> dict[str, Tensor]:
    """The weights as they are now, on the CPU, whatever becomes of the student.

    Their shapes are the student's.
    """
    return {k: v.detach().cpu().clone() for k, v in student.state().items()}


def finish(setup: Setup, state: State, test: Samples, teacher: Tensor | None) -> Results:
    """Measure the last and the best epoch on the test split, and leave their weights, cards and `results.json`.

    teacher: (N, M) the predictions of its M teachers there.
    """
    last_line, best_line = state.history[-1], state.best
    last_weights = copied(setup.kept)
    last = {"epoch": last_line["epoch"], **evaluate(setup.kept, test, teacher, setup.group)}
    raw = None
    if setup.average is not None:
        raw = {"epoch": last_line["epoch"], **evaluate(setup.student, test, teacher, setup.group)}
    best = None
    if best_line is last_line:
        best = dict(last)
    elif best_line is not None:
        setup.kept.load(state.best_weights())
        best = {"epoch": best_line["epoch"], **evaluate(setup.kept, test, teacher, setup.group)}
    on_test = [line for line in state.history if line["evaluated_on"] == "test"]
    flattering = max(on_test, key=lambda line: line["accuracy"], default=None)
    shown = {key: flattering[key] for key in ("epoch", "accuracy")} if flattering else None
    results = Results(last, best, shown, raw)
    if state.folder is not None and setup.group.leads:
        write_checkpoint(state.folder / "model.safetensors", last_weights, card(state, results, "last"))
        if best_line is not None:
            write_checkpoint(state.folder / "best.safetensors", state.best_weights(), card(state, results, "best"))
        write_json(state.folder / "results.json", asdict(results))
        # Nothing goes on from here; it is as large as all the rest.
        (state.folder / "state.pt").unlink(missing_ok=True)
    return results


def results_in(folder: Path) -> Results | None:
    """The results of a run that was done, or None."""
    path = folder / "results.json"
    return read_json(path, Results, "delete it to measure them again") if path.exists() else None


def card(state: State, results: Results | None, weights: str) -> Card:
    """The card of the student's weights. results: once it is finished. weights: `last` or `best`."""
    setup = state.setup
    resolved: Resolved = setup.resolved
    config, info = resolved.config, resolved.info
    name = config.name or (state.folder.name if state.folder else config.method)
    metrics: dict[str, Any] = {"weights": weights} | ({"ema": config.ema} if config.ema else {})
    if results is not None:
        metrics["last"] = dict(results.last)
        if results.best is not None:
            metrics["best"] = dict(results.best)
        if results.raw is not None:
            metrics["raw"] = dict(results.raw)
    validation = state.best if weights == "best" else state.history[-1]
    if validation is not None and validation["evaluated_on"] == "validation":
        metrics["validation"] = {key: validation[key] for key in ("epoch", *MEASURED)}
    return Card(
        name=name,
        architecture=setup.student.architecture.to_dict(),
        dataset=info.name,
        label_space=info.label_space,
        classes=list(info.classes),
        mean=list(resolved.normalisation[0]),
        std=list(resolved.normalisation[1]),
        image_size=list(info.image[1:]),
        crop_pct=info.crop_pct,
        interpolation=info.interpolation,
        method=config.method,
        parameters=dict(resolved.parameters),
        metrics=metrics,
        teacher=config.teacher if by_name.method(config.method).needs_teacher else None,
        seed=config.seed,
        epochs=config.epochs,
        source="trained with FNKD Lab",
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        provenance={**resolved.identities, "run": resolved.identity},
        generation=resolved.generation,
        ancestry=dict(resolved.ancestry) if by_name.method(config.method).needs_teacher else {},
    )

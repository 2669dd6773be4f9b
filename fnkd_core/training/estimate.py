"""How long a run will take, from a few of its own steps, timed in a process of its own.

    python -m fnkd_core.training.estimate FOLDER

times the run whose configuration is in FOLDER/config.json and writes FOLDER/cost.json. In the process that asks, which
serves pages, neither the number of threads nor a random generator is touched.
"""

from __future__ import annotations

import json
import math
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fnkd_core.errors import UserError, require
from fnkd_core.files import temporary_folder, write_json
from fnkd_core.identity import digest
from fnkd_core.machine import collect_seldom
from fnkd_core.paths import cache_dir, environment
from fnkd_core.records import recall
from fnkd_core.training.config import RunConfig
from fnkd_core.training.planned import Asking, to_ask
from fnkd_core.training.resolve import Resolved, resolve

if TYPE_CHECKING:
    from torch import Tensor

LIMIT_S = 300
FREE_OF_COST = (
    "seed", "epochs", "lr", "momentum", "nesterov", "weight_decay", "schedule", "milestones", "gamma", "warmup_epochs",
    "per_class", "min_lr", "views", "view_seed", "label_noise", "noise_kind", "validation", "parameters", "similar",
    "decay_norm_and_bias", "only", "exclude", "relabel", "init", "freeze", "body_lr",
    "smoothing", "hard_weight", "weight_by_norm",
)  # fmt: skip
"""Settings that change nothing about the time of a step."""


@dataclass(frozen=True)
class Cost:
    """Seconds of a step of the optimiser, of evaluating one image, and of asking the teacher of one beforehand."""

    step_s: float
    image_s: float
    asked_s: float = 0.0

    def parts(self, found: Resolved, num_runs: int = 1, asking: Asking | None = None) -> tuple[float, float]:
        """Seconds of the whole run in two: in which the teacher is asked of the views that are not kept, before the
        first step, and all the others, but for loading the data.

        num_runs: that each cost as much, one after another. The time is that of one process, also of a run that several
        devices share. asking: what teachers are asked of for all of them, in place of what this one asks.
        """
        config, (train, held_out) = found.config, found.num_images
        each = math.ceil(train / config.batch_size) * self.step_s + held_out * self.image_s
        asking = asking or to_ask([found])
        asked = asking.images * self.asked_s if asking else 0.0
        return asked, num_runs * (config.epochs * each + 2 * found.info.size("test") * self.image_s)


def step_settings(config: RunConfig, *but: str) -> dict[str, Any]:
    """The settings that the time of a step depends on, but for these."""
    return {k: v for k, v in config.deciding().items() if k not in (*FREE_OF_COST, *but)}


def cost_key(found: Resolved) -> str:
    """Equal for runs whose steps take as long."""
    config = found.config
    settings = step_settings(config)
    return digest([settings, found.identities["teacher"], found.info.image, config.threads, config.device])


def cost_of(config: RunConfig) -> Cost:
    """What the run's steps cost on this machine as busy as it is now, timed in a process of its own.

    `UserError` where the run cannot be made, or the process fails.
    """
    with temporary_folder(cache_dir() / "estimate") as folder:
        write_json(folder / "config.json", config.to_dict())
        try:
            subprocess.run(
                [sys.executable, "-m", "fnkd_core.training.estimate", str(folder)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env=environment(),
                timeout=LIMIT_S,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise UserError(f"A few steps of this run took more than {LIMIT_S} s here; it is too large.") from None
        answer = recall(folder / "cost.json")
    require("error" not in answer, str(answer.get("error")))
    require("step_s" in answer, "The time could not be measured: its process gave no answer; free some memory.")
    return Cost(**answer)


def measure(config: RunConfig, num_steps: int = 3) -> Cost:
    """Time `num_steps` real steps and a batch of evaluation, each after one to warm up, on random images of the data's
    size. In this process, whose threads and random generator it changes."""
    import torch

    from fnkd_core.kd import objective as by_name
    from fnkd_core.models.inference import predict
    from fnkd_core.training.augmented import Batch
    from fnkd_core.training.given import any_given
    from fnkd_core.training.setup import objective_at, prepare
    from fnkd_core.training.step import train_step
    from fnkd_core.training.teacher import LiveTeacher, Recited, Teach, Together, at_size, reading

    resolved = resolve(config)
    num_train, image = resolved.info.sizes[0], resolved.view.image
    setup = prepare(resolved, num_train)
    parameters = by_name.complete(config.method, config.parameters, by_name.ANY)
    setup.resolved = replace(resolved, parameters=parameters)
    setup.given = any_given(setup.teacher, config.method) if setup.teacher is not None else {}
    setup.objective = objective_at(setup)
    generator = torch.Generator().manual_seed(0)
    batch = min(config.batch_size, num_train)
    images = torch.randint(0, 256, (batch, *image), dtype=torch.uint8, generator=generator).to(setup.device)
    labels = torch.randint(0, len(resolved.info.classes), (batch,), generator=generator).to(setup.device)
    whole = Batch(torch.arange(batch), torch.arange(batch, device=setup.device), images, labels, batch)
    asked_s = 0.0
    if setup.teachers and setup.objective.soft:
        asks = [reading(teacher, teacher.image_size) for teacher in setup.teachers]
        each: list[Teach] = [LiveTeacher(ask, resolved.precision) for ask in asks]
        if config.teacher_outputs == "cached":
            plain = Together([LiveTeacher(ask, "fp32") for ask in asks])
            asked_s = _timed(lambda: plain(whole)[-1].logits.sum(), 1) / batch / len(each)
            each = [Recited(live(whole)) for live in each]
        setup.teach = Together(each)
    setup.student.train()
    step_s = _timed(lambda: train_step(setup, whole, 1e-6)["loss"], num_steps)
    own = at_size(images, setup.student.image_size)
    image_s = _timed(lambda: [o.logits.sum() for o in predict(setup.student, own)][-1], 1) / batch
    return Cost(step_s, image_s, asked_s)


def _timed(work: Callable[[], Tensor], times: int) -> float:
    """Seconds that it takes, until its result is on the CPU; after one time that is not counted, in which a device
    loads what it runs, and for whose end it waits."""
    work().cpu()
    begun = time.perf_counter()
    for _ in range(times):
        result = work()
    result.cpu()
    return (time.perf_counter() - begun) / times


def _answer(folder: Path) -> None:
    try:
        cost = asdict(measure(RunConfig.from_dict(json.loads((folder / "config.json").read_text()))))
    except UserError as error:
        write_json(folder / "cost.json", {"error": str(error)})
    else:
        write_json(folder / "cost.json", cost)


if __name__ == "__main__":
    collect_seldom()
    _answer(Path(sys.argv[1]))

"""One run on several devices of a Ray cluster: Ray's TorchTrainer starts its ranks, and this process waits for them.

    python -m fnkd_core.jobs.cluster.together '{"address": "10.0.0.1:6379"}' FOLDER

is the process of a run that is trained so. It owns the run; Ray begins all ranks again where one is lost, and they go
on from the last finished epoch in the run's folder.
"""

from __future__ import annotations

import contextlib
import functools
import io
import json
import sys
from collections.abc import Sequence
from typing import Any

from fnkd_core.errors import UserError, one_line
from fnkd_core.files import discard
from fnkd_core.jobs.cluster.ray import RETRIES, Cluster, connected
from fnkd_core.jobs.cluster.tasks import be_one_of
from fnkd_core.jobs.launch.rank import first_error
from fnkd_core.jobs.launch.torchrun import forget_ranks, wait_for_ranks
from fnkd_core.jobs.run import Run
from fnkd_core.jobs.worker import work
from fnkd_core.machine import collect_seldom
from fnkd_core.paths import cache_dir
from fnkd_core.training.config import RunConfig


def train_on(cluster: Cluster, run: Run, config: RunConfig) -> None:
    """Train the run in `config.devices` processes of the cluster, and wait until they have ended. For its owner.

    `UserError` with what the first rank that failed had to say, or where ranks were lost too often.
    """
    import ray.train as rays
    from ray.train.torch import TorchConfig, TorchTrainer

    forget_ranks(run)
    cpus, gpus = cluster.wanted(config)
    # What Ray keeps for itself; nothing is asked of it.
    notes = cache_dir() / "ray" / run.id
    notes.parent.mkdir(parents=True, exist_ok=True)
    trainer = TorchTrainer(
        be_one_of,
        train_loop_config={"folder": str(run.path)},
        torch_config=TorchConfig(backend="cpu:gloo,cuda:nccl" if gpus else "gloo"),
        scaling_config=rays.ScalingConfig(
            num_workers=config.devices,
            use_gpu=gpus > 0,
            resources_per_worker={"CPU": cpus / config.devices} | ({"GPU": gpus / config.devices} if gpus else {}),
        ),
        run_config=rays.RunConfig(
            name=run.id, storage_path=str(notes.parent), failure_config=rays.FailureConfig(max_failures=RETRIES)
        ),
    )
    try:
        with contextlib.redirect_stdout(io.StringIO()):  # Ray's words on what it begins again
            trainer.fit()
    except rays.TrainingFailedError as error:
        raise UserError(_reason(error)) from None
    except BaseException:
        cluster.close()
        raise
    finally:
        wait_for_ranks(run)
        if notes.exists():
            discard(notes)
    if found := first_error(run):
        raise found


def _reason(error: Any) -> str:
    """What the ranks ended with that Ray has begun again too often."""
    causes = [getattr(cause, "cause", cause) for cause in getattr(error, "worker_failures", {}).values()]
    said = next((str(cause) for cause in causes if isinstance(cause, UserError)), None)
    what = one_line(str(causes[0] if causes else error).strip().rpartition("\n")[2]).rstrip(".")
    return said or (
        f"Processes of this run were lost {RETRIES + 1} times ({what}); resume the run to go on from its last finished "
        "epoch."
    )


def command(address: str) -> Sequence[str]:
    """What to start a run with instead of its usual process."""
    return sys.executable, "-m", "fnkd_core.jobs.cluster.together", json.dumps({"address": address})


def main(where: Any, folder: str) -> int:
    """Train the run in this folder; returns a process exit code."""
    with connected(where["address"]) as cluster:
        return work(folder, queue=False, engine=functools.partial(train_on, cluster))


if __name__ == "__main__":
    collect_seldom()
    try:
        sys.exit(main(json.loads(sys.argv[1]), sys.argv[2]))
    except UserError as error:
        sys.exit(str(error))

"""Ray: runs as tasks of a cluster that somebody else has started. It is imported when a cluster is connected to.

A task does what a local worker does, on the same folder under the same lock, so `FNKD_HOME` must lie on storage that
all nodes share. That storage is the truth; what Ray remembers of tasks, and loses with its head node, is not asked.
"""

from __future__ import annotations

import contextlib
import importlib.util
import logging
import re
import socket
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from fnkd_core.errors import UserError, one_line, require
from fnkd_core.jobs.cluster.tasks import train_run
from fnkd_core.paths import environment
from fnkd_core.training.config import RunConfig

ANSWER_S = 3.0
"""A machine that does not take a connection within this is not there."""
CONNECT_S = 60.0
"""A cluster that does not let a program in within this does not; by itself Ray would go on for two minutes."""
RETRIES = 5
"""So often a task is begun again whose worker or node was lost. Each goes on from the run's last finished epoch."""
_ADDRESS = re.compile(r"(?P<host>[\w.-]+|\[[0-9a-fA-F:]+\]):(?P<port>\d{1,5})")
_PROBE = "import sys, ray; ray.init(address=sys.argv[1], configure_logging=False, log_to_driver=False)"


def require_reachable(address: str | None) -> str:
    """The address of a cluster that lets this program in; nothing is ever started here. `UserError` otherwise.

    A process of its own tries it: an attempt that fails cannot be ended, and writes on the terminal.
    """
    if not address:
        raise UserError(
            "Engine 'ray' needs the address of a running cluster; start one with `ray start --head`, and give it as "
            "--address HOST:PORT."
        )
    found = _ADDRESS.fullmatch(address)
    if found is None or int(found["port"]) > 65535:
        raise UserError(f"--address must be HOST:PORT of a cluster's head, such as 127.0.0.1:6379, got {address!r}.")
    require(
        importlib.util.find_spec("ray") is not None,
        "Ray is not installed here; `pip install 'fnkd-lab[ray]'` brings it.",
    )
    try:
        socket.create_connection((found["host"].strip("[]"), int(found["port"])), ANSWER_S).close()
    except OSError as error:
        raise _unreachable(address, error.strerror or "no answer") from None
    try:
        tried = subprocess.run(
            [sys.executable, "-c", _PROBE, address], capture_output=True, text=True, errors="replace", timeout=CONNECT_S
        )
    except subprocess.TimeoutExpired:
        raise _unreachable(address, f"no cluster answered within {CONNECT_S:g} s") from None
    if tried.returncode:
        raise _unreachable(address, _reason(tried.stderr))
    return address


def _unreachable(address: str, why: str) -> UserError:
    return UserError(
        f"No Ray cluster can be used at {address} ({why}); start one with `ray start --head`, or give another "
        "--address, and have the token of one that asks for it in RAY_AUTH_TOKEN or ~/.ray/auth_token."
    )


def _reason(said: str) -> str:
    """What an attempt to connect has ended with, from what it wrote."""
    if "AuthenticationError" in said:
        return "it asks for another token"
    errors = re.findall(r"^[\w.]*(?:Error|Exception): (.+(?:\n(?!Traceback| ).+)*)", said, re.M)
    return one_line(errors[-1] if errors else said.strip()[-300:] or "no reason was given").rstrip(".")


@contextlib.contextmanager
def connected(address: str | None) -> Iterator[Cluster]:
    """The cluster at this address, until the block ends: what is still at work there for it is ended then.

    `UserError` in one line where there is none.
    """
    address = require_reachable(address)
    import ray

    mine = environment()
    ray.init(
        address=address,
        runtime_env={"env_vars": {name: mine[name] for name in ("FNKD_HOME", "PYTHONPATH")}},
        log_to_driver=False,
        logging_level=logging.ERROR,
    )
    cluster = Cluster(ray)
    try:
        yield cluster
    finally:
        cluster.close()


class Cluster:
    """A connection to a cluster, and the tasks that it has been given. Made by `connected`."""

    def __init__(self, ray: Any, cpus: float | None = None, gpus: float | None = None) -> None:
        self._ray, self._cpus, self._gpus = ray, cpus, gpus
        self._tasks: dict[Any, Path] = {}

    def sharing(self, cpus: float | None, gpus: float | None) -> Cluster:
        """The same cluster, where each run has so many processors and graphics cards; None leaves it to the run.

        `UserError` where Ray has no such share.
        """
        require(cpus is None or cpus > 0, f"--cpus-per-run must be > 0, got {cpus}.")
        require(
            gpus is None or (gpus >= 0 and (gpus < 1 or gpus == int(gpus))),
            f"--gpus-per-run must be a whole number, or a share below 1 of one, got {gpus}.",
        )
        return Cluster(self._ray, cpus, gpus)

    def close(self) -> None:
        """End what is still at work for this process, and leave the cluster."""
        self._ray.shutdown()

    def total(self, resource: str) -> float:
        """How much of a resource, `CPU` or `GPU`, the living nodes have together."""
        return float(self._ray.cluster_resources().get(resource, 0))

    def nodes(self) -> list[dict[str, float]]:
        """The resources of each living node."""
        return [dict(node["Resources"]) for node in self._ray.nodes() if node["Alive"]]

    def wanted(self, config: RunConfig) -> tuple[float, float]:
        """(processors, graphics cards) for a run: for each of its devices its threads, and a card if it may use one."""
        cpus = self._cpus if self._cpus is not None else max(config.threads, 1) * config.devices
        if self._gpus is not None:
            return cpus, self._gpus
        wants = config.device.startswith("cuda") or (config.device == "auto" and self.total("GPU") > 0)
        return cpus, float(config.devices if wants else 0)

    def division(self, devices: int | None) -> tuple[int, float, float]:
        """(tasks, processors of each, graphics cards of each) among which one piece of work is divided.

        devices: how many tasks; by default one a graphics card, or one a node where there is none.
        """
        require(devices is None or devices >= 1, f"--devices must be >= 1, got {devices}.")
        cards = int(self.total("GPU"))
        if cards:
            return devices or cards, 1, 1
        processors = [node["CPU"] for node in self.nodes() if node.get("CPU", 0) >= 1]
        if devices is None and processors:
            return len(processors), min(processors), 0
        return devices or 1, 1, 0

    def say_room(self, configs: Iterable[RunConfig]) -> None:
        """Print what the runs wait for, where no node that is there now is large enough for one."""
        nodes = self.nodes()
        for cpus, gpus in sorted({self.wanted(config) for config in configs}):
            if not any(node.get("CPU", 0) >= cpus and node.get("GPU", 0) >= gpus for node in nodes):
                print(
                    f"No node of the cluster has what a run wants, CPU: {cpus:g} and GPU: {gpus:g}; such runs wait "
                    "until one joins."
                )

    def start(self, path: Path, config: RunConfig, comparison: Path) -> None:
        """Have a run of a comparison trained in the folder `path`, which its task makes where it is missing."""
        cpus, gpus = self.wanted(config)
        self.give(path, train_run, str(path), config.to_dict(), str(comparison), cpus=cpus, gpus=gpus)

    def give(self, path: Path, function: Callable[..., Any], *values: Any, cpus: float, gpus: float) -> None:
        """Have a function called with these values by a process of its own on some node. path: what it works on.

        Where its process or node is lost it is called again, so it must be able to go on from what it has left.
        """
        # A process keeps what a task did to it, its number of threads and its memory on a device among it.
        task = self._ray.remote(max_calls=1, max_retries=RETRIES, num_cpus=cpus, num_gpus=gpus)(function)
        self._tasks[task.remote(*values)] = path

    def ended(self, timeout_s: float) -> list[tuple[Path, str | None]]:
        """What has ended since the last time, each with what went wrong around it, or None.

        Waits for at most so long for one.
        """
        if not self._tasks:
            return []
        done, _ = self._ray.wait(list(self._tasks), num_returns=1, timeout=timeout_s)
        return [(self._tasks.pop(task), self._problem(task)) for task in done]

    def _problem(self, task: Any) -> str | None:
        errors = self._ray.exceptions
        try:
            self._ray.get(task)
        except errors.TaskCancelledError:
            return None
        except errors.RayTaskError as error:
            cause = error.cause
            return str(cause) if isinstance(cause, UserError) else one_line(f"{type(cause).__name__}: {cause}")
        except errors.RayError as error:
            said = one_line(str(error).strip().partition("\n")[0])
            return f"its process was lost {RETRIES + 1} times ({said}); the same command goes on from what it has left."
        return None

    def drop(self, path: Path) -> None:
        """Take back a task that may not have begun yet; one that has is interrupted."""
        for task, its in self._tasks.items():
            if its == path:
                self._ray.cancel(task)

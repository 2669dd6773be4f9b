"""The process that has a comparison's runs trained on a Ray cluster.

`python -m fnkd_core.experiments.on_ray '{"address": "10.0.0.1:6379", "cpus": null, "gpus": 1}' FOLDER`
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import Any, TypedDict

from fnkd_core.errors import UserError
from fnkd_core.experiments.comparison import work
from fnkd_core.jobs.cluster.ray import connected
from fnkd_core.machine import collect_seldom


class Where(TypedDict):
    """Which cluster, and how many processors and graphics cards each run has there; None: what the run asks for."""

    address: str
    cpus: float | None
    gpus: float | None


def command(where: Where) -> Sequence[str]:
    """What to start a comparison with instead of its usual process."""
    return sys.executable, "-m", "fnkd_core.experiments.on_ray", json.dumps(where)


def main(where: Any, folder: str) -> int:
    """Work on the comparison in this folder; returns a process exit code."""
    with connected(where["address"]) as cluster:
        return work(folder, cluster=cluster.sharing(where["cpus"], where["gpus"]))


if __name__ == "__main__":
    collect_seldom()
    try:
        sys.exit(main(json.loads(sys.argv[1]), sys.argv[2]))
    except UserError as error:
        sys.exit(str(error))

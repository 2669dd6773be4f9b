"""What must be light to import is light."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

from fnkd_core.paths import project_dir

LIGHT = (
    "fnkd_core", "fnkd_core.kd.methods", "fnkd_core.data", "fnkd_core.checkpoints.library",
    "fnkd_core.checkpoints.importing.gate", "fnkd_core.training.config", "fnkd_core.stores.store",
    "fnkd_core.analysis.tables", "fnkd_core.experiments.comparison",
    "fnkd_core.stores.curves", "fnkd_core.analysis.health", "fnkd_core.jobs.control", "fnkd_core.jobs.worker",
    "fnkd_core.jobs.tasks", "fnkd_core.jobs.tasking", "fnkd_core.stores.pieces", "fnkd_core.stores.upkeep",
    "fnkd_core.plots.norms", "fnkd_core.plots.models", "fnkd_core.cli", "fnkd_core.data.download.fetch",
    "fnkd_core.analysis.confusion", "fnkd_core.plots.samples", "fnkd_core.jobs.dispatcher",
    "fnkd_core.jobs.launch.rank", "fnkd_core.jobs.launch.torchrun", "fnkd_core.jobs.cluster.together",
    "fnkd_core.experiments.on_ray",
    "fnkd_core.training.estimate", "fnkd_core.checkpoints.importing.sandbox",
)  # fmt: skip


def imported(module: str) -> set[str]:
    code = f"import sys, {module}; print(' '.join({{m.partition('.')[0] for m in sys.modules}}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=project_dir(), check=True)
    assert not done.stderr, "a server that is started would say so"
    return set(done.stdout.split())


def test_they_are_imported_without_torch_and_without_streamlit() -> None:
    heavy = "{'torch', 'torchvision', 'streamlit'} & set(sys.modules)"
    code = f"import importlib, sys\nfor name in {LIGHT}:\n    importlib.import_module(name); assert not {heavy}, name"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=project_dir())
    assert done.returncode == 0, done.stderr


# How often a process of ours collects garbage while it imports torch, and what it has imported with what it needs.
BEGUN = """
import gc, json, sys
from fnkd_core.cli import main
main(["methods"])
before = gc.get_stats()[2]["collections"]
import torch
found = {"passes": gc.get_stats()[2]["collections"] - before, "collects": gc.isenabled()}
from fnkd_core.models.recognition.shapes import network_shapes
found["shapes"] = len(network_shapes("cifar_resnet8", 10))
found["compiler"] = "torch._dynamo" in sys.modules
import fnkd_core.jobs.worker, fnkd_core.training.loop
print(json.dumps(found | {"reads tables": "pandas" in sys.modules}))
"""


@pytest.fixture(scope="module")
def begun() -> dict[str, Any]:
    done = subprocess.run([sys.executable, "-c", BEGUN], capture_output=True, text=True, cwd=project_dir(), check=True)
    assert not done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_a_run_begins_without_what_reads_tables(begun: dict[str, Any]) -> None:
    assert not begun["reads tables"]


def test_every_process_of_ours_collects_garbage_seldom_before_it_imports_anything_large(begun: dict[str, Any]) -> None:
    lines = ('if __name__ == "__main__":\n', "    collect_seldom()\n")
    for path in (project_dir() / "fnkd_core").rglob("*.py"):
        text = path.read_text()
        assert lines[0] not in text or "".join(lines) in text, path
    served = (project_dir() / "app.py").read_text()
    assert "for each session.\n    collect_seldom()\n" in served
    # The one is due from before, of little; without it there are three.
    assert begun["passes"] <= 1 and begun["collects"]


def test_a_network_s_shapes_are_known_without_torch_s_compiler(begun: dict[str, Any]) -> None:
    assert begun["shapes"] == 56 and not begun["compiler"]


def test_the_pages_need_no_torch_until_a_model_is_used() -> None:
    modules = ", fnkd_core.ui.".join(
        (
            "fnkd_core.ui.frame",
            "overview",
            "browse",
            "selection",
            "soft_targets",
            "two_models",
            "comparisons",
            "distill",
            "similar_classes",
            "runs",
            "jobs",
        )
    )
    assert "torch" not in imported(modules)

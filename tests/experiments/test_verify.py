"""A run that is trained again comes out to the bit, and what comes out otherwise is said."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from fnkd_core import cli
from fnkd_core.errors import UserError
from fnkd_core.experiments.comparison import create_comparison
from fnkd_core.experiments.plan import plan
from fnkd_core.experiments.verify import verify
from fnkd_core.jobs.run import Run, create_run
from fnkd_core.jobs.worker import work
from fnkd_core.records import read_json
from fnkd_core.training.config import RunConfig

BASE: dict[str, Any] = {"epochs": 2, "per_class": 4, "student": "cifar_resnet8", "threads": 1, "batch_size": 16}


@pytest.fixture
def run() -> Run:
    run = create_run(RunConfig(method="fn", teacher="digits-teacher", **BASE).to_dict())
    assert work(run.path, queue=False) == 0
    return run


def test_a_run_comes_out_to_the_bit_and_nothing_is_left_of_the_second(run: Run, home: Path) -> None:
    before = {path: path.read_bytes() for path in run.path.rglob("*") if path.is_file()}
    found = verify(run)
    assert found.same and (found.epochs, found.other, found.weights) == (2, None, True)
    assert {path: path.read_bytes() for path in run.path.rglob("*") if path.is_file()} == before
    assert not any((home / "cache" / "verifying").iterdir())


def test_a_number_that_was_another_is_named(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    lines = [json.loads(line) for line in (run.path / "metrics.jsonl").read_text().splitlines()]
    lines[1]["loss"] += 1e-12
    (run.path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert cli.main(["runs", "verify", run.id, "--json"]) == 1
    answer, said = capsys.readouterr()
    assert f"{run.id}: loss of epoch 2: " in said
    (row,) = json.loads(answer)["runs"]
    assert row["weights"] and not row["same"] and not json.loads(answer)["same"]


def test_a_run_that_would_be_another_today_is_refused(run: Run) -> None:
    path = run.path / "resolved.json"
    path.write_text(json.dumps(read_json(path, dict[str, Any]) | {"identity": "of before"}))
    with pytest.raises(UserError, match="would be another one today"):
        verify(run)
    with pytest.raises(UserError, match="only what has finished can be trained again"):
        verify(create_run(RunConfig(**BASE).to_dict()))


def test_one_that_is_stopped_says_how_far_it_was(run: Run) -> None:
    def stop(event: object) -> None:
        if not hasattr(event, "eta_s"):  # an epoch has ended
            raise KeyboardInterrupt

    with pytest.raises(UserError, match=f"Run {run.id}, trained again, was stopped after 1 of 2 epochs"):
        verify(run, stop)


def test_who_comes_while_it_is_trained_again_is_told_to_wait_and_disturbs_nothing(run: Run) -> None:
    refused = []

    def come(event: object) -> None:
        if not refused:
            with pytest.raises(UserError, match=f"Run {run.id} is being trained again by another process") as error:
                verify(run)
            refused.append(error)

    assert verify(run, come).same and refused


def test_cells_of_a_comparison_are_picked_at_random(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    cells = plan(BASE | {"teacher": "digits-teacher", "validation": run.config["validation"]}, ["fn"], [0], {})
    comparison = create_comparison(cells, "demo")
    assert cli.main(["runs", "verify", "--of", comparison.id, "--cells", "1"]) == 0
    assert f"{run.id}: 2 epochs, the test split and the weights are the same to the bit" in capsys.readouterr().out
    assert cli.main(["runs", "verify", "--of", comparison.id]) == 2
    assert "Got 3 runs to pick" in capsys.readouterr().err
    assert cli.main(["runs", "verify"]) == 2
    assert "Name the runs to train again, or give --of COMPARISON" in capsys.readouterr().err

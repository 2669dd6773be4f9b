"""`fnkd compare`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from fnkd_core import cli
from fnkd_core.experiments.comparison import find_comparison
from fnkd_core.experiments.status import statuses_of
from fnkd_core.jobs import control
from fnkd_core.jobs.queue import hand_in, unchanged
from fnkd_core.jobs.run import create_run
from fnkd_core.locks import locked
from fnkd_core.training.config import RunConfig
from tests.waiting import until

QUICK = ["--teacher", "digits-teacher", "--epochs", "1", "--per-class", "4", "--threads", "1"]


def test_compare_runs_the_matrix_skips_what_is_done_and_writes_tables_and_a_plot(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    arguments = ["compare", *QUICK, "--methods", "kd", "--seeds", "3", "--grid", "T=2,4", "--out", str(tmp_path)]
    assert cli.main([*arguments, "--json"]) == 0
    out, said = capsys.readouterr()
    found = json.loads(out)
    assert "6 runs, 0 of them done" in said
    assert found["state"] == "finished"
    assert [row["row"] for row in found["rows"]] == ["kd T=2", "kd T=4"]
    assert all(row["num_seeds"] == 3 and row["agreement"] is not None for row in found["rows"])
    forth, back = found["probability_higher"]["kd T=4"]["kd T=2"], found["probability_higher"]["kd T=2"]["kd T=4"]
    assert forth + back == pytest.approx(1)
    table = (tmp_path / "results.md").read_text()
    assert table.splitlines()[0].startswith(
        "| row | seeds | test accuracy, last epoch | 95 % interval | that of the epoch best on validation "
        "| accuracy on validation, last epoch |"
    )
    assert len((tmp_path / "results.csv").read_text().splitlines()) == 7
    assert {p.name for p in tmp_path.glob("*.html")} == {"intervals.html", "norm-accuracy.html", "kd-T.html"}
    # What was trained is readable wherever its number is.
    assert found["settings"]["lr"] == 0.05 and found["settings"]["per_class"] == 4
    assert "All runs: " in said and "lr 0.05" in said and "lr 0.05" in (tmp_path / "results.md").read_text()
    page = (tmp_path / "intervals.html").read_text()
    assert "#0B63CE" in page and '"#000001"' not in page
    ids = {run["run"] for run in found["runs"]}
    assert cli.main([*arguments, "--json"]) == 0
    out, said = capsys.readouterr()
    assert "6 runs, 6 of them done" in said
    assert {run["run"] for run in json.loads(out)["runs"]} == ids


def test_each_row_can_be_shown_at_its_best_and_all_of_them_stay_in_the_table_of_runs(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reached = {"kd lr=0.1": 0.4, "kd lr=0.2": 0.6, "lskd lr=0.1": 0.7, "lskd lr=0.2": 0.5}
    monkeypatch.setattr("fnkd_core.cli.compare._foreground_comparison", lambda *_: 0)
    monkeypatch.setattr(
        "fnkd_core.experiments.status.results",
        lambda found: [
            s.result() | {"state": "finished", "validation": reached[s.cell.row], "accuracy": 0.5} for s in found
        ],
    )
    arguments = ["compare", *QUICK, "--methods", "kd,lskd", "--seeds", "1", "--grid", "lr=0.1,0.2", "--at-best", "lr"]
    assert cli.main([*arguments, "--out", str(tmp_path), "--json"]) == 0
    out, said = capsys.readouterr()
    found = json.loads(out)
    assert [row["row"] for row in found["rows"]] == ["kd lr=0.2", "lskd lr=0.1"] and len(found["runs"]) == 4
    text = "Each row is shown at the lr best on validation, by its seeds' mean at the last epoch."
    assert text in said and text in (tmp_path / "results.md").read_text()
    assert len((tmp_path / "results.csv").read_text().splitlines()) == 5
    assert find_comparison(found["id"]).at_best == ("lr",)


def test_a_comparison_that_has_to_wait_for_others_says_so(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fnkd_core.cli.compare._foreground_comparison", lambda *_: 0)
    arguments = ["compare", *QUICK, "--methods", "ce", "--seeds", "1"]
    assert cli.main(arguments) == 0
    assert "under way" not in capsys.readouterr().out
    other = create_run(RunConfig(epochs=1).to_dict())
    with unchanged():
        hand_in(other)
    assert cli.main(arguments) == 0
    assert "One other run is under way or waiting" in capsys.readouterr().out


def test_compare_in_the_background_goes_on_without_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["compare", *QUICK, "--methods", "ce", "--seeds", "1", "--name", "mine", "--json"]
    assert cli.main([*arguments, "--background"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["state"] == "running" and said["id"].startswith("mine-")
    comparison = find_comparison(said["id"])
    until(lambda: not comparison.working)
    assert all(s.state == "finished" for s in statuses_of(comparison.cells)), comparison.log_tail()
    for child in control._children:
        child.wait(240)


def test_a_comparison_that_is_worked_on_tells_how_it_goes(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = ["compare", *QUICK, "--methods", "ce", "--seeds", "2", "--name", "mine"]
    with monkeypatch.context() as patch:
        patch.setattr("fnkd_core.cli.compare._foreground_comparison", lambda *_: 0)
        assert cli.main([*arguments, "--json"]) == 0
    comparison = find_comparison(json.loads(capsys.readouterr().out)["id"])
    with locked(comparison.path / "lock", wait=False, busy="busy"):
        for more in ([], ["--background"]):
            assert cli.main([*arguments, *more]) == 0
            said = capsys.readouterr().out
            assert "being worked on" in said and "0 of 2" in said and "No run is finished yet." in said


def test_a_preset_leaves_out_noise_between_similar_classes_where_there_are_none(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fnkd_core.cli.compare._foreground_comparison", lambda *_: 0)
    assert cli.main(["compare", *QUICK, "--preset", "label-noise", "--seeds", "1", "--methods", "kd", "--json"]) == 0
    out, said = capsys.readouterr()
    assert "digits has no similar classes, so its wrong labels are uniform only." in said
    rows = [row["row"] for row in json.loads(out)["rows"]]
    assert rows[0] == "kd label_noise=0" and len(rows) == 5


def test_what_is_given_goes_before_what_a_preset_varies(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fnkd_core.cli.compare._foreground_comparison", lambda *_: 0)
    chosen = ["--preset", "temperature-per-sample", "--methods", "kd", "--seeds", "1", "--policy", "norm"]
    assert cli.main(["compare", *QUICK, *chosen, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    (cell,) = find_comparison(found["id"]).cells
    assert cell.row == "kd" and cell.config.parameters["policy"] == "norm" and cell.config.parameters["soft"] == 9.0


def test_rows_of_their_own_are_compared_alone_or_beside_methods_and_those_of_a_preset_with_its_recipe(
    capsys: pytest.CaptureFixture[str],
) -> None:
    def planned(*arguments: str) -> str:
        assert cli.main(["compare", *QUICK, "--seeds", "1", "--dry-run", *arguments]) == 0
        return capsys.readouterr().out

    row = ["--row", "dkd policy=norm lr=0.1,0.2"]
    assert "\ndkd policy=norm lr=0.1, dkd policy=norm lr=0.2; all with" in planned(*row)
    assert "\nkd, dkd policy=norm lr=0.1, dkd policy=norm lr=0.2; all with" in planned("--methods", "kd", *row)
    said = planned("--preset", "short-runs", "--methods", "kd,ce", "--row", "he")
    assert (
        "student_norm=teacher" in said
        and ", ce lr=0.2, ce lr=0.1, ce lr=0.4, he; all with" in said
        and "dist" not in said
    )
    assert "lr 0.2 unless a row says another, schedule onecycle, views 4" in said
    other = planned("--preset", "short-runs", "--methods", "fn", "--recipe", "quick")
    assert "lr 0.05" in other and "views" not in other


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["--grid", "lr=0.1,0.2", "--lr", "0.1"],
            "lr is varied by the grid, and given as 0.1; leave one out.",
        ),
        (["--methods", "kd,kdd"], "Unknown method 'kdd'."),
        (["--grid", "tau=x"], "tau in a grid must be a number, got 'x'."),
        (["--seeds", "0"], "A comparison needs at least one seed."),
        (["--methods", "kd", "--grid", "tau=1"], "Unknown setting, or parameter of kd, 'tau'."),
        (
            ["--grid", "lr=0.1,0.2", "--at-best", "T"],
            "Rows cannot be chosen by 'T': the grid varies lr; add it to the grid.",
        ),
        (
            ["--grid", "lr=0.1,0.2", "--at-best", "lr", "--validation", "0"],
            "Nothing is held out to choose lr by but the test split; give --validation 0.1.",
        ),
    ],
)
def test_a_wrong_comparison_is_one_line(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["compare", *QUICK, *arguments]) == 2
    assert message in capsys.readouterr().err

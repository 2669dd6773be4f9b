"""The command line: what it prints, what it answers as JSON, and how it refuses."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from fnkd_core import cli
from fnkd_core.checkpoints.io import load_checkpoint, read_state
from fnkd_core.checkpoints.library import find_checkpoint
from fnkd_core.data import dataset_info, load_split
from fnkd_core.data.download.addresses import PUBLISHED, Archive
from fnkd_core.jobs.run import create_run
from fnkd_core.kd.methods import METHODS
from fnkd_core.kd.objective import parameters
from fnkd_core.paths import project_dir
from fnkd_core.stores.extract import extracted
from fnkd_core.training.config import RunConfig
from tests.data.test_data import make
from tests.serving import FILE, Files, md5
from tests.waiting import until

TRAIN = ("train", "--dataset", "digits", "--method", "ce")


def fnkd(capsys: pytest.CaptureFixture[str], *arguments: str) -> Any:
    """The JSON of a command that succeeds."""
    assert cli.main([*arguments, "--json"]) == 0, capsys.readouterr().err
    return json.loads(capsys.readouterr().out)


def test_a_run_teaches_by_the_name_it_was_given_and_by_its_folder(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    train = [*TRAIN, "--epochs", "1", "--per-class", "5", "--threads", "1", "--name", "mine"]
    for more in ([], ["--run-dir", "own"]):
        fnkd(capsys, *train, *more)
    evaluate = ["eval", "--dataset", "digits", "--split", "test", "--checkpoint"]
    by_name, by_folder = (fnkd(capsys, *evaluate, ref) for ref in ("mine", "own"))
    assert by_name["checkpoint"]["name"].startswith("mine-") and by_name["accuracy"] == by_folder["accuracy"]
    for ref in ("mine", "own"):
        taught = [*TRAIN, "--method", "kd", "--teacher", ref, "--epochs", "1", "--per-class", "5"]
        assert fnkd(capsys, *taught, "--threads", "1")["state"] == "finished"
    assert fnkd(capsys, "runs", "show", "mine")["config"]["name"] == "mine"
    fnkd(capsys, *train, "--seed", "1")
    assert cli.main(["runs", "show", "mine"]) == 2 and "is the name of 2 runs (2" in capsys.readouterr().err
    assert cli.main(["eval", "--dataset", "digits", "--checkpoint", "mine"]) == 2
    assert "'mine' is the name of 2 runs; choose one: mine-" in capsys.readouterr().err


def test_eval_gives_the_numbers_of_a_checkpoint(capsys: pytest.CaptureFixture[str]) -> None:
    found = fnkd(capsys, "eval", "--checkpoint", "digits-teacher", "--dataset", "digits", "--split", "test")
    assert found["dataset"] == "digits" and found["split"] == "test" and found["num_samples"] == 360
    assert found["accuracy"] >= 0.975
    assert set(found["norm"]) == {"mean", "sd", "min", "max", "deciles"}
    assert len(found["accuracy_by_norm_decile"]) == 10
    assert {"nll", "ece", "samples_per_s"} <= set(found)


def test_a_run_that_is_shown_ends_with_its_newest_steps_and_what_its_soft_term_does(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    run = str(tmp_path / "run")
    fnkd(
        capsys, "train", "--method", "kd", "--teacher", "digits-teacher", "--dataset", "digits", "--epochs", "1",
        "--per-class", "9", "--run-dir", run, "--threads", "1", "--tensorboard", "--keep-epochs",
    )  # fmt: skip
    assert list((tmp_path / "run" / "tensorboard").iterdir())
    assert cli.main(["runs", "show", run]) == 0
    text = capsys.readouterr().out
    assert "epoch 1, step 1: loss" in text and "Is the soft term doing anything? Yes: in epoch 1" in text
    shown = fnkd(capsys, "runs", "show", run)
    assert shown["step"]["epoch"] == 1 and sum(shown["norms"]["counts"]) == 142
    size = sum(path.stat().st_size for path in (tmp_path / "run" / "epochs").iterdir())
    assert shown["kept_epochs"] == {"epochs": 1, "bytes": size} and "of 1 epoch are kept in epochs/, 3 kB" in text


def test_eval_takes_a_path_and_a_folder_of_images(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    root = make(tmp_path / "set", size=12)
    trained = fnkd(
        capsys, "train", "--method", "ce", "--dataset", "folder", "--data-root", str(root), "--epochs", "1",
        "--batch-size", "4", "--run-dir", str(tmp_path / "run"), "--threads", "1",
    )  # fmt: skip
    assert trained["state"] == "finished" and Path(trained["model"]).exists()
    shared = ("--dataset", "folder", "--data-root", str(root))
    found = fnkd(capsys, "eval", "--checkpoint", str(tmp_path / "run" / "model.safetensors"), *shared)
    assert found["accuracy"] == trained["last"]["accuracy"]
    assert found["norm"]["mean"] == pytest.approx(trained["last"]["norm"], rel=1e-5)


def test_train_ends_with_a_model_and_takes_the_method_s_parameters(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    teacher = str(project_dir() / "checkpoints" / "digits-teacher.safetensors")
    found = fnkd(
        capsys, "train", "--dataset", "digits", "--method", "fn", "--teacher", teacher,
        "--tau", "2", "--lambda", "1.5", "--variant", "released", "--epochs", "2", "--run-dir", str(tmp_path / "r"),
        "--threads", "1",
    )  # fmt: skip
    card = json.loads((tmp_path / "r" / "model.json").read_text())
    assert card["parameters"] == {"tau": 2.0, "lambda": 1.5, "variant": "released", "student_norm": "own"}
    assert card["teacher"] == "digits-teacher"
    assert found["epochs"] == 2 and 0 <= found["best"]["accuracy"] <= 1 and found["best"]["epoch"] in (1, 2)
    shown = fnkd(capsys, "runs", "show", str(tmp_path / "r"))
    assert shown["state"] == "finished" and len(shown["metrics"]) == 2


def test_a_foreground_run_that_is_killed_is_resumed_by_its_folder(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    run = tmp_path / "run"
    process = subprocess.Popen(
        [sys.executable, "-m", "fnkd_core", *TRAIN, "--epochs", "30", "--run-dir", str(run), "--threads", "1"],
        cwd=project_dir(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    lines = run / "metrics.jsonl"
    until(lambda: lines.exists() and len(lines.read_text().splitlines()) >= 2)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert fnkd(capsys, "runs", "show", str(run))["state"] == "interrupted"
    found = fnkd(capsys, "runs", "resume", str(run))
    assert found["state"] == "finished" and found["epochs"] == 30
    assert (run / "model.safetensors").exists()


def test_extract_and_stats_tell_the_norms(capsys: pytest.CaptureFixture[str]) -> None:
    store = fnkd(capsys, "extract", "--checkpoint", "digits-kd")
    assert Path(store["path"]).is_dir() and store["num_samples"] == 360
    found = fnkd(capsys, "stats", "--checkpoint", "digits-kd")
    assert len(found["by_decile"]) == 10 and len(found["by_class"]) == 10
    assert found["summary"]["min"] < found["summary"]["mean"] < found["summary"]["max"]


def test_lists_are_whole(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    names = {row["name"] for row in fnkd(capsys, "checkpoints", "list")["checkpoints"]}
    assert {"digits-teacher", "digits-ce", "digits-kd", "digits-fn"} <= names
    assert fnkd(capsys, "checkpoints", "show", "digits-fn")["card"]["method"] == "fn"
    assert fnkd(capsys, "runs", "list") == {"runs": []}
    added = fnkd(capsys, "data", "add", "mine", str(make(tmp_path / "set")))
    assert added["classes"] == ["ape", "bee"]
    assert "mine" in {row["name"] for row in fnkd(capsys, "data", "list")["datasets"]}
    assert fnkd(capsys, "data", "remove", "mine")["removed"]


def test_one_broken_run_hides_no_other(capsys: pytest.CaptureFixture[str]) -> None:
    good, ended, torn, empty = (create_run(RunConfig(epochs=1).to_dict()) for _ in range(4))
    (ended.path / "end.json").write_text('{"status": "cancelled"}')
    (ended.path / "spec.json").unlink()
    (torn.path / "spec.json").write_text("{")
    (empty.path / "metrics.jsonl").write_text("null\n{\n")
    problems = {row["id"]: row["problem"] for row in fnkd(capsys, "runs", "list")["runs"]}
    assert problems.pop(good.id) is None
    assert problems.pop(torn.id).startswith("spec.json is damaged (it is not JSON: ")
    assert problems == {
        ended.id: "spec.json is missing; delete the run.",
        empty.id: "metrics.jsonl is damaged (line 1: it must be an object, got None); delete the run.",
    }
    for run in (ended, torn, empty):
        assert fnkd(capsys, "runs", "delete", run.id)["deleted"]
    assert [row["id"] for row in fnkd(capsys, "runs", "list")["runs"]] == [good.id]


def test_what_was_trained_stands_beside_its_number(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    arguments = [*TRAIN[:3], "--method", "fn", "--teacher", "digits-teacher", "--epochs", "1", "--per-class", "4"]
    trained = fnkd(capsys, *arguments, "--threads", "1")
    assert trained["parameters"]["tau"] > 0 and trained["parameters"]["lambda"] == 3
    assert cli.main(["runs", "list"]) == 0
    said = capsys.readouterr().out
    assert f"tau {trained['parameters']['tau']:.3g}, lambda 3, variant paper" in said
    shown = fnkd(capsys, "runs", "show", trained["id"])
    assert shown["parameters"] == trained["parameters"] and shown["sessions"][0]["threads"] == 1
    assert shown["results"]["last"]["accuracy"] == trained["last"]["accuracy"]


def test_a_run_in_the_background_is_cancelled_and_deleted(capsys: pytest.CaptureFixture[str]) -> None:
    run = fnkd(capsys, *TRAIN, "--epochs", "500", "--background", "--threads", "1")
    fnkd(capsys, "runs", "cancel", run["id"])
    until(lambda: fnkd(capsys, "runs", "show", run["id"])["state"] == "cancelled")
    assert fnkd(capsys, "runs", "delete", run["id"])["deleted"]
    assert fnkd(capsys, "runs", "list") == {"runs": []}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["eval", "--checkpoint", "nobody"], "Unknown checkpoint 'nobody'. Available:"),
        (["eval", "--checkpoint", "/no/such.safetensors"], "does not exist"),
        (
            ["eval", "--checkpoint", "digits-ce", "--dataset", "CIFAR"],
            "Unknown data set 'CIFAR'. Nearest of 16: cifar10,",
        ),
        (
            ["eval", "--checkpoint", "digits-ce", "--split", "val"],
            "Unknown split of digits 'val'. Available: train, test",
        ),
        (["eval", "--checkpoint", "digits-ce", "--dataset", "folder"], "needs its path"),
        (["eval", "--checkpoint", "digits-ce", "--dataset", "folder", "--data-root", "/none"], "is not a folder"),
        (["train"], "needs --dataset NAME (`fnkd data list`) and --method NAME (`fnkd methods`), such as"),
        (["train", "--method", "fn"], "needs --dataset NAME (`fnkd data list`), such as `fnkd train --dataset digits"),
        (["train", "--dataset", "digits"], "needs --method NAME (`fnkd methods`), such as"),
        (["train", "--dataset", "digits", "--method", "kd"], "Choose a teacher"),
        (["train", "--dataset", "digits", "--method", "kdd"], "Nearest of 18: kd, dkd, nkd; `fnkd methods` lists all."),
        ([*TRAIN, "--tau", "1"], "Unknown parameter of method 'ce' 'tau'"),
        ([*TRAIN[:4], "kd", "--teacher", "digits-teacher", "--T", "0"], "T must be > 0, got 0.0"),
        ([*TRAIN, "--epochs", "many"], "invalid int value"),
        ([*TRAIN, "--student", "resnet"], "Unknown architecture 'resnet'. Nearest of "),
        (
            [*TRAIN, "--student", "resnet18"],
            "it can be cifar_stem_resnet18, torchvision/resnet18 or timm/resnet18; write it so",
        ),
        ([*TRAIN, "--student", "timm/resnet18x"], "Unknown architecture 'timm/resnet18x'. Nearest of "),
        ([*TRAIN, "--student", "torchvision/vit_b_16"], "cannot be built for 8x8 images"),
        ([*TRAIN, "--milestones", "0.5", "x"], "Unrecognized arguments: x"),
        ([*TRAIN, "--milestones", "x"], "Argument --milestones: numbers are wanted, got 'x'"),
        ([*TRAIN, "--lr", "nan"], "lr must be"),
        (["compare", "--preset", "few"], "Unknown choice 'few'. Nearest of 15: few-labels,"),
        (["compare", "--methods", "ce", "--student", "resnet9"], "Unknown architecture 'resnet9'. Nearest of "),
        (["checkpoints", "export", "digits-ce", "--to", "x", "--format", "tflite"], "Unknown export format 'tflite'"),
        (["runs", "show", "nothing"], "No run 'nothing'"),
        (["runs", "export", "nothing", "--to", "/tmp"], "No run 'nothing'"),
        (["nonsense"], "Unknown choice 'nonsense'. Nearest of "),
        ([], "required"),
    ],
)
def test_wrong_input_is_one_line_exit_code_2_and_with_json_one_object_and_leaves_nothing(
    capsys: pytest.CaptureFixture[str], arguments: list[str], message: str, home: Path
) -> None:
    assert cli.main(arguments) == 2
    captured = capsys.readouterr()
    assert message in captured.err and len(captured.err.strip().splitlines()) == 1
    assert len(captured.err) < 600 and not captured.out
    assert cli.main([*arguments, "--json"]) == 2
    said = json.loads(capsys.readouterr().out)
    assert set(said) == {"error"} and message in said["error"]
    assert not (home / "runs").exists() and not (home / "comparisons").exists()


def test_the_second_run_in_a_folder_is_refused(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    arguments = [*TRAIN, "--epochs", "1", "--run-dir", str(tmp_path / "r"), "--threads", "1"]
    assert cli.main(arguments) == 0
    for again in (arguments, ["train", "--run-dir", str(tmp_path / "r")]):
        assert cli.main(again) == 2
        said = capsys.readouterr().err
        assert f"already holds a run; continue it with `fnkd runs resume {tmp_path / 'r'}`" in said


@pytest.mark.parametrize("method", list(METHODS))
def test_every_parameter_of_every_method_is_an_option(capsys: pytest.CaptureFixture[str], method: str) -> None:
    with pytest.raises(SystemExit) as stop:
        cli.main(["train", "--help"])
    assert stop.value.code == 0
    text = capsys.readouterr().out
    assert method in text
    for parameter in parameters(method):
        assert f"--{parameter.name.replace('_', '-')}" in text


def test_the_module_is_the_command() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "fnkd_core", "--version"], capture_output=True, text=True, cwd=project_dir(), check=True
    )
    assert done.stdout.startswith("fnkd ")


def test_the_list_of_data_tells_what_is_here_and_where_files_that_one_has_are_read(
    capsys: pytest.CaptureFixture[str], home: Path
) -> None:
    assert cli.main(["data", "list"]) == 0
    said = capsys.readouterr().out
    assert re.search(r"^digits +here  ", said, re.M) and re.search(r"^cifar100 +not here  ", said, re.M)
    assert f"into {home / 'data'}: cifar10, cifar100, mnist" in said and "stanford_cars." not in said
    assert "DIR is what holds cifar-10-batches-py/, cifar-100-python/" in said
    for path in PUBLISHED["cifar100"].needs:
        (home / "data" / path).parent.mkdir(parents=True, exist_ok=True)
        (home / "data" / path).touch()
    assert cli.main(["data", "list"]) == 0
    assert re.search(r"^cifar100 +here  ", capsys.readouterr().out, re.M)
    assert cli.main(["data", "add", "cifar100", str(home)]) == 2
    assert "are read with --data-root DIR" in capsys.readouterr().err


def test_data_fetch_downloads_and_says_where_to(
    capsys: pytest.CaptureFixture[str], file_server: Files, publish: Callable[..., None], tmp_path: Path
) -> None:
    publish(Archive(file_server.url("a.bin"), md5(FILE), "toy/a.bin"))
    found = fnkd(capsys, "data", "fetch", "toy", "--data-root", str(tmp_path))
    assert found == {"name": "toy", "root": str(tmp_path), "num_bytes": len(FILE)}
    assert (tmp_path / "toy" / "a.bin").read_bytes() == FILE
    assert fnkd(capsys, "data", "fetch", "toy", "--data-root", str(tmp_path))["num_bytes"] == 0
    assert cli.main(["data", "fetch", "toys"]) == 2
    assert "Unknown published data set 'toys'" in capsys.readouterr().err


def test_data_similar_tells_the_groups_and_who_stands_alone(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    found = fnkd(capsys, "data", "similar", "cifar100")
    assert found["similar"] == "superclass"
    assert (found["num_groups"], found["num_grouped"], found["num_alone"]) == (20, 100, 0)
    assert found["groups"]["trees"] == ["maple_tree", "oak_tree", "palm_tree", "pine_tree", "willow_tree"]
    path = tmp_path / "groups.csv"
    path.write_text("class,group\n4,closed\n9,closed\n1,9\n")
    found = fnkd(capsys, "data", "similar", "digits", "--similar", str(path))
    assert found["groups"] == {"closed": ["4", "9"]} and found["alone"] == list("01235678")
    assert cli.main(["data", "similar", "digits", "--similar", "make,model"]) == 2
    assert "Available: auto, superclass, last_word, make" in capsys.readouterr().err


def test_a_foreign_checkpoint_is_imported_evaluated_exported_and_deleted(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    state = read_state(find_checkpoint("digits-kd").path)
    torch.save(
        {"model": {f"student.{k}": v for k, v in state.items()}, "epoch": 20, "best_acc": 98.9}, tmp_path / "kd_20"
    )
    assert (
        cli.main(["checkpoints", "import", str(tmp_path / "kd_20"), "--dataset", "digits", "--name", "mine", "--json"])
        == 0
    )
    said = capsys.readouterr().out
    found = json.loads(said.splitlines()[-1])
    assert "prefix student." in said and "Recognised as cifar_resnet8" in said
    assert found["card"]["architecture"]["num_classes"] == 10 and found["measured"]
    assert cli.main(["eval", "--checkpoint", "mine", "--dataset", "digits", "--json"]) == 0
    mine = json.loads(capsys.readouterr().out)
    assert mine["accuracy"] == pytest.approx(find_checkpoint("digits-kd").card.metrics["last"]["accuracy"], abs=0.003)  # type: ignore[union-attr]
    store = extracted(find_checkpoint("mine"), dataset_info("digits"), "test")
    with torch.inference_mode():
        wanted = load_checkpoint("digits-kd")[0](load_split("digits", "test").images).logits
    np.testing.assert_allclose(store.logits, wanted, atol=1e-5)
    out = tmp_path / "out"
    assert cli.main(["checkpoints", "export", "mine", "--to", str(out), "--format", "safetensors,state_dict"]) == 0
    assert {p.name for p in out.iterdir()} == {"mine.safetensors", "mine.pth", "mine.json"}
    assert cli.main(["checkpoints", "delete", "mine"]) == 0
    assert cli.main(["checkpoints", "show", "mine"]) == 2
    assert cli.main(["checkpoints", "import", str(tmp_path / "nothing.pth")]) == 2
    assert "is not a file; give the checkpoint's path" in capsys.readouterr().err

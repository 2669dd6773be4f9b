"""Recipes by name: what they set, what goes before them, and where they can be asked for."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from fnkd_core import cli
from fnkd_core.errors import UserError
from fnkd_core.experiments.plan import plan
from fnkd_core.jobs.run import Run
from fnkd_core.kd.methods import METHODS
from fnkd_core.training.config import RunConfig
from fnkd_core.training.described import SETTINGS
from fnkd_core.training.recipes import RECIPES, changed, with_recipe


def configured(name: str, **given: Any) -> RunConfig:
    needed = {"init": "digits-kd"} if "init" in RECIPES[name].needs else {}
    return RunConfig.from_dict(with_recipe(name, needed | given))


@pytest.mark.parametrize("method", list(METHODS))
@pytest.mark.parametrize("name", list(RECIPES))
def test_every_recipe_makes_a_run_of_every_method(name: str, method: str) -> None:
    teacher = {"teacher": "digits-teacher"} if METHODS[method].needs_teacher else {}
    config = configured(name, method=method, **teacher)
    assert changed(name, config) == {}
    assert RECIPES[name].source and RECIPES[name].purpose


def test_the_default_recipe_is_what_a_run_is_without_one() -> None:
    assert configured("quick", method="ce") == RunConfig()


def test_the_field_s_recipe_drops_its_rate_after_150_180_and_210_epochs() -> None:
    config = configured("crd240", method="kd", teacher="digits-teacher")
    assert [m * config.epochs for m in config.milestones] == [150, 180, 210]
    assert config.validation == 0 and config.parameters["T"] == 4 and config.parameters["alpha"] == 0.9


def test_the_released_run_of_fn_has_its_variant_and_another_method_has_not() -> None:
    config = configured("fnkd-released", method="fn", teacher="digits-teacher")
    assert dict(config.parameters) == {"variant": "released", "tau": 2.0, "lambda": 3.0, "student_norm": "own"}
    assert configured("fnkd-released", method="kd", teacher="digits-teacher").parameters["T"] == 4


def test_what_is_given_goes_before_the_recipe_and_takes_along_what_it_leaves_without_effect() -> None:
    config = configured(
        "crd240", method="fn", teacher="digits-teacher", optimizer="adamw", epochs=3, schedule="cosine", lr=0.002
    )
    assert (config.epochs, config.batch_size, config.optimizer, config.lr) == (3, 64, "adamw", 0.002)
    assert config.momentum == RunConfig().momentum and config.milestones == RunConfig().milestones
    assert changed("crd240", config) == {
        "epochs": (3, 240), "optimizer": ("adamw", "sgd"), "lr": (0.002, 0.05), "schedule": ("cosine", "multistep"),
    }  # fmt: skip


def test_fewer_epochs_have_as_large_a_part_of_warm_up_and_freeze() -> None:
    short = configured("patient", method="ce", epochs=60)
    assert short.warmup_epochs == 0.5 and configured("patient", method="ce", epochs=1).epochs == 1
    assert configured("patient", method="ce", epochs=900).warmup_epochs == 5
    assert configured("finetune", method="ce", epochs=10).freeze == 1
    assert configured("finetune", method="ce", epochs=5, freeze=3).freeze == 3


def test_a_setting_that_is_given_against_its_own_effect_is_still_an_error() -> None:
    with pytest.raises(UserError, match="gamma 0.2 would be ignored: the schedule cosine has none"):
        configured("patient", method="ce", gamma=0.2)


def test_a_recipe_says_what_it_cannot_do_without_and_what_there_is() -> None:
    with pytest.raises(UserError, match="The recipe finetune needs init, such as --init NAME; give it too."):
        with_recipe("finetune", {"method": "ce"})
    with pytest.raises(UserError, match="Unknown recipe 'quik'.*quick"):
        with_recipe("quik", {})


def test_a_comparison_s_runs_have_the_recipe_each_as_far_as_its_method_can() -> None:
    base = {"teacher": "digits-teacher", "epochs": 7}
    cells = plan(base, ["ce", "kd"], [0, 1], {"clip_norm": [0.5]}, recipe="patient")
    assert {cell.config.epochs for cell in cells} == {7} and {cell.config.clip_norm for cell in cells} == {0.5}
    assert {cell.config.hard_weight for cell in cells} == {None}
    assert {cell.config.parameters["hard"] for cell in cells if cell.config.method == "kd"} == {0.0}
    fn = RunConfig(**with_recipe("patient", {"method": "fn", "teacher": "digits-teacher"}))
    lskd = RunConfig(**with_recipe("patient", {"method": "lskd", "teacher": "digits-teacher"}))
    assert fn.hard_weight == 0.0 and (lskd.hard_weight, lskd.parameters["hard"]) == (None, 0.0)
    assert all(cell.config.mixup == 1.0 for cell in cells)
    assert "mixup" not in plan(base, ["ce"], [0])[0].config.deciding()


def test_a_recipe_and_an_init_from_the_command_line_train(capsys: pytest.CaptureFixture[str]) -> None:
    words = "train --dataset digits --method kd --teacher digits-teacher --recipe finetune --per-class 4 --epochs 3"
    assert cli.main([*words.split(), "--threads", "1", "--json"]) == 2
    assert "needs init, such as --init NAME" in capsys.readouterr().err
    assert cli.main([*words.split(), "--init", "digits-kd", "--threads", "1", "--json"]) == 0
    out, said = capsys.readouterr()
    assert "The student starts from digits-kd, with its head." in said
    run = Run(Path(json.loads(out)["path"]))
    assert run.config["freeze"] == 1 and run.config["epochs"] == 3 and run.config["init"] == "digits-kd"


def test_recipes_are_listed_with_their_settings_and_sources(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["recipes"]) == 0
    out = capsys.readouterr().out
    assert all(f"{name}: {one.purpose} ({one.source})" in out for name, one in RECIPES.items())
    assert "needs init" in out and "with fn: variant released" in out


def test_every_setting_of_a_run_is_described() -> None:
    of_the_data = {"dataset", "method", "parameters", "student", "teacher", "data_root", "labels", "image_size"}
    assert {f.name for f in dataclasses.fields(RunConfig)} == set(SETTINGS) | of_the_data

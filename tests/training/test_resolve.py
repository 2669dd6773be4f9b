"""A run is what it was when it began: names are looked up once, and resuming demands the same."""

from __future__ import annotations

import dataclasses
import itertools
import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from fnkd_core.checkpoints.card import read_card
from fnkd_core.checkpoints.io import load_checkpoint
from fnkd_core.checkpoints.library import find_checkpoint
from fnkd_core.data import add_folder, dataset_info, load_split
from fnkd_core.data.selections import add_to, remove_from
from fnkd_core.data.similar import save_groups
from fnkd_core.data.sources.cifar import NORMAL_10
from fnkd_core.errors import UserError
from fnkd_core.models.zoo import build
from fnkd_core.training.config import RunConfig
from fnkd_core.training.estimate import cost_key, cost_of
from fnkd_core.training.loop import Metrics, Progress, train
from fnkd_core.training.recorded import recorded
from fnkd_core.training.resolve import identity_of, look_up, resolve
from fnkd_core.training.setup import load_data, objective_of, prepare
from tests.pictures import noise, write_folder
from tests.tools import copy_checkpoint

QUICK: dict[str, Any] = {"epochs": 3, "per_class": 4, "threads": 1}


def begin(config: RunConfig, folder: Path, epochs: int = 1) -> None:
    """Train so many epochs, then stop."""
    done = 0
    for event in train(config, folder):
        done += isinstance(event, Metrics)
        if done == epochs:
            return


def finish(config: RunConfig, folder: Path) -> list[Metrics]:
    return [event for event in train(config, folder) if isinstance(event, Metrics)]


def test_what_a_run_works_on_is_recorded_before_its_first_step(tmp_path: Path) -> None:
    config = RunConfig(method="fn", teacher="digits-teacher", **QUICK)
    next(event for event in train(config, tmp_path) if isinstance(event, Progress))
    record = recorded(tmp_path)
    assert record is not None
    assert record["identities"]["teacher"] == find_checkpoint("digits-teacher").identity
    assert record["identities"]["test"] == dataset_info("digits").identity("test")
    assert record["parameters"]["tau"] > 0 and config.parameters["tau"] is None
    assert record["threads"] == 1 and record["device"] == "cpu" and record["world_size"] == 1
    assert record["identity"] == identity_of(config)


def test_a_card_tells_what_its_student_was_made_from(tmp_path: Path) -> None:
    config = RunConfig(method="kd", teacher="digits-teacher", **QUICK)
    finish(config, tmp_path)
    record, card = recorded(tmp_path), read_card(tmp_path / "model.json")
    assert record is not None
    assert card.provenance == {**record["identities"], "run": record["identity"]}


@pytest.mark.parametrize(
    ("changes", "said"),
    [({"lr": 0.02}, r"another lr \(0.05, now 0.02\)"), ({"validation": 0.2}, "another validation .* other validation")],
)
def test_a_run_is_not_continued_with_other_settings(tmp_path: Path, changes: dict[str, Any], said: str) -> None:
    begin(RunConfig(**QUICK), tmp_path)
    with pytest.raises(UserError, match=said) as error:
        finish(RunConfig(**(QUICK | changes)), tmp_path)
    assert "\n" not in str(error.value)


def test_a_run_is_not_continued_with_another_network_behind_its_teacher_s_name(tmp_path: Path, home: Path) -> None:
    copy_checkpoint(home, "digits-teacher", "t")
    config = RunConfig(method="fn", teacher="t", **QUICK)
    begin(config, tmp_path)
    for suffix in (".json", ".safetensors"):
        (home / "checkpoints" / f"t{suffix}").unlink()
    copy_checkpoint(home, "digits-ce", "t")
    with pytest.raises(UserError, match=r"began with another teacher \(t is not what it was\); restore that"):
        finish(config, tmp_path)
    for suffix in (".json", ".safetensors"):
        (home / "checkpoints" / f"t{suffix}").unlink()
    copy_checkpoint(home, "digits-teacher", "t")
    assert [m.epoch for m in finish(config, tmp_path)] == [2, 3]


def test_a_run_is_not_continued_on_changed_images(tmp_path: Path) -> None:
    root = write_folder(tmp_path / "set", size=(12, 12))
    add_folder("mine", str(root))
    config = RunConfig(dataset="mine", epochs=3, batch_size=4, threads=1)
    begin(config, tmp_path / "run")
    for part, words in (("train", "other training images"), ("test", "other test images")):
        path = root / part / "ape" / "000.jpg"
        before, stamp = path.read_bytes(), path.stat()
        noise(12, 12, 77).save(path, quality=90)
        with pytest.raises(UserError, match=words):
            finish(config, tmp_path / "run")
        path.write_bytes(before)
        os.utime(path, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    assert len(finish(config, tmp_path / "run")) == 2


def test_groups_saved_meanwhile_change_no_run_that_has_begun(tmp_path: Path) -> None:
    info = dataset_info("digits")
    save_groups(info, ("a", "a", *(None,) * 8))
    config = RunConfig(method="alsd", parameters={"epsilon_similar": 0.5}, **QUICK)
    whole = finish(config, tmp_path / "whole")
    save_groups(info, ("a", "a", *(None,) * 8))
    events = train(config, tmp_path / "cut")
    lines = [next(e for e in events if isinstance(e, Metrics))]
    save_groups(info, (None, *("b",) * 9))
    lines.append(next(e for e in events if isinstance(e, Metrics)))
    events.close()  # type: ignore[attr-defined]
    lines += finish(config, tmp_path / "cut")
    assert [m.loss for m in lines] == [m.loss for m in whole]


def test_a_student_of_its_teacher_s_network_and_seed_starts_elsewhere(tmp_path: Path) -> None:
    first = RunConfig(epochs=1, per_class=4, threads=1)
    finish(first, tmp_path / "teacher")
    teacher = str(tmp_path / "teacher" / "model.safetensors")
    second = RunConfig(method="kd", teacher=teacher, epochs=1, per_class=4, threads=1)
    finish(second, tmp_path / "student")
    third = dataclasses.replace(second, teacher=str(tmp_path / "student" / "model.safetensors"))
    starts = [prepare(resolve(config), 40).student.state() for config in (first, second, third)]
    for a, b in itertools.combinations(starts, 2):
        assert not torch.equal(a["conv1.weight"], b["conv1.weight"])
    # Methods that are compared with the same teacher start alike, whether they learn from it or not.
    plain = dataclasses.replace(second, method="ce", parameters={})
    assert torch.equal(prepare(resolve(plain), 40).student.state()["conv1.weight"], starts[1]["conv1.weight"])


def test_a_run_whose_evaluation_is_no_number_has_failed_and_says_when(tmp_path: Path) -> None:
    # One step: its loss is finite, what it makes of the weights is not.
    config = RunConfig(method="kd", parameters={"T": 1e12}, teacher="digits-teacher", epochs=1, per_class=4, threads=1)
    with pytest.raises(UserError, match=r"On the validation split the student.s .* it has diverged") as error:
        finish(config, tmp_path)
    assert "lower lr" in str(error.value) and not (tmp_path / "results.json").exists()

    def refused(name: str) -> None:
        pytest.fail(f"{name} in a file")

    for path in tmp_path.glob("*.json*"):
        for line in path.read_text().splitlines() if path.suffix == ".jsonl" else [path.read_text()]:
            json.loads(line, parse_constant=refused)


def test_a_run_that_was_measured_but_did_not_end_is_done_when_it_goes_on(tmp_path: Path) -> None:
    config = RunConfig(**QUICK)
    *_, first = train(config, tmp_path)
    *_, again = train(config, tmp_path)
    assert again == first


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_an_optimiser_has_a_learning_rate_that_suits_it(optimizer: Any) -> None:
    assert RunConfig(optimizer=optimizer).lr == {"sgd": 0.05, "adamw": 0.001}[optimizer]
    assert RunConfig(optimizer=optimizer, lr=0.2).lr == 0.2


def test_the_head_and_its_loss_are_float32_in_a_bfloat16_run() -> None:
    config = RunConfig(method="he", precision="bf16", **QUICK)
    setup = prepare(resolve(config), 40)
    images = torch.rand(8, 1, 8, 8)
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        outputs = setup.student.eval()(images)
    assert setup.resolved.precision == "bf16" and outputs.logits.dtype == torch.float32
    cosines = (
        torch.nn.functional.normalize(outputs.features) @ torch.nn.functional.normalize(setup.student.head.weight).T
    )
    scale = objective_of(setup.resolved).cosine_scale
    torch.testing.assert_close(outputs.logits, scale * cosines, atol=1e-5, rtol=1e-5)


def test_the_time_is_measured_in_another_process_and_asked_once_for_runs_that_cost_the_same() -> None:
    config = RunConfig(epochs=1)
    threads, state = torch.get_num_threads(), torch.get_rng_state()
    torch.set_num_threads(2)
    try:
        cost = cost_of(dataclasses.replace(config, threads=1))
        assert torch.get_num_threads() == 2 and torch.equal(torch.get_rng_state(), state)
    finally:
        torch.set_num_threads(threads)
    whole, longer = (sum(cost.parts(look_up(one))) for one in (config, dataclasses.replace(config, epochs=100)))
    assert 0 < whole < 600 and longer > 50 * whole
    same = (dataclasses.replace(config, name="x", seed=3, lr=0.3, epochs=7), dataclasses.replace(config, per_class=5))
    assert {cost_key(look_up(c)) for c in same} == {cost_key(look_up(config))}
    assert cost_key(look_up(dataclasses.replace(config, batch_size=64))) != cost_key(look_up(config))
    with pytest.raises(UserError, match="Unknown architecture|Unknown torchvision"):
        cost_of(dataclasses.replace(config, student="torchvision/resnet999"))


def test_the_images_of_an_epoch_are_counted_before_anything_is_loaded_as_they_are_then_loaded(tmp_path: Path) -> None:
    root = write_folder(tmp_path / "own")
    shutil.copytree(root / "test", root / "val")
    (root / "val" / "ape" / "000.jpg").unlink()
    own: dict[str, Any] = {"dataset": "folder", "data_root": str(root)}
    for settings in (
        dict[str, Any](),
        {"validation": 0.0},
        {"per_class": 5},
        own,
        own | {"validation": 0.0},
        own | {"per_class": 4},
    ):
        found = look_up(RunConfig(**settings))
        data = load_data(found)
        held_out = data.validation if data.validation is not None else data.test
        off = [abs(count - len(x)) for count, x in zip(found.num_images, (data.train, held_out), strict=True)]
        assert max(off) <= (len(found.info.classes) if found.divides_train else 0), settings


def test_all_networks_of_a_run_can_be_built_from_its_card(tmp_path: Path) -> None:
    finish(RunConfig(**QUICK), tmp_path)
    classifier, card = load_checkpoint(tmp_path / "model.safetensors")
    other = build(classifier.architecture, card.mean, card.std, (8, 8))
    other.load(classifier.state())
    assert all(torch.equal(v, other.state()[k]) for k, v in classifier.state().items())


def test_a_run_is_trained_on_a_selection_alone_or_without_it_and_says_so(tmp_path: Path) -> None:
    info = dataset_info("digits")
    keys = load_split(info, "train").keys
    chosen = add_to("some", info, "train", keys[:200], "the first")
    plain, only, without = (
        RunConfig(epochs=1, threads=1, **how) for how in ({}, {"only": "some"}, {"exclude": "some"})
    )
    data = {name: load_data(look_up(config)) for name, config in (("all", plain), ("only", only), ("without", without))}
    held = set(data["all"].validation.keys)  # type: ignore[union-attr]
    assert set(data["only"].train.keys) == set(keys[:200]) - held
    assert set(data["without"].train.keys) == set(keys[200:]) - held
    assert data["only"].validation is not None and set(data["only"].validation.keys) == held
    assert len({identity_of(config) for config in (plain, only, without)}) == 3
    assert set(look_up(plain).identities) == {"teacher", "train", "validation", "test"}
    assert look_up(only).identities["only"] == chosen.identity
    begin(without, tmp_path)
    record = recorded(tmp_path)
    assert record is not None and record["identities"]["exclude"] == chosen.identity
    assert record["config"]["exclude"] == "some"
    # Under another name it is the same; with other samples the run does not go on.
    add_to("same", info, "train", reversed(keys[:200]), "")
    assert identity_of(dataclasses.replace(without, exclude="same")) == identity_of(without)
    remove_from("some", info, "train", keys[:1])
    with pytest.raises(UserError, match="another selection to leave out"):
        finish(dataclasses.replace(without, epochs=1), tmp_path)


def test_a_run_whose_images_are_normalised_otherwise_is_another_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_folder(tmp_path / "birds")
    config = RunConfig(
        dataset="folder", data_root=str(tmp_path / "birds"), image_size=32, epochs=1, threads=1, student="cifar_resnet8"
    )
    as_ever = look_up(config)
    assert "normalisation" not in as_ever.identities
    monkeypatch.setattr("fnkd_core.data.sources.folder.normalisation", lambda classes, channels: NORMAL_10)
    other = look_up(config)
    assert (other.info.mean, other.info.std) == NORMAL_10
    assert other.identity != as_ever.identity
    begin(dataclasses.replace(config, epochs=2), tmp_path / "run")
    monkeypatch.undo()
    with pytest.raises(UserError, match="another mean and deviation of its pixels"):
        finish(dataclasses.replace(config, epochs=2), tmp_path / "run")


def test_a_selection_that_does_not_fit_is_a_sentence() -> None:
    info = dataset_info("digits")
    add_to("tested", info, "test", load_split(info, "test").keys[:3], "")
    add_to("whole", info, "train", load_split(info, "train").keys, "")
    with pytest.raises(UserError, match="not of the train split"):
        look_up(RunConfig(exclude="tested"))
    with pytest.raises(UserError, match="Unknown selection 'gone'"):
        look_up(RunConfig(only="gone"))
    with pytest.raises(UserError, match="leaves nothing"):
        RunConfig(only="whole", exclude="whole")
    with pytest.raises(UserError, match="leaves none of"):
        load_data(look_up(RunConfig(exclude="whole")))

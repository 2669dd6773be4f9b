"""A run with several teachers: its target is the mean of their probabilities, and all that names one names them all."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
import torch

from fnkd_core import cli
from fnkd_core.checkpoints.library import find_checkpoint
from fnkd_core.checkpoints.several import joined, names_of
from fnkd_core.data import Samples, load_split
from fnkd_core.errors import UserError
from fnkd_core.experiments.plan import plan, read_grid
from fnkd_core.experiments.sharing import asking_once
from fnkd_core.files import write_json
from fnkd_core.jobs.run import list_runs
from fnkd_core.kd.losses import loss_terms
from fnkd_core.kd.methods import METHODS
from fnkd_core.models.inference import predict
from fnkd_core.stores.teacher_outputs import list_teacher_outputs, teacher_of
from fnkd_core.training.config import RunConfig
from fnkd_core.training.loop import Results, train
from fnkd_core.training.planned import store_of, to_ask
from fnkd_core.training.resolve import look_up
from fnkd_core.training.setup import Setup
from fnkd_core.training.state import results_in
from fnkd_core.training.step import train_step
from tests.training.test_teacher import Asked, set_up
from tests.training.tools import QUICK, assert_resumes_to_the_same_bits, metrics, stopped

A, B = "digits-teacher", "digits-ce"
BOTH = f"{A}+{B}"


def run(method: str = "fn", teacher: str = BOTH, **changes: object) -> RunConfig:
    return RunConfig(**(QUICK | {"method": method, "teacher": teacher} | changes))  # type: ignore[arg-type]


@pytest.fixture
def samples() -> Samples:
    return load_split("digits", "train").subset(torch.arange(96))


def test_names_are_taken_apart_and_a_path_that_has_a_plus_is_not() -> None:
    assert names_of(None) == [] and joined([]) is None
    assert names_of("a+b+c") == ["a", "b", "c"] and joined(["a", "b"]) == "a+b"
    assert names_of("/x/a.safetensors+b") == ["/x/a.safetensors", "b"]
    for path in ("/home/c++/a.safetensors", "/home/a+b/c.safetensors", "a+", "+a"):
        assert names_of(path) == [path]


def test_a_run_with_one_teacher_is_what_it_was_before_there_could_be_several() -> None:
    found = look_up(run("kd", A))
    assert found.identities["teacher"] == find_checkpoint(A).identity
    assert found.to_dict()["teacher"] == {"name": A, "path": str(find_checkpoint(A).path)}
    assert "teachers" not in found.to_dict() and found.of_each == ()


def test_identity_covers_every_teacher_and_not_their_order() -> None:
    both, one, other = look_up(run()), look_up(run(teacher=A)), look_up(run(teacher=f"{A}+digits-kd"))
    assert len({both.identity, one.identity, other.identity}) == 3
    assert look_up(run(teacher=f"{B}+{A}")).identity == both.identity
    assert sorted(names_of(both.identities["teacher"])) == sorted(find_checkpoint(n).identity for n in (A, B))
    assert both.generation == 1 + max(e.card.generation for e in both.teachers if e.card)


@pytest.mark.parametrize("method", ["kd", "fn", "lskd", "dkd"])
def test_what_is_kept_of_each_gives_the_loss_of_asking_both_at_every_step(method: str, samples: Samples) -> None:
    found = {}
    for how in ("live", "cached"):
        setup, images = set_up(run(method, teacher_outputs=how, view_seed=0, batch_size=96), samples)
        assert setup.teach is not None
        setup.teach.begin(0)
        (batch,) = images.epoch(torch.arange(96), 96, 0, setup.group)
        setup.student.eval()
        found[how] = train_step(setup, batch, 0.0)["loss"]
    torch.testing.assert_close(found["live"], found["cached"], rtol=3e-3, atol=3e-3)


def test_the_loss_is_that_of_the_mean_of_the_two_teachers_probabilities_each_at_its_own_tau(samples: Samples) -> None:
    setup, images = set_up(run("fn", batch_size=96), samples)
    (batch,) = images.epoch(torch.arange(96), 96, 0, setup.group)
    q, taus = torch.zeros(96, 10, dtype=torch.float64), []
    for network in setup.teachers:
        norms = torch.cat([o.features.double().norm(dim=1) for o in predict(network, samples.images)])
        taus.append(float(norms.mean()) / 4)
        said = network(batch.images)
        q += (taus[-1] * said.logits.double() / said.features.double().norm(dim=1)[:, None]).softmax(1) / 2
    assert abs(taus[0] - taus[1]) > 0.05
    setup.student.eval()
    said = setup.student(batch.images)
    of_student = sum(taus) / 2 * said.logits.double() / said.features.double().norm(dim=1)[:, None]
    expected = -(q * of_student.log_softmax(1)).sum(1)
    assert setup.objective is not None
    both = [network(batch.images) for network in setup.teachers]
    soft = loss_terms(setup.objective, said, batch.labels, both)["soft"]
    torch.testing.assert_close(soft.double(), expected, rtol=1e-4, atol=1e-5)
    assert setup.resolved.parameters["tau"] == pytest.approx(sum(taus) / 2, rel=1e-4)
    own = [dict(one)["tau"] for one in setup.resolved.of_each]
    assert own == pytest.approx(taus, rel=1e-4)


def test_a_teacher_that_is_named_twice_teaches_what_it_teaches_alone() -> None:
    alone, twice = metrics(run("fn", A, precision="fp32")), metrics(run("fn", f"{A}+{A}", precision="fp32"))
    for a, b in zip(alone, twice, strict=True):
        assert b["soft"] == pytest.approx(a["soft"], rel=1e-3) and b["agreement"] == pytest.approx(a["agreement"])
        assert b["temperature"] == pytest.approx(a["temperature"], rel=1e-6)


def test_each_teacher_s_answers_are_shared_with_the_runs_that_have_it_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    cached = {"teacher_outputs": "cached", "views": 1}
    list(train(run("kd", A, **cached)))
    asking = to_ask([look_up(run(**cached))])
    assert asking is not None and asking.views == 1  # the other teacher's
    both = look_up(run(**cached))
    assert {teacher_of(store_of(both, teacher=entry).path) for entry in both.teachers} == {
        find_checkpoint(name).identity for name in (A, B)
    }
    list(train(run(**cached)))
    assert len({teacher_of(path) for path in list_teacher_outputs()}) == 2
    asked = Asked(monkeypatch)
    list(train(run("kd", f"{B}+{A}", **cached)))
    list(train(run("kd", B, **cached)))
    assert asked.count == 0


def test_it_goes_on_to_the_same_bits_whatever_the_order_they_are_named_in(tmp_path: Path) -> None:
    assert_resumes_to_the_same_bits(run(), tmp_path)
    (done,) = [event for event in train(run(teacher=f"{B}+{A}"), tmp_path / "other") if isinstance(event, Results)]
    whole = results_in(tmp_path / "whole")
    assert whole is not None and dict(whole.last) == dict(done.last)


def test_its_record_and_its_card_name_them_all_and_what_each_has_as_its_own(tmp_path: Path) -> None:
    list(train(run(epochs=1), tmp_path / "run"))
    record = json.loads((tmp_path / "run" / "resolved.json").read_text())
    assert sorted(one["name"] for one in record["teachers"]) == sorted((A, B)) and record["teacher"] is None
    own = [one["parameters"]["tau"] for one in record["teachers"]]
    assert own[0] != own[1] and record["parameters"]["tau"] == pytest.approx(sum(own) / 2)
    card = json.loads((tmp_path / "run" / "model.json").read_text())
    assert card["teacher"] == BOTH and card["generation"] == record["generation"]
    assert card["provenance"]["teacher"] == record["identities"]["teacher"]


def test_it_goes_on_with_the_taus_that_it_began_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stopped(run(), tmp_path / "run")
    record = json.loads((tmp_path / "run" / "resolved.json").read_text())
    for one, tau in zip(record["teachers"], (3.0, 7.0), strict=True):
        one["parameters"]["tau"] = tau
    write_json(tmp_path / "run" / "resolved.json", record)
    seen: list[Setup] = []
    from fnkd_core.training import loop

    begin = loop.begin_epoch
    monkeypatch.setattr(loop, "begin_epoch", lambda setup, epoch: (seen.append(setup), begin(setup, epoch)))
    list(train(run(), tmp_path / "run"))
    assert [one["tau"] for one in seen[0].resolved.of_each] == [3.0, 7.0]


def test_another_teacher_beside_is_another_run(tmp_path: Path) -> None:
    stopped(run(), tmp_path / "run")
    with pytest.raises(UserError, match="began with another teacher"):
        list(train(run(teacher=f"{A}+digits-kd"), tmp_path / "run"))


REFUSED = [name for name, method in METHODS.items() if method.one_teacher]


@pytest.mark.parametrize("method", REFUSED)
def test_a_method_that_reads_one_teacher_says_which_ones_take_several(method: str) -> None:
    with pytest.raises(UserError, match=r"2 teachers have no mean of; choose one teacher, or one of kd, fn, ") as error:
        run(method)
    for able in str(error.value).rpartition("one of ")[2].rstrip(".").split(", "):
        assert run(able).teacher == BOTH
    assert run(method, A).teacher == A


def test_weights_by_one_teachers_norms_are_refused() -> None:
    with pytest.raises(UserError, match="weight_by_norm weighs by the feature norms of one teacher, got 2 teachers"):
        run(weight_by_norm=1.0)


def test_ce_measures_its_agreement_with_each_in_the_mean() -> None:
    both, one, other = (metrics(run("ce", teacher, epochs=1))[0] for teacher in (BOTH, A, B))
    assert both["agreement"] == pytest.approx((one["agreement"] + other["agreement"]) / 2)
    assert both["accuracy"] == one["accuracy"]


def test_on_the_command_line_they_are_given_in_one_or_one_by_one(capsys: pytest.CaptureFixture[str]) -> None:
    few = ["--dataset", "digits", "--method", "kd", "--epochs", "1", "--per-class", "6", "--threads", "1", "--json"]
    answers = []
    for words in (["--teacher", BOTH], ["--teacher", A, "--teacher", B]):
        assert cli.main(["train", *few, *words]) == 0
        answers.append(json.loads(capsys.readouterr().out))
    assert answers[0]["last"] == answers[1]["last"]
    (newest, first) = (run.config["teacher"] for run in list_runs())
    assert newest == first == BOTH


def test_a_comparison_varies_one_teacher_and_several() -> None:
    base = {"dataset": "digits", "epochs": 1, "per_class": 6}
    cells = plan(base, ["kd", "fn"], [0], read_grid([f"teacher={A},{BOTH}"], ["kd", "fn"]))
    assert [cell.config.teacher for cell in cells] == [A, BOTH, A, BOTH]
    assert len({look_up(cell.config).identity for cell in cells}) == 4
    assert {cell.config.teacher_outputs for cell in asking_once(cells)} == {"cached"}
    with pytest.raises(UserError, match="choose one teacher"):
        plan(base | {"teacher": BOTH}, ["kd", "wkd"], [0])


def test_cells_that_share_one_of_their_teachers_ask_it_once() -> None:
    cells = plan({"dataset": "digits", "epochs": 1, "per_class": 6, "teacher": BOTH}, ["kd", "fn"], [0])
    assert {cell.config.teacher_outputs for cell in asking_once(cells)} == {"cached"}


def test_a_record_of_such_a_run_is_read_as_it_was_written() -> None:
    config = run()
    assert RunConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config
    assert dataclasses.replace(config, teacher=A) != config

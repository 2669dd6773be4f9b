"""The demo compares two students of one teacher on photographs where they can be fetched, and else on digits."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from fnkd_core import cli
from fnkd_core.data import add_folder
from fnkd_core.data.download.addresses import CIFAR10_TRAIN, PUBLISHED, Archive, Published, is_here
from fnkd_core.data.sources.cifar import CIFAR10
from fnkd_core.experiments import demo
from fnkd_core.experiments.comparison import list_comparisons
from fnkd_core.experiments.engines import Here
from fnkd_core.training.loop import train
from tests.data.test_download import tar_of
from tests.pages.tools import labelled, make_folder, opened, sentences
from tests.serving import Files, closed_port, md5

__all__ = ["opened"]


def published_at(url: str, archive: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    there = Archive(url, md5(archive), "cifar-10-batches-py")
    needs = PUBLISHED["cifar10"].needs
    monkeypatch.setitem(PUBLISHED, "cifar10", Published(len(archive), needs, lambda datasets: (there,)))


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs of an epoch on a few images, trained in this process."""
    few = {"epochs": 1, "per_class": 4, "batch_size": 20, "threads": 1}
    monkeypatch.setattr(demo, "SETTINGS", {name: values | few for name, values in demo.SETTINGS.items()})
    monkeypatch.setattr(demo, "TEACHERS", {"cifar10": ("cifar_resnet8",), "digits": ()})
    monkeypatch.setattr("fnkd_core.experiments.comparison.InQueue", lambda on_event: Here(train, on_event))


@pytest.fixture
def cifar10(file_server: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    """CIFAR-10's files as they are published, with a few images of noise of each class, on a server of this machine."""
    generator = np.random.default_rng(0)

    def part(each: int) -> bytes:
        images = generator.integers(0, 256, (10 * each, 3072), dtype=np.uint8)
        return pickle.dumps({"data": images, "labels": list(range(10)) * each})

    files = dict.fromkeys((*CIFAR10_TRAIN, "test_batch"), part(2)) | {
        "batches.meta": pickle.dumps({"label_names": list(CIFAR10)})
    }
    archive = tar_of({f"cifar-10-batches-py/{name}": data for name, data in files.items()})
    file_server.content["cifar.tar.gz"] = archive
    published_at(file_server.url("cifar.tar.gz"), archive, monkeypatch)
    monkeypatch.setattr("torchvision.datasets.cifar.check_integrity", lambda *args: True)


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody answers where CIFAR-10 is published."""
    published_at(f"http://127.0.0.1:{closed_port()}/cifar.tar.gz", b"", monkeypatch)


def said(capsys: pytest.CaptureFixture[str]) -> tuple[str, dict]:
    out, text = capsys.readouterr()
    return text, json.loads(out)


@pytest.mark.usefixtures("small", "cifar10")
def test_the_demo_fetches_photographs_trains_a_teacher_and_its_students_and_is_done_once(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert demo.has_nothing_own()
    assert cli.main(["demo", "--json"]) == 0
    text, found = said(capsys)
    assert found["dataset"] == "cifar10" and is_here("cifar10") and "3 runs on cifar10, 0 of them done" in text
    assert [row["row"] for row in found["rows"]] == ["teacher cifar_resnet8", "kd teacher=cifar_resnet8",
                                                      "fn teacher=cifar_resnet8"]  # fmt: skip
    assert all(row["num_seeds"] == 1 for row in found["rows"]) and not demo.has_nothing_own()
    assert cli.main(["demo", "cifar", "--json"]) == 0
    text, again = said(capsys)
    assert "3 of them done" in text and [run["run"] for run in again["runs"]] == [run["run"] for run in found["runs"]]


@pytest.mark.usefixtures("small", "no_network")
def test_without_a_network_the_demo_says_so_and_uses_digits(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["demo", "cifar", "--json"]) == 0
    text, found = said(capsys)
    assert "connect to the network and fetch again" in text and "goes on with digits, which come along" in text
    assert found["dataset"] == "digits" and [row["row"] for row in found["rows"]] == ["kd", "fn"]


def test_the_demo_s_own_runs_are_planned_on_both_sets() -> None:
    photographs, digits = demo.demo_cells("cifar10"), demo.demo_cells("digits")
    assert [cell.config.method for cell in photographs] == ["ce", "kd", "fn"]
    assert [cell.config.teacher for cell in photographs] == [None, "@0", "@0"]
    assert {cell.config.teacher for cell in digits} == {"digits-teacher"}


@pytest.mark.usefixtures("no_network")
def test_the_page_offers_the_demo_to_who_has_nothing_says_what_failed_and_starts_it_on_digits(
    opened: Callable[..., AppTest], monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: list[str] = []
    monkeypatch.setattr("fnkd_core.ui.demo.start", lambda comparison: begun.append(comparison.id))
    app = opened("overview")
    assert "Try it on photographs" in [header.value for header in app.subheader]
    assert not [button for button in app.button if button.label == "Start it on digits"]
    labelled(app.button, "Start the demo").click().run()  # type: ignore[attr-defined]
    assert not app.exception and not begun
    assert "connect to the network and fetch again" in app.warning[0].value
    labelled(app.button, "Start it on digits").click().run()  # type: ignore[attr-defined]
    assert not app.exception and begun == [list_comparisons()[0].id]
    assert "epochs 8" in sentences(app) and "No run has finished yet." in sentences(app)


def test_who_has_a_folder_or_may_only_look_is_offered_no_demo(
    opened: Callable[..., AppTest], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def offered() -> bool:
        return "Try it on photographs" in [header.value for header in opened("overview").subheader]

    assert offered()
    monkeypatch.setenv("FNKD_READONLY", "1")
    assert not offered()
    monkeypatch.delenv("FNKD_READONLY")
    add_folder("animals", str(make_folder(tmp_path / "animals")))
    assert not offered()

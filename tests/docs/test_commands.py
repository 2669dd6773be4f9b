"""The commands of the tutorial and of the page on one's own data work, in their order, on small stand-ins."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from fnkd_core import cli
from fnkd_core.checkpoints.library import find_checkpoint
from fnkd_core.data.download.addresses import PUBLISHED, Archive, Published
from fnkd_core.data.sources.cifar import COARSE, FINE
from fnkd_core.models.architecture import Architecture
from fnkd_core.models.zoo import build_network
from tests.data.test_download import tar_of
from tests.docs.pages import blocks, commands, run, smaller
from tests.pictures import write_folder
from tests.serving import Files, md5


def published_cifar100() -> dict[str, bytes]:
    """CIFAR-100's files as they are published, with a few images of noise of each class."""
    generator = np.random.default_rng(0)

    def part(each: int) -> bytes:
        labels = list(range(100)) * each
        images = generator.integers(0, 256, (len(labels), 3072), dtype=np.uint8)
        names = [f"{i}.png".encode() for i in range(len(labels))]
        return pickle.dumps({"data": images, "fine_labels": labels, "filenames": names})

    meta = {"fine_label_names": list(FINE), "coarse_label_names": list(COARSE)}
    files = {"train": part(3), "test": part(1), "meta": pickle.dumps(meta)}
    return {f"cifar-100-python/{name}": data for name, data in files.items()}


@pytest.fixture
def _cifar100(file_server: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    """Has the stand-in published in the place of CIFAR-100."""
    archive = tar_of(published_cifar100())
    file_server.content["cifar.tar.gz"] = archive
    there = Archive(file_server.url("cifar.tar.gz"), md5(archive), "cifar-100-python")
    needs = PUBLISHED["cifar100"].needs
    monkeypatch.setitem(PUBLISHED, "cifar100", Published(len(archive), needs, lambda datasets: (there,)))
    monkeypatch.setattr("torchvision.datasets.cifar.check_integrity", lambda *args: True)


def teacher_file(path: Path, num_classes: int) -> Path:
    """A network's weights as people publish them."""
    torch.manual_seed(0)
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(build_network(Architecture("cifar_resnet8", num_classes, 3)).state_dict(), path)
    return path


@pytest.fixture
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.usefixtures("_cifar100", "_here", "in_this_process")
def test_the_tutorial_leads_from_a_public_teacher_to_a_student_that_is_exported(
    capsys: pytest.CaptureFixture[str],
) -> None:
    teacher_file(Path("DANS/models/cifar100_resnet56.pth"), 100)
    found = commands("tutorial.md")
    assert len(found) >= 10
    for command in found:
        assert cli.main(smaller(command)) == 0, (command, capsys.readouterr().err)
    assert find_checkpoint("better").card.teacher == "resnet56"
    assert list(Path("better-student").glob("*.safetensors"))


@pytest.mark.usefixtures("_here", "in_this_process")
def test_the_page_on_one_s_own_data_leads_from_a_folder_to_a_comparison(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write_folder(tmp_path / "flowers", count=10, size=(40, 32))
    teacher_file(Path("model.pth"), 2)
    found = commands("your-own-data.md")
    assert len(found) >= 8
    for command in found:
        assert cli.main(smaller(command, {"/data/flowers": str(folder)})) == 0, (command, capsys.readouterr().err)
    names: dict[str, Any] = {}
    for line, text in blocks("your-own-data.md", "python"):
        run("your-own-data.md", line, text, names)
    assert names["logits"].shape == (8, len(names["card"]["classes"])) and names["norms"].shape == (8,)


@pytest.mark.usefixtures("_here", "in_this_process")
@pytest.mark.parametrize("page", ["../README.md", "speed.md", "teachers.md"])
def test_the_commands_of_a_page_work_in_their_order(page: str, capsys: pytest.CaptureFixture[str]) -> None:
    found = commands(page)
    assert found
    for command in found:
        assert cli.main(smaller(command)) == 0, (command, capsys.readouterr().err)

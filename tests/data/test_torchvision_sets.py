"""The small published sets, read from tiny files in exactly their published layouts."""

from __future__ import annotations

import dataclasses
import hashlib
from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat

from fnkd_core.data import dataset_info, load_split
from fnkd_core.data.download.addresses import PUBLISHED, Archive
from fnkd_core.data.sources import torchvision_sets as small
from fnkd_core.data.sources.torchvision_sets import FACTS
from fnkd_core.errors import UserError
from tests.serving import closed_port

SIZE = 6


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every set has six images in either split."""
    for name, facts in FACTS.items():
        monkeypatch.setitem(small.FACTS, name, dataclasses.replace(facts, sizes=(SIZE, SIZE)))


def pixels(name: str, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (SIZE, *FACTS[name].image), dtype=np.uint8)


def write_idx(root: Path, name: str) -> None:
    folder = root / {"mnist": "MNIST", "fashion_mnist": "FashionMNIST"}[name] / "raw"
    folder.mkdir(parents=True)
    for seed, part in enumerate(("train", "t10k")):
        sizes = b"".join(n.to_bytes(4, "big") for n in (SIZE, 28, 28))
        data = pixels(name, seed)[:, 0].tobytes()
        (folder / f"{part}-images-idx3-ubyte").write_bytes(b"\0\0\x08\x03" + sizes + data)
        labels = bytes(k % 10 for k in range(seed, seed + SIZE))
        (folder / f"{part}-labels-idx1-ubyte").write_bytes(b"\0\0\x08\x01" + SIZE.to_bytes(4, "big") + labels)


def write_svhn(root: Path, name: str) -> None:
    for seed, part in enumerate(("train", "test")):
        labels = np.array([[k % 10 or 10] for k in range(seed, seed + SIZE)], np.uint8)  # 10 stands for the digit 0
        savemat(root / f"{part}_32x32.mat", {"X": pixels(name, seed).transpose(2, 3, 1, 0), "y": labels})


def write_stl10(root: Path, name: str) -> None:
    (root / "stl10_binary").mkdir()
    for seed, part in enumerate(("train", "test")):
        pixels(name, seed).swapaxes(2, 3).tofile(root / "stl10_binary" / f"{part}_X.bin")
        labels = np.array([k % 10 + 1 for k in range(seed, seed + SIZE)], np.uint8)
        labels.tofile(root / "stl10_binary" / f"{part}_y.bin")


WRITE = {"mnist": write_idx, "fashion_mnist": write_idx, "svhn": write_svhn, "stl10": write_stl10}


@pytest.mark.parametrize("name", list(WRITE))
@pytest.mark.parametrize(("seed", "split"), [(0, "train"), (1, "test")])
def test_it_is_read_from_the_published_files(
    tiny: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, seed: int, split: str
) -> None:
    assert dataset_info(name, root=str(tmp_path)).download
    WRITE[name](tmp_path, name)
    for part in ("train", "test"):
        if name == "svhn":  # its reader asks for the published checksum
            from torchvision.datasets import SVHN

            found = hashlib.md5((tmp_path / f"{part}_32x32.mat").read_bytes()).hexdigest()
            monkeypatch.setitem(SVHN.split_list, part, [*SVHN.split_list[part][:2], found])
    samples = load_split(name, split, root=str(tmp_path))
    assert samples.info.download == ""
    assert np.array_equal(samples.images.numpy(), pixels(name, seed))
    assert samples.labels.tolist() == [k % 10 for k in range(seed, seed + SIZE)]
    assert samples.keys[0] == f"{split}/00000"


@pytest.mark.parametrize("name", list(WRITE))
def test_files_that_are_not_what_is_published_are_one_line(tmp_path: Path, name: str) -> None:
    WRITE[name](tmp_path, name)  # whole files, but of six images
    with pytest.raises(UserError, match="fetch again") as error:
        load_split(name, "train", root=str(tmp_path))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["cifar10", "cifar100", *WRITE])
def test_without_a_network_loading_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    away = Archive(f"http://127.0.0.1:{closed_port()}/a.tgz", "0" * 32, PUBLISHED[name].needs[0])
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setitem(PUBLISHED, name, dataclasses.replace(PUBLISHED[name], archives=lambda datasets: (away,)))
    with pytest.raises(UserError, match="cannot be reached .*connect to the network and fetch again") as error:
        load_split(name, "test", root=str(tmp_path))
    assert "\n" not in str(error.value)


def test_cifar_files_that_are_not_what_is_published_are_one_line(tmp_path: Path) -> None:
    for path in PUBLISHED["cifar10"].needs:
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_bytes(b"torn")
    with pytest.raises(UserError, match="cifar-10-batches-py is not what is published .*; delete it and fetch again"):
        load_split("cifar10", "test", root=str(tmp_path))


def test_digits_are_never_mirrored() -> None:
    assert {name: dataset_info(name).flip for name in WRITE} == {
        "mnist": False, "fashion_mnist": True, "svhn": False, "stl10": True,
    }  # fmt: skip


def test_another_size_or_label_space_is_refused() -> None:
    with pytest.raises(UserError, match="svhn is 32x32 pixels and is not resized, got image size 64"):
        dataset_info("svhn", image_size=64)
    with pytest.raises(UserError, match="Unknown label space of mnist 'fine'. Available: mnist"):
        dataset_info("mnist", labels="fine")

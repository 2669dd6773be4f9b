"""Where the published data sets are, and what there is under the data root once they have been fetched."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from fnkd_core.errors import unknown
from fnkd_core.files import expanded
from fnkd_core.identity import content_of, digest
from fnkd_core.paths import data_dir
from fnkd_core.wording import megabytes


@dataclass(frozen=True)
class Archive:
    """A published file: its address, its checksum, and what there is under the data root once it is unpacked.

    Unpacked by its name: .tar.gz and .tgz to a folder, .gz to a file; any other is used as it is.
    """

    url: str
    md5: str
    target: str

    @property
    def file(self) -> str:
        """Its file's name."""
        return Path(urlsplit(self.url).path).name


@dataclass(frozen=True)
class Published:
    """num_bytes: of all archives together. needs: paths under the data root that stand once the set is whole;
    nothing else is unpacked. archives(torchvision.datasets): it knows most addresses and checksums, and importing
    it takes seconds. by_hand: what to do where the set can no longer be downloaded.
    """

    num_bytes: int
    needs: tuple[str, ...]
    archives: Callable[[Any], tuple[Archive, ...]] = lambda datasets: ()
    by_hand: str = ""


def _https(url: str) -> str:
    return url.replace("http://", "https://", 1)


def _tar(reader: Any) -> tuple[Archive, ...]:
    return (Archive(_https(reader.url), reader.tgz_md5, reader.base_folder),)


def _idx(reader: Any, base: str) -> tuple[Archive, ...]:
    raw = f"{reader.__name__}/raw"
    return tuple(Archive(base + file, md5, f"{raw}/{file.removesuffix('.gz')}") for file, md5 in reader.resources)


def _svhn(datasets: Any) -> tuple[Archive, ...]:
    parts = (datasets.SVHN.split_list[split] for split in ("train", "test"))
    return tuple(Archive(_https(url), md5, file) for url, file, md5 in parts)


def _pets(datasets: Any) -> tuple[Archive, ...]:
    resources = datasets.OxfordIIITPet._RESOURCES
    return tuple(Archive(url, md5, f"oxford-iiit-pet/{Path(url).name.split('.')[0]}") for url, md5 in resources)


def _flowers(datasets: Any) -> tuple[Archive, ...]:
    base, files = datasets.Flowers102._download_url_prefix, datasets.Flowers102._file_dict
    targets = {"image": "jpg", "label": files["label"][0], "setid": files["setid"][0]}
    return tuple(Archive(base + files[k][0], files[k][1], f"flowers-102/{target}") for k, target in targets.items())


CIFAR10_TRAIN = tuple(f"data_batch_{i}" for i in range(1, 6))

IDX = tuple(f"{part}-{what}-ubyte" for part in ("train", "t10k") for what in ("images-idx3", "labels-idx1"))

PUBLISHED: dict[str, Published] = {
    "cifar10": Published(
        170_498_071,
        tuple(f"cifar-10-batches-py/{f}" for f in (*CIFAR10_TRAIN, "test_batch", "batches.meta")),
        lambda datasets: _tar(datasets.CIFAR10),
    ),
    "cifar100": Published(
        169_001_437,
        tuple(f"cifar-100-python/{f}" for f in ("train", "test", "meta")),
        lambda datasets: _tar(datasets.CIFAR100),
    ),
    "mnist": Published(
        11_594_722,
        tuple(f"MNIST/raw/{f}" for f in IDX),
        lambda datasets: _idx(datasets.MNIST, datasets.MNIST.mirrors[0]),
    ),
    "fashion_mnist": Published(
        30_878_645,
        tuple(f"FashionMNIST/raw/{f}" for f in IDX),
        # The mirror that torchvision names speaks no https; this is the same store's address that does.
        lambda datasets: _idx(datasets.FashionMNIST, "https://fashion-mnist.s3.eu-central-1.amazonaws.com/"),
    ),
    "svhn": Published(246_316_178, ("train_32x32.mat", "test_32x32.mat"), _svhn),
    "stl10": Published(
        2_640_397_119,
        tuple(f"stl10_binary/{part}_{what}.bin" for part in ("train", "test") for what in "Xy"),
        lambda datasets: _tar(datasets.STL10),
    ),
    "oxford_pets": Published(811_092_049, ("oxford-iiit-pet/images", "oxford-iiit-pet/annotations"), _pets),
    "flowers102": Published(
        344_878_000, tuple(f"flowers-102/{f}" for f in ("jpg", "imagelabels.mat", "setid.mat")), _flowers
    ),
    "fgvc_aircraft": Published(
        2_753_340_328,
        ("fgvc-aircraft-2013b",),
        lambda datasets: (
            Archive(datasets.FGVCAircraft._URL, "d4acdd33327262359767eeaa97a4f732", "fgvc-aircraft-2013b"),
        ),
    ),
    "cub200": Published(
        1_150_585_339,
        ("CUB_200_2011",),
        lambda datasets: (
            Archive(
                "https://data.caltech.edu/records/65de6-vp158/files/CUB_200_2011.tgz",
                "97eceeb196236b17998738112f37df78",
                "CUB_200_2011",
            ),
        ),
    ),
    "stanford_cars": Published(
        1_960_000_000,
        tuple(f"stanford_cars/{f}" for f in ("devkit", "cars_train", "cars_test", "cars_test_annos_withlabels.mat")),
        by_hand="Stanford Cars can no longer be downloaded from its authors; put devkit/, cars_train/, cars_test/ and "
        "cars_test_annos_withlabels.mat into {root}/stanford_cars.",
    ),
}


PUBLISHED["cub200_boxes"] = PUBLISHED["cub200"]


def _published(name: str) -> Published:
    if name not in PUBLISHED:
        raise unknown("published data set", name, PUBLISHED, "fnkd data list")
    return PUBLISHED[name]


def can_fetch(name: str) -> bool:
    """Whether the data set can still be downloaded."""
    return name in PUBLISHED and not PUBLISHED[name].by_hand


def folder_of(name: str) -> str:
    """The first part of the paths under the data root that the data set is read from: "cifar-100-python"."""
    return Path(_published(name).needs[0]).parts[0]


def data_root(root: str | Path | None) -> Path:
    """The folder under which the data sets lie: the one that is asked for, else the home's."""
    return expanded(root) if root else data_dir()


def contents_of(name: str, root: str | Path | None = None) -> str:
    """The digest of the files that the data set is read from, by their contents; empty where they are not here."""
    if not is_here(name, root):
        return ""
    return digest([content_of(data_root(root) / path) for path in _published(name).needs])


def is_here(name: str, root: str | Path | None = None) -> bool:
    """Whether all that the data set needs is under the data root."""
    return all((data_root(root) / path).exists() for path in _published(name).needs)


def to_fetch(name: str, root: str | Path | None = None) -> str:
    """How much has to be fetched first, "170 MB"; empty where the data set is here."""
    return "" if is_here(name, root) else megabytes(_published(name).num_bytes)

"""Where the published data sets are fetched from, and the fetching: with progress, resumed, verified.

A set counts as here when every path it needs is here. Archives are unpacked beside their place and moved into
it, so what is half downloaded or half unpacked does not count.
"""

from __future__ import annotations

import contextlib
import errno
import gzip
import hashlib
import http.client
import os
import shutil
import tarfile
import tempfile
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlsplit

from fnkd_core.errors import UserError, require, unknown
from fnkd_core.files import replacing
from fnkd_core.paths import data_dir

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

CHUNK = 2**18
TIMEOUT_S = 30


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
        raise unknown("published data set", name, PUBLISHED)
    return PUBLISHED[name]


def can_fetch(name: str) -> bool:
    """Whether the data set can still be downloaded."""
    return name in PUBLISHED and not PUBLISHED[name].by_hand


def data_root(root: str | Path | None) -> Path:
    """The folder under which the data sets lie: the one that is asked for, else the home's."""
    return Path(root).expanduser() if root else data_dir()


def is_here(name: str, root: str | Path | None = None) -> bool:
    """Whether all that the data set needs is under the data root."""
    return all((data_root(root) / path).exists() for path in _published(name).needs)


def to_fetch(name: str, root: str | Path | None = None) -> str:
    """How much has to be fetched first, "170 MB"; empty where the data set is here."""
    return "" if is_here(name, root) else megabytes(_published(name).num_bytes)


def fetched_bytes(name: str, root: str | Path | None = None) -> int:
    """How much of an unfinished download is here, in bytes."""
    return sum(part.stat().st_size for part in _parts(name, data_root(root)).glob("*"))


def megabytes(count: int) -> str:
    """170 MB, 2.6 GB."""
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.0f} MB"


def ensure(name: str, root: str | Path | None = None) -> None:
    """Fetch the data set if it is not here; says so, with a bar on a terminal."""
    if is_here(name, root):
        return
    from tqdm import tqdm

    print(f"Downloading {name} ({to_fetch(name, root)}) into {data_root(root)}")
    bar = tqdm(desc=f"downloading {name}", unit="B", unit_scale=True, disable=None, leave=False)
    with contextlib.closing(bar):
        for bar.n, bar.total in fetch(name, root):
            bar.refresh()


def fetch(name: str, root: str | Path | None = None) -> Iterator[tuple[int, int]]:
    """(bytes here, bytes in all) as the data set's archives arrive; at the end they are verified and unpacked.

    Goes on with what an earlier call has left, and uses archives that lie where they would be put. Archives that
    it downloads are not kept. `UserError` where the network, the server, the checksum or the disk says no; the part
    that has arrived stays for the next call, unless its checksum is wrong.
    """
    published, base = _published(name), data_root(root)
    require(not published.by_hand, published.by_hand.format(root=base))
    from torchvision import datasets

    parts, done = _parts(name, base), 0
    for archive in published.archives(datasets):
        needs = [path for path in published.needs if Path(path).is_relative_to(archive.target)]
        if all((base / path).exists() for path in needs):
            continue
        given, part = (base / archive.target).parent / archive.file, parts / archive.file
        with _in_one_line(archive, base):
            size = 0
            if not given.exists():
                part.parent.mkdir(parents=True, exist_ok=True)
                with part.open("ab") as file:
                    _hold(file, part)
                    for size in _receive(archive, file):
                        yield done + size, max(published.num_bytes, done + size)
            done += size
            _verify(archive, given if given.exists() else part, part)
            _unpack(archive, given if given.exists() else part, base, needs)
            part.unlink(missing_ok=True)
    shutil.rmtree(parts, ignore_errors=True)


def _parts(name: str, base: Path) -> Path:
    return base / "downloading" / name


def _hold(file: IO[bytes], part: Path) -> None:
    """Two writers would spoil the file; the lock goes with it when it is closed."""
    if fcntl is None:
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        raise UserError(f"{part} is being downloaded already; wait for that, or stop it and fetch again.") from None


class _SafeRedirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
        _require_safe(newurl)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _require_safe(url: str) -> None:
    parts = urlsplit(url)
    safe = parts.scheme == "https" or (parts.scheme == "http" and parts.hostname == "127.0.0.1")
    require(safe, f"Data are downloaded over https only, got {url}; put the file in its place by hand.")


def _open(url: str, start: int) -> Any:
    _require_safe(url)
    headers = {"User-Agent": "fnkd-lab"} | ({"Range": f"bytes={start}-"} if start else {})
    opener = urllib.request.build_opener(_SafeRedirects)
    return opener.open(urllib.request.Request(url, headers=headers), timeout=TIMEOUT_S)


def _receive(archive: Archive, file: IO[bytes]) -> Iterator[int]:
    """The file's size as it grows to the whole archive."""
    size = file.seek(0, os.SEEK_END)
    try:
        response = _open(archive.url, size)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code != 416:
            raise
        if error.headers.get("Content-Range") == f"bytes */{size}":
            yield size  # nothing is left to receive
            return
        file.truncate(0)  # there is more than the server has
        size, response = 0, _open(archive.url, 0)
    with response:
        if size and not (response.headers.get("Content-Range") or "").startswith(f"bytes {size}-"):
            file.truncate(0)  # the server sends all of it again
            size = 0
        length = response.headers.get("Content-Length")
        whole = size + int(length) if length else None
        yield size
        while chunk := response.read(CHUNK):
            file.write(chunk)
            size += len(chunk)
            yield size
    file.flush()
    if whole is not None and size < whole:
        raise ConnectionError(f"cut after {megabytes(size)} of {megabytes(whole)}")


@contextlib.contextmanager
def _in_one_line(archive: Archive, base: Path) -> Iterator[None]:
    """Whatever the network or the disk says, as one `UserError`."""
    host = urlsplit(archive.url).netloc
    resume = "fetch again, it goes on where it stopped"
    try:
        yield
    except urllib.error.HTTPError as error:
        error.close()
        place = (base / archive.target).parent
        raise UserError(
            f"{archive.url} answered {error.code} {error.reason}; try later, or put {archive.file} into {place}."
        ) from None
    except (OSError, http.client.HTTPException) as error:
        if getattr(error, "errno", None) == errno.ENOSPC:
            raise UserError(f"No space is left in {base} for {archive.file}; free some, then {resume}.") from None
        reason = getattr(error, "reason", None) or error
        reason = getattr(reason, "strerror", None) or reason
        if isinstance(error, urllib.error.URLError | ConnectionError | TimeoutError | http.client.HTTPException):
            raise UserError(f"{host} cannot be reached ({reason}); connect to the network and {resume}.") from None
        raise UserError(f"{archive.file} cannot be written to {base} ({reason}); mend that, then {resume}.") from None


def _verify(archive: Archive, source: Path, part: Path) -> None:
    with source.open("rb") as file:
        found = hashlib.file_digest(file, "md5").hexdigest()
    if found == archive.md5:
        return
    if source == part:
        part.unlink()
        raise UserError(
            f"{archive.file} arrived with the checksum {found}, {archive.md5} is published; it is deleted, fetch again."
        )
    raise UserError(f"{source} has the checksum {found}, {archive.md5} is published; delete it and fetch again.")


def _unpack(archive: Archive, source: Path, base: Path, needs: list[str]) -> None:
    """Put the archive's needed contents in their place, whole or not at all."""
    target = base / archive.target
    target.parent.mkdir(parents=True, exist_ok=True)
    if archive.file.endswith((".tar.gz", ".tgz")):
        wanted = [(base / path).relative_to(target.parent) for path in needs]

        def needed(member: tarfile.TarInfo, folder: str) -> tarfile.TarInfo | None:
            if not any(Path(member.name).is_relative_to(path) for path in wanted):
                return None
            return tarfile.data_filter(member, folder)

        with tempfile.TemporaryDirectory(dir=target.parent, prefix=".unpacking-") as folder:
            with tarfile.open(source) as tar:
                tar.extractall(folder, filter=needed)
            if target.exists():  # half unpacked by someone else
                shutil.rmtree(target)
            os.replace(Path(folder) / target.name, target)
    elif archive.file.endswith(".gz"):
        with gzip.open(source) as packed, replacing(target) as temporary, temporary.open("wb") as file:
            shutil.copyfileobj(packed, file)
    elif source != target:
        os.replace(source, target)

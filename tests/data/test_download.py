"""Downloads from a server on this machine: whole, resumed, refused."""

from __future__ import annotations

import gzip
import io
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fnkd_core.data.download import fetch as download
from fnkd_core.data.download.addresses import PUBLISHED, Archive, Published, is_here, to_fetch
from fnkd_core.data.download.fetch import ensure, fetch, fetched_bytes
from fnkd_core.errors import UserError
from fnkd_core.wording import megabytes
from tests.serving import FILE, Files, closed_port, md5


def tar_of(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return buffer.getvalue()


def part_of(root: Path, data: bytes) -> Path:
    """An unfinished download of `a.bin`."""
    part = root / "downloading" / "toy" / "a.bin"
    part.parent.mkdir(parents=True)
    part.write_bytes(data)
    return part


def test_a_data_set_arrives_whole_with_its_progress(
    file_server: Files, publish: Callable[..., None], tmp_path: Path
) -> None:
    publish(Archive(file_server.url("a.bin"), md5(FILE), "toy/a.bin"))
    assert to_fetch("toy", tmp_path) == "3 kB" and not is_here("toy", tmp_path)
    progress = list(fetch("toy", tmp_path))
    assert (tmp_path / "toy" / "a.bin").read_bytes() == FILE
    assert progress[-1] == (len(FILE), len(FILE)) and progress == sorted(progress)
    assert to_fetch("toy", tmp_path) == "" and not (tmp_path / "downloading" / "toy").exists()
    assert list(fetch("toy", tmp_path)) == [] and len(file_server.asked) == 1


def test_archives_are_unpacked_and_only_what_is_needed_of_them(
    file_server: Files, publish: Callable[..., None], tmp_path: Path
) -> None:
    file_server.content = {
        "pack.tar.gz": tar_of({"toy/a.bin": FILE, "toy/sub/b.bin": b"b", "toy/useless.bin": b"u", "more.txt": b"m"}),
        "c.gz": gzip.compress(b"c"),
    }
    publish(
        Archive(file_server.url("pack.tar.gz"), md5(file_server.content["pack.tar.gz"]), "toy"),
        Archive(file_server.url("c.gz"), md5(file_server.content["c.gz"]), "raw/c"),
        needs=("toy/a.bin", "toy/sub", "raw/c"),
    )
    (tmp_path / "toy").mkdir()
    (tmp_path / "toy" / "a.bin").write_bytes(b"half")  # another program stopped while it unpacked
    assert not is_here("toy", tmp_path)
    ensure("toy", tmp_path)
    files = {p.relative_to(tmp_path).as_posix(): p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}
    assert {k: v for k, v in files.items() if not k.startswith("home/")} == {
        "toy/a.bin": FILE, "toy/sub/b.bin": b"b", "raw/c": b"c",
    }  # fmt: skip


def test_an_archive_that_lies_in_its_place_is_used_and_kept(
    file_server: Files, publish: Callable[..., None], tmp_path: Path
) -> None:
    data = gzip.compress(b"c")
    publish(Archive(file_server.url("c.gz"), md5(data), "raw/c"), needs=("raw/c",))
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / "c.gz").write_bytes(data)
    assert list(fetch("toy", tmp_path)) == [] and file_server.asked == []
    assert (tmp_path / "raw" / "c").read_bytes() == b"c" and (tmp_path / "raw" / "c.gz").exists()
    (tmp_path / "raw" / "c").unlink()
    (tmp_path / "raw" / "c.gz").write_bytes(b"other")
    with pytest.raises(UserError, match="is published; delete it and fetch again"):
        list(fetch("toy", tmp_path))
    assert (tmp_path / "raw" / "c.gz").read_bytes() == b"other"


def test_a_cut_download_says_so_and_goes_on_where_it_stopped(
    file_server: Files, publish: Callable[..., None], tmp_path: Path
) -> None:
    publish(Archive(file_server.url("a.bin"), md5(FILE), "toy/a.bin"))
    file_server.cut = 1000
    with pytest.raises(UserError, match="connect to the network and fetch again, it goes on where it stopped") as error:
        list(fetch("toy", tmp_path))
    assert "\n" not in str(error.value)
    assert fetched_bytes("toy", tmp_path) == 1000 and not is_here("toy", tmp_path)
    file_server.cut = None
    assert next(iter(fetch("toy", tmp_path)))[0] == 1000
    list(fetch("toy", tmp_path))
    assert file_server.asked[-1] == "bytes=1000-"
    assert (tmp_path / "toy" / "a.bin").read_bytes() == FILE


@given(split=st.integers(0, len(FILE)), ranges=st.booleans())
def test_any_split_of_the_part_gives_the_same_bytes(
    serving_files: Files, tmp_path_factory: pytest.TempPathFactory, split: int, ranges: bool
) -> None:
    root = tmp_path_factory.mktemp("split")
    serving_files.content, serving_files.ranges, serving_files.cut = {"a.bin": FILE}, ranges, None
    archive = Archive(serving_files.url("a.bin"), md5(FILE), "toy/a.bin")
    part_of(root, FILE[:split])
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NO_PROXY", "127.0.0.1")
        patch.setitem(PUBLISHED, "toy", Published(len(FILE), ("toy/a.bin",), lambda datasets: (archive,)))
        progress = list(fetch("toy", root))
    assert (root / "toy" / "a.bin").read_bytes() == FILE
    assert progress[0][0] == (split if ranges else 0) and progress[-1][0] == len(FILE)


def test_a_part_that_is_longer_than_the_file_is_begun_anew(
    file_server: Files, publish: Callable[..., None], tmp_path: Path
) -> None:
    publish(Archive(file_server.url("a.bin"), md5(FILE), "toy/a.bin"))
    part_of(tmp_path, FILE + b"more")
    list(fetch("toy", tmp_path))
    assert (tmp_path / "toy" / "a.bin").read_bytes() == FILE


def test_a_wrong_checksum_is_refused_and_the_part_deleted(
    file_server: Files, publish: Callable[..., None], tmp_path: Path
) -> None:
    publish(Archive(file_server.url("a.bin"), md5(b"something else"), "toy/a.bin"))
    with pytest.raises(UserError, match="is published; it is deleted, fetch again"):
        list(fetch("toy", tmp_path))
    assert fetched_bytes("toy", tmp_path) == 0 and not (tmp_path / "toy" / "a.bin").exists()


def test_a_missing_file_says_where_to_put_it(file_server: Files, publish: Callable[..., None], tmp_path: Path) -> None:
    publish(Archive(file_server.url("b.bin"), md5(FILE), "toy/b.bin"), needs=("toy/b.bin",))
    with pytest.raises(UserError, match=r"answered 404 Not Found; try later, or put b.bin into .*toy"):
        list(fetch("toy", tmp_path))


def test_a_refused_connection_is_one_line_and_keeps_the_part(
    file_server: Files, publish: Callable[..., None], tmp_path: Path
) -> None:
    publish(Archive(f"http://127.0.0.1:{closed_port()}/a.bin", md5(FILE), "toy/a.bin"))
    part_of(tmp_path, FILE[:10])
    with pytest.raises(UserError, match="cannot be reached .*connect to the network and fetch again") as error:
        list(fetch("toy", tmp_path))
    assert "\n" not in str(error.value) and fetched_bytes("toy", tmp_path) == 10
    (part := tmp_path / "downloading" / "toy" / "a.bin").unlink()
    with pytest.raises(UserError, match="cannot be reached"):
        list(fetch("toy", tmp_path))
    assert not part.exists()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_a_full_disk_is_one_line(file_server: Files, publish: Callable[..., None], tmp_path: Path) -> None:
    publish(Archive(file_server.url("a.bin"), md5(FILE), "toy/a.bin"))
    part = tmp_path / "downloading" / "toy" / "a.bin"
    part.parent.mkdir(parents=True)
    part.symlink_to("/dev/full")
    with pytest.raises(UserError, match="No space is left in .* for a.bin; free some, then fetch again"):
        list(fetch("toy", tmp_path))


@pytest.mark.parametrize("url", ["http://example.org/a.bin", "ftp://127.0.0.1/a.bin", "file:///etc/hosts"])
def test_nothing_but_https_is_fetched(publish: Callable[..., None], tmp_path: Path, url: str) -> None:
    publish(Archive(url, md5(FILE), "toy/a.bin"))
    with pytest.raises(UserError, match="over https only"):
        list(fetch("toy", tmp_path))


def test_two_processes_do_not_write_one_part(file_server: Files, publish: Callable[..., None], tmp_path: Path) -> None:
    publish(Archive(file_server.url("a.bin"), md5(FILE), "toy/a.bin"))
    first = fetch("toy", tmp_path)
    next(first)
    with pytest.raises(UserError, match="is being downloaded already"):
        list(fetch("toy", tmp_path))
    list(first)
    assert is_here("toy", tmp_path)


@pytest.mark.parametrize("name", list(PUBLISHED))
def test_every_published_set_has_https_addresses_checksums_and_covers_what_it_needs(name: str) -> None:
    from torchvision import datasets

    published = PUBLISHED[name]
    archives = published.archives(datasets)
    assert bool(archives) != bool(published.by_hand)
    for archive in archives:
        assert archive.url.startswith("https://") and len(archive.md5) == 32
        assert any(Path(path).is_relative_to(archive.target) for path in published.needs)
    covered = [path for path in published.needs for a in archives if Path(path).is_relative_to(a.target)]
    assert covered == list(published.needs) or published.by_hand


def test_a_set_that_is_no_longer_published_says_where_its_files_go(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=f"put devkit/, cars_train/.* into {tmp_path}/stanford_cars"):
        list(fetch("stanford_cars", tmp_path))
    with pytest.raises(UserError, match="Unknown published data set 'toys'. Nearest of"):
        list(fetch("toys"))


def test_sizes_are_read_as_megabytes_and_gigabytes() -> None:
    assert [megabytes(n) for n in (170_498_071, 2_640_397_119)] == ["170 MB", "2.6 GB"]
    assert download.data_root(None).name == "data"

"""An archive is called one, and doing what it is told to do brings the weights in."""

from __future__ import annotations

import gzip
import io
import shutil
import tarfile
import zipfile
from pathlib import Path

import pytest
import torch

from fnkd_core.checkpoints.importing.gate import read_untrusted
from fnkd_core.checkpoints.importing.sandbox import check
from fnkd_core.errors import UserError
from tests.checkpoints.files import weights
from tests.checkpoints.test_gate import assert_same


def raw() -> bytes:
    buffer = io.BytesIO()
    torch.save({"model": weights()}, buffer)
    return buffer.getvalue()


def tar_of(members: dict[str, bytes], form: int = tarfile.USTAR_FORMAT) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=form) as archive:
        for name, data in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return buffer.getvalue()


def zip_of(members: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return buffer.getvalue()


def refused(path: Path) -> str:
    with pytest.raises(UserError) as error:
        check(path)
    text = str(error.value)
    assert text.isprintable() and len(text) < 1000 and text.endswith(".")
    return text


pytestmark = pytest.mark.usefixtures("in_this_process")
MEMBERS = {"readme.txt": b"x" * 700, "__MACOSX/._ckpt.pth": b"", "resnet20/ckpt.pth": b"", "log/": b""}
PACKED_TAR = gzip.compress(tar_of({"b/x.pth": b""}))
WHICH = "not weights; unpack it and import the weights file in it."


def test_the_member_that_an_archive_is_told_to_import_comes_in_once_it_is_unpacked(tmp_path: Path) -> None:
    (tmp_path / "a.tar").write_bytes(tar_of(MEMBERS | {"resnet20/ckpt.pth": raw()}))
    with pytest.raises(UserError) as error:
        read_untrusted(tmp_path / "a.tar")
    assert str(error.value) == "a.tar is a tar archive, not weights; unpack it and import resnet20/ckpt.pth."
    shutil.unpack_archive(tmp_path / "a.tar", tmp_path, filter="data")
    assert_same(read_untrusted(tmp_path / "resnet20" / "ckpt.pth").state, weights())


@pytest.mark.parametrize(
    ("name", "data", "told"),
    [
        ("a.tar", tar_of(MEMBERS), "is a tar archive, not weights; unpack it and import resnet20/ckpt.pth."),
        ("a.pth", tar_of(MEMBERS), "is a tar archive, not weights; unpack it and import resnet20/ckpt.pth."),
        ("a", tar_of({"x": b""}), "is a tar archive, not weights; unpack it and import the weights file in it."),
        (
            "a",
            tar_of({f"{'d' * 90}/{'e' * 90}/x.pt": b""}),
            f"unpack it and import {'d' * 90}/{'e' * 90}/x.pt.",
        ),
        (
            "a",
            tar_of({f"{i}.ckpt": b"" for i in range(6)}, tarfile.GNU_FORMAT),
            "import 0.ckpt or 1.ckpt or 2.ckpt or one of 3 more.",
        ),
        ("old.th", tar_of({"sys_info": b"", "pickle": b"", "tensors": b"", "storages": b""}), "before 0.1.10"),
        ("a.zip", zip_of(MEMBERS), "is a zip archive, not weights; unpack it and import resnet20/ckpt.pth."),
        ("ckpt.pth.gz", gzip.compress(b"x"), "is packed with gzip; unpack it and import ckpt.pth."),
        ("ckpt", gzip.compress(b"x"), "is packed with gzip; unpack it and import the file in it."),
        ("a.tar.gz", PACKED_TAR, "is a packed tar archive, not weights; unpack it and import b/x.pth."),
        ("a.tgz", gzip.compress(tar_of(MEMBERS)), f"is a packed tar archive, {WHICH}"),
        ("a.gz", gzip.compress(raw())[:15] + b"\0" * 20, "is packed with gzip; unpack it and import a."),
        ("a.7z", b"7z\xbc\xaf\x27\x1c{{{{", f"is a 7z archive, {WHICH}"),
        ("a.rar", b"Rar!\x1a\x07\x01\x00", "is a rar archive, not weights"),
        ("a.xz", b"\xfd7zXZ\x00", "is a xz archive"),
        ("a.bz2", b"BZh91AY&SY", "is a bzip2 archive"),
        ("a.zst", b"\x28\xb5\x2f\xfd\x04", "is a zstandard archive"),
    ],
    ids=lambda value: value if isinstance(value, str) else "data",  # what is packed holds the time
)  # fmt: skip
def test_an_archive_is_called_one_and_told_to_be_unpacked(tmp_path: Path, name: str, data: bytes, told: str) -> None:
    (tmp_path / name).write_bytes(data)
    text = refused(tmp_path / name)
    assert text.startswith(f"{name} ") and told in text


def test_an_archive_that_is_broken_or_hostile_is_one_line_too(tmp_path: Path) -> None:
    whole = bytearray(tar_of(MEMBERS))
    for data in (whole[:600], whole[:512], whole.replace(b"0000000", b"\xff\xff\xff\xff\xff\xff\xff"), whole[:300]):
        (tmp_path / "a.tar").write_bytes(data)
        assert "is a tar archive" in refused(tmp_path / "a.tar")
    (tmp_path / "a.tar").write_bytes(tar_of({"\x1b[31mx.pth": b""}))
    assert "import '\\x1b[31mx.pth'." in refused(tmp_path / "a.tar")
    # A size that points back would have it read for ever.
    whole[124:136] = b"-0000001000\0"
    (tmp_path / "a.tar").write_bytes(whole)
    assert "unpack it" in refused(tmp_path / "a.tar")

"""Whether an archive is what was published, and putting its contents in their place, whole or not at all."""

from __future__ import annotations

import gzip
import hashlib
import os
import shutil
import tarfile
from pathlib import Path

from fnkd_core.data.download.addresses import Archive
from fnkd_core.errors import UserError
from fnkd_core.files import replacing, temporary_folder


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

        with temporary_folder(target) as folder:
            with tarfile.open(source) as tar:
                tar.extractall(folder, filter=needed)
            if target.exists():  # half unpacked by someone else
                shutil.rmtree(target)
            os.replace(folder / target.name, target)
    elif archive.file.endswith(".gz"):
        with gzip.open(source) as packed, replacing(target) as temporary, temporary.open("wb") as file:
            shutil.copyfileobj(packed, file)
    elif source != target:
        os.replace(source, target)

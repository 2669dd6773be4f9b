"""Folders as they are met on the disk: looked at when they are asked for, each once. No torch."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable
from functools import cached_property
from pathlib import Path

from fnkd_core.data.check import HIDDEN_FOLDER, suffix
from fnkd_core.data.listing import File, Stamp
from fnkd_core.errors import UserError, require

MOST_FOLDERS = 200_000
"""A tree of more is somebody's disk and not a data set."""
DEBRIS = frozenset({
    "__macosx", ".ds_store", ".apdisk", ".fseventsd", ".spotlight-v100", ".trashes", ".temporaryitems", "icon\r",
    "@eadir", "#recycle", "#snapshot", "thumbs.db", "ehthumbs.db", "desktop.ini", "$recycle.bin", "recycler",
    "system volume information", "lost+found", ".gitkeep", ".gitignore", ".gitattributes",
})  # fmt: skip
"""What systems and tools leave in folders, in small letters: no data, so neither read nor counted."""


class Walk:
    """What a look at a tree has met.

    suffixes: of images, in small letters. follow_links: also to folders that lie elsewhere. stamps: of each folder and
    file that decided what was found.
    """

    def __init__(self, suffixes: Iterable[str], follow_links: bool = False) -> None:
        self.suffixes, self.follow_links = frozenset(suffixes), follow_links
        self.stamps: list[Stamp] = []

    def note(self, path: str) -> None:
        """Remember when a file or folder was last changed, before it is read."""
        require(
            len(self.stamps) < MOST_FOLDERS,
            f"There are more than {MOST_FOLDERS:,} folders up to {path}; give the folder that holds train/<class>/ or "
            "<class>/ and nothing else.",
        )
        self.stamps.append(Stamp(path, os.stat(path).st_mtime_ns))


class Place:
    """One folder. path: as it is reached; real: where it is, its links followed; name: its last part.

    fence: where the folders below it have to be really, unless links are followed out of it too.
    """

    def __init__(self, path: str, walk: Walk, real: str | None = None, fence: str | None = None) -> None:
        self.path, self.walk, self.name = path, walk, os.path.basename(path)
        self.real = real or os.path.realpath(path)
        self.fence = fence or self.real
        self._is_root = fence is None

    @cached_property
    def _entries(self) -> tuple[list[os.DirEntry[str]], list[os.DirEntry[str]], list[Place], Counter[str]]:
        images, others, folders, left_out = [], [], [], Counter[str]()
        try:
            self.walk.note(self.path)
            with os.scandir(self.path) as entries:
                for entry in entries:
                    name = entry.name
                    if name.startswith("._") or name.lower() in DEBRIS:
                        continue
                    if entry.is_dir():
                        if name.startswith("."):
                            left_out[HIDDEN_FOLDER] += 1
                            continue
                        folders.append(self._child(entry))
                    elif name.startswith("."):
                        left_out["hidden"] += 1
                    elif not entry.is_file() and not _leads_nowhere(entry):
                        left_out["no regular file"] += 1
                    elif os.path.splitext(name)[1].lower() in self.walk.suffixes:
                        images.append(entry)
                    else:
                        others.append(entry)
        except OSError as error:
            raise UserError(f"{self.path} cannot be listed ({error.strerror}); let it be read, or remove it.") from None
        return images, others, sorted(folders, key=lambda folder: folder.name), left_out

    def _child(self, entry: os.DirEntry[str]) -> Place:
        if not entry.is_symlink():
            return Place(entry.path, self.walk, os.path.join(self.real, entry.name), self.fence)
        real = os.path.realpath(entry.path)
        # A whole split may lie on another disk.
        return Place(entry.path, self.walk, real, real if self._is_root else self.fence)

    @property
    def folders(self) -> list[Place]:
        """Those in it, by name; hidden ones and what systems leave are none."""
        return self._entries[2]

    @property
    def num_images(self) -> int:
        """Of those that lie in it itself."""
        return len(self._entries[0])

    @property
    def other_files(self) -> list[str]:
        """The names of the files in it itself that are no images."""
        return sorted(entry.name for entry in self._entries[1])

    @cached_property
    def holds_images(self) -> bool:
        """Whether there is an image in it or below it."""
        return any(place.num_images for place in self.below())

    def below(self) -> Iterable[Place]:
        """The folder itself and those below it, to any depth; one that links lead to again is met once."""
        met, waiting = set[str](), [self]
        while waiting:
            place = waiting.pop()
            if place.real not in met:
                met.add(place.real)
                yield place
                waiting += [
                    f for f in reversed(place.folders) if self.walk.follow_links or is_inside(f.real, self.fence)
                ]

    def images(self) -> list[File]:
        """The images that lie in it itself, in no order."""
        found = []
        for entry in self._entries[0]:
            try:
                status = entry.stat()
                found.append(File(entry.path, status.st_size, status.st_mtime_ns))
            except OSError:  # a link to nowhere: reading it says so
                found.append(File(entry.path, -1, 0))
        return found

    def left_out(self, read: Iterable[str] = ()) -> Counter[str]:
        """Kind -> how many of the entries in it itself are not read. read: names of files that are after all."""
        names = set(self.other_files) - set(read)
        return self._entries[3] + Counter(map(suffix, names))

    def leading_out(self, of: Place) -> list[str]:
        """The links among its images and folders that lead out of another place."""
        links = [entry.path for entry in self._entries[0] if entry.is_symlink()]
        links += [folder.path for folder in self.folders if os.path.dirname(folder.real) != self.real]
        return [link for link in links if not is_inside(os.path.realpath(link), of.real)]


def is_inside(real: str, root: str) -> bool:
    """Whether a path is this folder or lies below it. real, root: with links followed."""
    return real == root or real.startswith(root.rstrip(os.sep) + os.sep)


def keep_inside(paths: Iterable[str | Path], root: Path) -> None:
    """`UserError` where one of the paths leads out of the root, by .. or by a link."""
    inside = os.path.realpath(root)
    folders: dict[str, str] = {}
    for path in paths:
        folder, name = os.path.split(path)
        if folder not in folders:
            folders[folder] = os.path.realpath(folder)
        whole = os.path.join(folders[folder], name)
        real = os.path.realpath(whole) if name in ("", ".", "..") or os.path.islink(whole) else whole
        require(
            is_inside(real, inside),
            f"{path} leads out of {root}; replace it by the files themselves.",
        )


def _leads_nowhere(entry: os.DirEntry[str]) -> bool:
    try:
        entry.stat()
    except OSError:
        return True
    return False

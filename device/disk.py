"""The few filesystem calls the store makes, one by one, and the one way it writes a file.

Kept apart so that a test can cut the power before each of them.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Protocol


class Disk(Protocol):
    """One private directory. Every method but ``read`` is a moment at which the power may go."""

    def read(self, name: str) -> bytes | None:
        """Return the file's content, or None when there is no such file."""

    def create(self, name: str) -> int:
        """Open a new or emptied file, readable by the owner only, for writing; return its descriptor."""

    def write(self, descriptor: int, data: bytes) -> None:
        """Write all of ``data``."""

    def sync(self, descriptor: int) -> None:
        """Return when the file's content would survive a power cut."""

    def close(self, descriptor: int) -> None:
        """Give the descriptor back."""

    def rename(self, name: str, new_name: str) -> None:
        """Let ``new_name`` mean this file, whatever it meant before, in one step."""

    def sync_directory(self) -> None:
        """Return when the names in the directory would survive a power cut."""


class Directory:
    """A :class:`Disk` on the real filesystem; makes the directory (0700) when it is missing."""

    def __init__(self, path: Path) -> None:
        self.path = path
        if not path.is_dir():
            path.mkdir(mode=0o700, parents=True)
            _sync_directory(path.parent)

    def read(self, name: str) -> bytes | None:
        try:
            return (self.path / name).read_bytes()
        except FileNotFoundError:
            return None

    def create(self, name: str) -> int:
        return os.open(self.path / name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)

    def write(self, descriptor: int, data: bytes) -> None:
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(descriptor, rest) :]

    def sync(self, descriptor: int) -> None:
        os.fsync(descriptor)

    def close(self, descriptor: int) -> None:
        os.close(descriptor)

    def rename(self, name: str, new_name: str) -> None:
        (self.path / name).replace(self.path / new_name)

    def sync_directory(self) -> None:
        _sync_directory(self.path)


def replace_file(disk: Disk, name: str, data: bytes) -> None:
    """Make ``name`` hold ``data``: at every moment, power cut or not, it holds all of the old or all of the new.

    The content is on the medium before the name points at it; the name is on the medium before this returns.
    """
    unfinished = name + ".new"
    descriptor = disk.create(unfinished)
    try:
        disk.write(descriptor, data)
        disk.sync(descriptor)
    finally:
        disk.close(descriptor)
    disk.rename(unfinished, name)
    disk.sync_directory()


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

"""A disk in memory on which the power goes: what was not yet synced may be there afterwards, in part, or not."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field


class PowerCutError(BaseException):
    """The device is off. Not an Exception: no code of the store can catch it and go on."""


@dataclass
class _File:
    kept: bytes = b""
    written: bytes = b""


@dataclass
class PowerCutDisk:
    """A :class:`device.disk.Disk` with the promises of POSIX and not one more.

    The content of a file survives after ``sync``, names survive after ``sync_directory``. Without them, after a cut,
    a file holds what it held, half of what was written, or all of it, and each change of a name has happened or not,
    in any combination. ``cuts`` counts the calls; the power goes before call number ``cut_before``.
    """

    cut_before: int | None = None
    calls: list[str] = field(default_factory=list)
    _names: dict[str, _File] = field(default_factory=dict)
    _kept_names: dict[str, _File] = field(default_factory=dict)
    _name_changes: list[tuple[str, _File | None]] = field(default_factory=list)
    _open: dict[int, _File] = field(default_factory=dict)
    _descriptors: Iterator[int] = field(default_factory=itertools.count)

    def _call(self, what: str) -> None:
        if len(self.calls) == self.cut_before:
            raise PowerCutError
        self.calls.append(what)

    def read(self, name: str) -> bytes | None:
        file = self._names.get(name)
        return file.written if file else None

    def create(self, name: str) -> int:
        self._call(f"create {name}")
        file = self._names.get(name)
        if file is None:
            file = self._names[name] = _File()
            self._name_changes.append((name, file))
        file.written = b""
        descriptor = next(self._descriptors)
        self._open[descriptor] = file
        return descriptor

    def write(self, descriptor: int, data: bytes) -> None:
        self._call("write")
        self._open[descriptor].written += data

    def sync(self, descriptor: int) -> None:
        self._call("sync")
        self._open[descriptor].kept = self._open[descriptor].written

    def close(self, descriptor: int) -> None:
        if len(self.calls) != self.cut_before:
            self._call("close")
        del self._open[descriptor]

    def rename(self, name: str, new_name: str) -> None:
        self._call(f"rename {name} {new_name}")
        file = self._names.pop(name)
        self._names[new_name] = file
        self._name_changes += [(new_name, file), (name, None)]

    def sync_directory(self) -> None:
        self._call("sync_directory")
        self._kept_names = dict(self._names)
        self._name_changes.clear()

    def after_the_cut(self) -> Iterator[dict[str, bytes]]:
        """Give every content the disk may have when the power is back."""
        for happened in itertools.product((False, True), repeat=len(self._name_changes)):
            names: dict[str, _File] = dict(self._kept_names)
            for (name, file), so in zip(self._name_changes, happened, strict=True):
                if so and file is None:
                    names.pop(name, None)
                elif so and file is not None:
                    names[name] = file
            for contents in itertools.product(*(_contents(file) for file in names.values())):
                yield dict(zip(names, contents, strict=True))

    @classmethod
    def holding(cls, content: dict[str, bytes], cut_before: int | None = None) -> PowerCutDisk:
        """A disk on which all of this has been synced."""
        files = {name: _File(data, data) for name, data in content.items()}
        return cls(cut_before, _names=dict(files), _kept_names=dict(files))


def _contents(file: _File) -> list[bytes]:
    """What an inode may hold: the kept, half of the new, all of the new."""
    if file.kept == file.written:
        return [file.kept]
    return list(dict.fromkeys([file.kept, file.written[: len(file.written) // 2], file.written]))

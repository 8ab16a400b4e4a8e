"""The store loses nothing, wherever the power goes: every cut point, every state the medium may be in afterwards."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from device.credential import Credential
from device.store import Assignment, CertificateStore
from tests.device.device_certificates import issue
from tests.device.power_cut_disk import PowerCutDisk, PowerCutError

A, B, C = (issue().credential for _ in range(3))
HERE, THERE = Assignment("hub-1", "dev1"), Assignment("hub-2", "dev1")


def store_on(disk: PowerCutDisk) -> CertificateStore:
    return CertificateStore(Path("/nowhere"), disk)


def first_provisioning(store: CertificateStore) -> None:
    store.stage(A)


def stage(store: CertificateStore) -> None:
    store.stage(B)


def stage_another(store: CertificateStore) -> None:
    store.stage(C)


def commit(store: CertificateStore) -> None:
    """As the agent does after a restart: a candidate is registered and committed, and without one all is done."""
    if store.candidate:
        store.commit(THERE)


def remember(store: CertificateStore) -> None:
    store.remember(Assignment("hub-3", "dev1"))


def content_after(*operations: Callable[[CertificateStore], None]) -> dict[str, bytes]:
    disk = PowerCutDisk()
    store = store_on(disk)
    for operation in operations:
        operation(store)
    (content,) = disk.after_the_cut()  # all was synced: there is only one way it can be
    return content


# Before the operation; the operation; which credentials the hub may accept at that time; which may survive.
ON_A = (first_provisioning, commit)
type Case = tuple[
    tuple[Callable[[CertificateStore], None], ...],
    Callable[[CertificateStore], None],
    tuple[Credential, ...],
    set[Credential],
]
CASES: dict[str, Case] = {
    "the first stage": ((), first_provisioning, (), {A}),
    "the first commit": ((first_provisioning,), commit, (A,), {A}),
    "stage beside a current one": (ON_A, stage, (A,), {A, B}),
    "commit of a swap": ((*ON_A, stage), commit, (B,), {A, B}),
    "stage over a candidate that was refused": ((*ON_A, stage), stage_another, (A,), {A, B, C}),
    "stage over a previous one": ((*ON_A, stage, commit), stage_another, (B,), {A, B, C}),
    "commit of the second swap": ((*ON_A, stage, commit, stage_another), commit, (C,), {B, C}),
    "another hub is named": (ON_A, remember, (A,), {A}),
    "another hub is named during a swap": ((*ON_A, stage), remember, (A, B), {A, B}),
}


def cut_points(before: dict[str, bytes], operation: Callable[[CertificateStore], None]) -> int:
    disk = PowerCutDisk.holding(before)
    operation(store_on(disk))
    return len(disk.calls)


def cut(before: dict[str, bytes], operation: Callable[[CertificateStore], None], at: int) -> list[dict[str, bytes]]:
    disk = PowerCutDisk.holding(before, cut_before=at)
    with pytest.raises(PowerCutError):
        operation(store_on(disk))
    return list(disk.after_the_cut())


def check(content: dict[str, bytes], accepted: tuple[Credential, ...], possible: set[Credential]) -> CertificateStore:
    """Both slots are read back as whole pairs (reading checks that key and certificate belong together)."""
    store = store_on(PowerCutDisk.holding(content))
    held = [stored.credential for stored in (store.current, store.other) if stored]
    assert set(held) <= possible
    for credential in accepted:
        assert credential in held, "the credential that the hub accepts is lost"
    return store


@pytest.mark.parametrize("case", CASES)
def test_a_power_cut_at_any_point_leaves_the_accepted_pair_whole(
    case: str, record_property: Callable[[str, object], None]
) -> None:
    prepared, operation, accepted, possible = CASES[case]
    before = content_after(*prepared)
    points = cut_points(before, operation)
    outcomes = 0
    for at in range(points):
        for content in cut(before, operation, at):
            outcomes += 1
            store = check(content, accepted, possible)
            # and the device can go on from there: the same once more, or the swap after it
            operation(store)
            check(content_of(store), accepted, possible)
    record_property("cut_points", points)
    print(f"{case}: {points} cut points, {outcomes} states of the medium")


def content_of(store: CertificateStore) -> dict[str, bytes]:
    disk = store._disk
    assert isinstance(disk, PowerCutDisk)
    (content,) = disk.after_the_cut()
    return content


def test_a_second_cut_while_recovering_from_the_first_loses_nothing_either() -> None:
    outcomes = 0
    for case, (prepared, operation, accepted, possible) in CASES.items():
        before = content_after(*prepared)
        for at in range(cut_points(before, operation)):
            for content in cut(before, operation, at):
                for again in range(cut_points(content, operation)):
                    for twice in cut(content, operation, again):
                        outcomes += 1
                        check(twice, accepted, possible)
        assert outcomes, case
    print(f"{outcomes} states of the medium after two cuts")


def test_a_store_that_skips_a_sync_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """The disk of these tests really loses what is not synced."""
    monkeypatch.setattr(PowerCutDisk, "sync", lambda self, descriptor: self._call("sync"))
    before = {"a.pem": A.pem, "state.json": b'{"current": "a", "candidate": null, "assignment": null}'}
    last = cut_points(before, stage)
    disk = PowerCutDisk.holding(before)
    stage(store_on(disk))
    assert last == len(disk.calls)
    held = [store_on(PowerCutDisk.holding(content)).other for content in disk.after_the_cut()]
    assert None in held


REAL = """
import os, pathlib, sys
from device.disk import Directory
from device.credential import Credential
from device.store import Assignment, CertificateStore
from tests.device.device_certificates import issue

made = pathlib.Path(sys.argv[1])
a, b = (issue().credential for _ in range(2))
calls = 0
die_before = -1

def counted(name):
    really = getattr(Directory, name)
    def call(self, *arguments):
        global calls
        if calls == die_before:
            os._exit(137)
        calls += 1
        return really(self, *arguments)
    setattr(Directory, name, call)

for name in ("create", "write", "sync", "close", "rename", "sync_directory"):
    counted(name)

def life(directory):
    store = CertificateStore(directory)
    store.stage(a)
    store.commit(Assignment("hub", "dev1"))
    store.stage(b)
    store.commit(Assignment("hub", "dev1"))

life(made / "whole")
points = calls
for point in range(points):
    child = os.fork()
    if child == 0:
        calls, die_before = 0, point
        life(made / f"{point:03}")
        os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 137
print(points)
"""


def test_a_process_killed_before_any_filesystem_call_leaves_a_usable_pair(tmp_path: Path) -> None:
    """The same on the real filesystem: the process really dies, 0600 files are what is left."""
    root = Path(__file__).parents[2]
    run = subprocess.run(
        [sys.executable, "-c", REAL, str(tmp_path)],
        cwd=root,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(root)},
    )
    assert run.returncode == 0, run.stderr
    points = int(run.stdout)
    currents = []
    for point in range(points):
        store = CertificateStore(tmp_path / f"{point:03}")
        currents.append(store.current and store.current.credential.sha256)
        held = store.current or store.other
        # until the first slot has its name there is no credential to lose
        assert held is not None or point <= 4
        assert all(file.stat().st_mode & 0o777 == 0o600 for file in (tmp_path / f"{point:03}").iterdir())
    first_commit = next(i for i, current in enumerate(currents) if current)
    assert None not in currents[first_commit:]
    assert len(set(currents[first_commit:])) == 2  # A, then B, and nothing between
    print(f"{points} kill points on the real filesystem")

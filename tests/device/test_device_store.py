"""The A/B store without power cuts: what is where, and what happens to a worn-out medium."""

from __future__ import annotations

import stat
from datetime import timedelta
from pathlib import Path

import pytest

from device.credential import Credential
from device.store import Assignment, CertificateStore, Stored
from tests.device.device_certificates import issue

HERE = Assignment("hub-1", "dev1")
OLD, NEW, NEXT = (issue(age=timedelta(hours=h)).credential for h in (3, 2, 1))


def held(stored: Stored | None) -> Credential | None:
    return stored.credential if stored else None


@pytest.fixture
def on_old(tmp_path: Path) -> CertificateStore:
    store = CertificateStore(tmp_path / "store")
    store.stage(OLD)
    store.commit(HERE)
    return store


def test_an_empty_store_holds_nothing(tmp_path: Path) -> None:
    store = CertificateStore(tmp_path / "store")
    assert (store.current, store.other, store.candidate, store.assignment) == (None, None, None, None)


def test_a_staged_credential_is_a_candidate_after_a_restart(on_old: CertificateStore, tmp_path: Path) -> None:
    on_old.stage(NEW)
    again = CertificateStore(tmp_path / "store")
    assert held(again.candidate) == NEW
    assert held(again.current) == OLD


def test_a_committed_credential_keeps_the_one_before_as_previous(on_old: CertificateStore, tmp_path: Path) -> None:
    on_old.stage(NEW)
    on_old.commit(HERE)
    again = CertificateStore(tmp_path / "store")
    assert held(again.current) == NEW
    assert held(again.other) == OLD
    assert again.candidate is None


def test_a_commit_without_a_candidate_goes_back_to_the_previous_credential(on_old: CertificateStore) -> None:
    on_old.stage(NEW)
    on_old.commit(HERE)
    on_old.commit(HERE)
    assert held(on_old.current) == OLD


def test_nothing_can_be_committed_when_the_other_slot_is_empty(on_old: CertificateStore) -> None:
    with pytest.raises(ValueError, match="other slot is empty"):
        on_old.commit(HERE)


def test_a_second_candidate_never_takes_the_slot_of_the_current_one(on_old: CertificateStore) -> None:
    on_old.stage(NEW)
    on_old.stage(NEXT)
    assert held(on_old.current) == OLD
    assert held(on_old.candidate) == NEXT


def test_the_assignment_survives_a_restart(on_old: CertificateStore, tmp_path: Path) -> None:
    assert CertificateStore(tmp_path / "store").assignment == HERE


def test_files_and_directory_are_for_the_owner_only(on_old: CertificateStore, tmp_path: Path) -> None:
    modes = {stat.S_IMODE(file.stat().st_mode) for file in (tmp_path / "store").iterdir()}
    assert modes == {0o600}
    assert stat.S_IMODE((tmp_path / "store").stat().st_mode) == 0o700


def test_the_slot_file_holds_key_and_certificate_in_one(on_old: CertificateStore) -> None:
    current = on_old.current
    assert current is not None
    assert current.path.read_bytes() == OLD.pem


def test_when_the_current_slot_is_unreadable_the_other_one_is_tried(on_old: CertificateStore, tmp_path: Path) -> None:
    on_old.stage(NEW)
    (tmp_path / "store" / "a.pem").write_bytes(b"\0" * 512)
    again = CertificateStore(tmp_path / "store")
    assert again.current is None
    assert held(again.candidate) == NEW


@pytest.mark.parametrize("pointer", [b"", b"{}", b"[]", b'{"current": "z", "candidate": 1, "assignment": 3}'])
def test_without_a_readable_pointer_both_credentials_are_tried_newest_first(
    on_old: CertificateStore, tmp_path: Path, pointer: bytes
) -> None:
    on_old.stage(NEW)
    (tmp_path / "store" / "state.json").write_bytes(pointer)
    again = CertificateStore(tmp_path / "store")
    assert held(again.candidate) == NEW
    assert held(again.current) == OLD

"""Where new certificates come from: the folder on a real disk, the vault on the stand-in."""

from __future__ import annotations

import hashlib
import logging
import os
import time
from datetime import timedelta
from pathlib import Path

import pytest
from azure.identity import ManagedIdentityCredential
from azure.keyvault.certificates import CertificateClient, CertificatePolicy

from device.credential import Credential
from device.errors import SourceUnavailable
from device.ports import Hint
from device.sources import FolderSource, VaultSecretSource
from tests.device.device_certificates import Issued, issue
from tests.standin import StandIn


def put(folder: Path, name: str, issued: Issued) -> None:
    (folder / name).write_bytes(issued.pem)


def test_an_empty_folder_has_nothing(tmp_path: Path) -> None:
    assert FolderSource(tmp_path).newest(None) is None
    assert FolderSource(tmp_path / "not there").newest(None) is None


def test_the_newest_is_the_one_whose_validity_began_last(tmp_path: Path) -> None:
    old, new = issue(age=timedelta(days=9)), issue(age=timedelta(days=1))
    put(tmp_path, "1.pem", new)
    put(tmp_path, "2.pem", old)
    assert FolderSource(tmp_path).newest(None) == new.credential


def test_of_two_that_began_together_the_file_written_last_is_the_newest(tmp_path: Path) -> None:
    now = issue().certificate.not_valid_before_utc
    one, two = (issue(age=timedelta(0), now=now) for _ in range(2))
    put(tmp_path, "1.pem", two)
    put(tmp_path, "2.pem", one)
    os.utime(tmp_path / "2.pem", (1, 1))
    assert FolderSource(tmp_path).newest(None) == two.credential


def test_a_hint_finds_the_one_it_names(tmp_path: Path) -> None:
    old, new = issue(age=timedelta(days=9)), issue(age=timedelta(days=1))
    put(tmp_path, "1.pem", new)
    put(tmp_path, "2.pem", old)
    source = FolderSource(tmp_path)
    assert source.newest(Hint(old.credential.sha256)) == old.credential
    assert source.newest(Hint("F" * 64)) == new.credential


def test_a_file_that_is_no_credential_is_passed_over(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    good = issue()
    put(tmp_path, "good.pem", good)
    (tmp_path / "bad.pem").write_bytes(good.key_pem + issue("other").certificate_pem)
    put(tmp_path, "half.new", issue())
    with caplog.at_level(logging.WARNING):
        assert FolderSource(tmp_path).newest(None) == good.credential
    assert caplog.messages == ["passed over bad.pem: no certificate belongs to the private key"]


def test_an_unreadable_file_makes_the_folder_unavailable(tmp_path: Path) -> None:
    (tmp_path / "folder.pem").mkdir()
    with pytest.raises(SourceUnavailable, match="Is a directory"):
        FolderSource(tmp_path).newest(None)


# --- Key Vault ------------------------------------------------------------------------------------------------------


@pytest.fixture
def vault(azure: StandIn) -> CertificateClient:
    return CertificateClient(
        azure.endpoints["keyvault"]["url"],
        ManagedIdentityCredential(client_id="operator"),
        verify_challenge_resource=False,
    )


def source_of(azure: StandIn, name: str = "dev1") -> VaultSecretSource:
    return VaultSecretSource(azure.endpoints["keyvault"]["url"], name, ManagedIdentityCredential(client_id="operator"))


def new_version(vault: CertificateClient) -> tuple[str, Credential]:
    """Put one into the vault; give its identifier and what is in it."""
    issued = issue("dev1")
    return str(vault.import_certificate("dev1", issued.pfx).id), issued.credential


def test_the_vaults_secret_is_read_as_pfx(azure: StandIn, vault: CertificateClient) -> None:
    """azure-docs key-vault "About certificates": the secret behind a certificate is PFX in base64, or PEM."""
    _, credential = new_version(vault)
    assert source_of(azure).newest(None) == credential


def test_the_vaults_secret_is_read_as_pem(azure: StandIn, vault: CertificateClient) -> None:
    """The same page; here the vault makes the key."""
    policy = CertificatePolicy("Self", subject="CN=dev1", content_type="application/x-pem-file")
    vault.begin_create_certificate("dev1", policy).result()
    made = vault.get_certificate("dev1").cer
    assert made is not None
    found = source_of(azure).newest(None)
    assert found is not None
    assert found.sha256 == hashlib.sha256(made).hexdigest().upper()


def test_a_hinted_version_is_fetched_instead_of_the_latest(azure: StandIn, vault: CertificateClient) -> None:
    first_id, first = new_version(vault)
    _, second = new_version(vault)
    source = source_of(azure)
    assert source.newest(Hint(None, first_id)) == first
    assert source.newest(None) == second


@pytest.mark.parametrize(
    "certificate_id",
    [
        "https://elsewhere.example/certificates/dev1/{v}",
        "{vault}/certificates/other/{v}",
        "{vault}/x",
        "//[",
        "{vault}/certificates/dev1/../x",
    ],
)
def test_a_hint_leads_to_no_other_place_than_the_configured_one(
    azure: StandIn, vault: CertificateClient, certificate_id: str
) -> None:
    own, _ = new_version(vault)
    _, latest = new_version(vault)
    hint = certificate_id.format(vault=azure.endpoints["keyvault"]["url"], v=own.rsplit("/", 1)[1])
    assert source_of(azure).newest(Hint(None, hint)) == latest


def test_a_vault_without_the_secret_has_nothing(azure: StandIn) -> None:
    assert source_of(azure, "nobody").newest(None) is None


class _Token:
    token = "worthless"


class _Worthless:
    def get_token(self, *scopes: str) -> _Token:
        assert scopes == ("https://vault.azure.net/.default",)
        return _Token()


class _NoIdentity:
    def get_token(self, *scopes: str) -> _Token:
        raise OSError("no identity here")


def test_a_vault_that_refuses_is_unavailable_for_now(azure: StandIn) -> None:
    url = azure.endpoints["keyvault"]["url"]
    with pytest.raises(SourceUnavailable, match="the vault answered 401 for secret dev1"):
        VaultSecretSource(url, "dev1", _Worthless()).newest(None)
    with pytest.raises(SourceUnavailable, match="no token for the vault: OSError"):
        VaultSecretSource(url, "dev1", _NoIdentity()).newest(None)


def test_a_vault_that_does_not_answer_is_unavailable_for_now() -> None:
    before = time.monotonic()
    with pytest.raises(SourceUnavailable, match="no answer from the vault: ConnectionError"):
        VaultSecretSource("https://127.0.15.250:1", "dev1", _Worthless()).newest(None)
    assert time.monotonic() - before < 5

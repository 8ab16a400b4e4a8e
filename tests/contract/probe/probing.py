"""The probe: what no source says about DPS and hub, asked of one device (facts of the design, "cheapest probe").

It runs the same way against the stand-in, where it must find the knobs that are in force; that is what proves that
it measures what it says.
"""

import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import requests
from azure.core.exceptions import AzureError, HttpResponseError
from azure.keyvault.certificates import CertificatePolicy, KeyCurveName, KeyType

from local.azure.x509 import certificate_info
from tests.contract.dps_kit import Credential, call, self_signed, x509_group
from tests.contract.probe.asking import Asking, entry_slots, hub_slots, pinned
from tests.contract.probe.door import Session
from tests.contract.probe.findings import Finding, knob
from tests.contract.target import Target

NEVER = {"updateHubAssignment": False, "migrateDeviceData": False}
MIGRATE = {"updateHubAssignment": True, "migrateDeviceData": True}
MOST_QUERIES = 40
"""S1 allows 20 queries a minute: this many in a row meet a 429, if anything does."""
FOREIGN = "F" * 64
PHASES = (
    "first_entry",
    "first_registration",
    "second_registration",
    "slots_of_an_entry",
    "other_entries",
    "group_by_name",
    "policy_never",
    "session_and_thumbprints",
    "session_and_status",
    "disabled_and_deleted",
    "registration_under_way",
    "vault",
    "forms",
)
PLAN = (
    "two enrollments, of which one registers a device identity and the other may register one; perhaps an enrollment "
    "group that nobody can use; some ten MQTT connects; "
    f"up to {MOST_QUERIES} queries in a row, to meet a 429; one certificate in the vault, if one is named"
)
"""What it makes, for those who are asked whether it may."""


class Probe:
    """One run. Each phase starts from what the phase before left, and adds findings."""

    def __init__(self, target: Target, folder: Path) -> None:
        self.findings: list[Finding] = []
        self.failed: list[str] = []  # one line for each phase that did not come to its end
        self._ask = Asking(target, folder)
        self._target = target
        self._name = target.registration_id("probe")
        self._other = target.registration_id("probe-other")
        self._a, self._b, self._c = (self_signed(self._name) for _ in range(3))
        self._settle_s = 0.0
        self._written = 0.0
        self._registered = 0.0

    def run(self) -> list[Finding]:
        """Ask everything, in order. A phase that meets the unexpected does not take the answers of others along."""
        for phase in PHASES:
            try:
                getattr(self, f"_{phase}")()
            except (AssertionError, LookupError, AzureError, requests.RequestException) as error:
                self.failed.append(f"{phase}: {type(error).__name__}: {error}")
        self._ask.close()
        return self.findings

    # DPS: one entry

    def _first_entry(self) -> None:
        """A PUT with an etag on nothing; then a lone primary."""
        missing = self._ask.put_entry(self._name, self._a)
        self._answer("PUT with If-Match on an enrollment that is not there", missing.status_code, 404)
        made = self._put(self._a, new=not missing.ok)
        x509 = made["attestation"]["x509"]
        self._knob("mirror_lone_primary", entry_slots(made)[1] == self._a.sha256)
        self._knob("null_members", "null" if "caReferences" in x509 else "omit")

    def _first_registration(self) -> None:
        """Right after the entry was made; then the hub's door."""
        first = self._ask.register(self._name, self._a)
        self._settle_s, self._registered = first.refused_s, first.over_at
        self._knob("auth_propagation_s", first.refused_s)
        self._knob("assign_delay_s", first.took_s, first.status)
        self._answer("Retry-After of an accepted registration", first.retry_after, "3")
        self._at_the_door("the certificate that registered", "accepted", self._a)
        refused = self._ask.connect(self._name, self._b)
        self._knob("hub_refusal", None if refused.accepted else refused.outcome)

    def _second_registration(self) -> None:
        """Soon, with the other certificate of the entry; then the hub, its index, and the door."""
        entry = self._put(self._a, self._b)
        self._settle()
        second = self._ask.register(self._name, self._b)
        cached = second.over_at - second.took_s - self._registered if second.refused_s else 0.0
        self._knob("register_auth_cache_s", cached)
        shown = hub_slots(self._identity())
        same, copied = shown == (self._b.sha256,) * 2, shown == entry_slots(entry)
        self._knob("hub_slots", "same" if same else "enrollment" if copied else None)
        self._index(second.over_at)
        self._at_the_door("the certificate that registered before", "refused", self._a)

    def _index(self, since: float) -> None:
        """When a query by thumbprint finds the device, if one can be asked."""
        either = " OR ".join(
            f"x509Thumbprint.{slot}Thumbprint = '{self._b.sha256}'" for slot in ("primary", "secondary")
        )
        seen = self._until(lambda: self._ask.query_shows(self._name, either), since)
        filters = seen is not None or not self._ask.query_shows(self._name, f"deviceId = '{self._name}'")
        self._knob("hub_query_lag_s", seen)
        self._answer("a query can filter by x509Thumbprint", filters, True)

    def _at_the_door(self, what: str, believed: str, credential: Credential) -> None:
        session = self._ask.connect(self._name, credential)
        self._answer(f"at the hub, {what} is", "accepted" if session.accepted else "refused", believed)
        session.close()

    def _slots_of_an_entry(self) -> None:
        """A lone secondary, both, and what an `info` without certificate does."""
        lone = self._ask.put_entry(self._name, None, self._a)
        mirrored = entry_slots(lone.json())[0] == self._a.sha256 if lone.ok else None
        self._knob("mirror_lone_secondary", mirrored, "" if lone.ok else f"answered {lone.status_code}")
        both = self._put(self._a, self._b)
        info_a, info_b, foreign = (certificate_info(one.der) for one in (self._a, self._b, self._c))
        before = entry_slots(both)
        swapped = self._ask.put_entry(self._name, info_b, info_a)
        after = entry_slots(swapped.json()) if swapped.ok else before
        self._knob("promote_by_info_swap", after == before[::-1], f"answered {swapped.status_code}")
        wrong = self._ask.put_entry(self._name, foreign, info_b if after == before else info_a)
        kept = wrong.ok and entry_slots(wrong.json()) == after
        refused = wrong.status_code == 400
        self._knob("info_mismatch_at_put", "keep" if kept else "refuse" if refused else None, f"{wrong.status_code}")

    def _other_entries(self) -> None:
        """Another entry: the same certificate, one that has expired, one that a CA signed."""
        same = self._ask.put_entry(self._other, self._a, new=True)
        self._knob("same_certificate_in_two_enrollments", "allow" if same.ok else "conflict", f"{same.status_code}")
        old = self_signed(self._other, start=timedelta(days=-10), lasts=timedelta(days=5))
        expired = self._ask.put_entry(self._other, old, new=not same.ok)
        self._knob("expired_certificate_at_put", "accept" if expired.ok else "refuse", f"{expired.status_code}")
        leaf = self_signed("Rollover Probe CA", ca=True).issue(self._other)
        self._ask.put_entry(self._other, leaf, new=not (same.ok or expired.ok)).raise_for_status()
        self._wrote()
        self._settle()
        registered = self._ask.register(self._other, leaf, self._target.pace.quiet)
        self._knob("individual_leaf_needs_verified_ca", registered.state is None, registered.status)

    def _group_by_name(self) -> None:
        """A group that names a CA certificate which the DPS does not have."""
        group = self._target.group_id("probe")
        answer = call(self._target, "PUT", f"/enrollmentGroups/{group}", x509_group(group, "rollover-probe-no-such-ca"))
        self._knob("unknown_ca_reference", "accept" if answer.ok else "refuse", f"{answer.status_code}")

    def _policy_never(self) -> None:
        """A third certificate registers under reprovision policy "never"."""
        before = hub_slots(self._identity())
        self._put(self._c, self._b, reprovisionPolicy=NEVER)
        self._settle()
        registered = self._ask.register(self._name, self._c)
        refreshed = hub_slots(self._identity()) != before
        self._knob("never_policy_refreshes_thumbprint", refreshed, registered.status)
        self._put(self._c, self._b, reprovisionPolicy=MIGRATE)

    # the hub: sessions

    def _session_and_thumbprints(self) -> None:
        """The identity's thumbprints change under a live session."""
        identity = self._ask.put_identity(self._identity(), authentication=pinned(self._b.sha256))
        session = self._live(self._b)
        self._ask.put_identity(identity, authentication=pinned(FOREIGN))
        quiet_s = self._target.pace.quiet
        dropped = session.over_within(quiet_s)
        note = "" if dropped else f"watched for {quiet_s:g} s"
        self._knob("drop_session_on_thumbprint_change", dropped, note)
        session.close()

    def _session_and_status(self) -> None:
        """The identity is disabled under a live session: when does it end, and when does the identity say so?"""
        identity = self._ask.put_identity(self._identity(), authentication=pinned(self._b.sha256))
        session = self._live(self._b)
        began = time.monotonic()
        self._ask.put_identity(identity, status="disabled")
        over = session.over_within(self._target.pace.patience)
        self._knob("identity_drop_delay_s", session.over_at - began if over and session.over_at else None)
        shown = self._until(lambda: self._says("Disconnected"), since=session.over_at or began)
        self._knob("connection_state_lag_s", shown)

    def _disabled_and_deleted(self) -> None:
        """It registers while its identity is disabled; then the identity is deleted under a live session."""
        self._settle()
        registered = self._ask.register(self._name, self._b)
        identity = self._identity()
        self._knob("reregistration_reenables_identity", identity["status"] == "enabled", registered.status)
        self._ask.put_identity(identity, status="enabled", authentication=pinned(self._b.sha256))
        session = self._live(self._b)
        began = time.monotonic()
        self._ask.rest.call("DELETE", f"/devices/{self._name}", If_Match="*").raise_for_status()
        over = session.over_within(self._target.pace.patience)
        ended = round(session.over_at - began, 1) if over and session.over_at else None
        self._answer("seconds until the session of a deleted identity ends", ended, 0.2)

    def _registration_under_way(self) -> None:
        """The enrollment is disabled right after the register call was accepted. The identity was deleted before."""
        accepted = self._ask.start(self._name, self._b)
        accepted.raise_for_status()
        self._put(self._c, self._b, provisioningStatus="disabled")
        ended = self._ask.follow(self._name, self._b, accepted)
        written = self._ask.identity(self._name) is not None
        self._knob("disabling_stops_registration", not written, f"ended as {ended.status}")

    # the rest

    def _vault(self) -> None:
        """How long a self-signed certificate takes, and how long its deletion."""
        if self._target.endpoints["keyvault"]["url"] is None:
            self._knob("certificate_create_s", None, "no vault is named")
            self._knob("certificate_delete_s", None, "no vault is named")
            return
        vault, name = self._target.vault(), self._target.certificate_name("probe")
        wait_s = max(self._target.pace.poll / 2, 0.02)
        curve = KeyCurveName.p_256
        policy = CertificatePolicy("Self", subject="CN=rollover-probe", key_type=KeyType.ec, key_curve_name=curve)
        began = time.monotonic()
        vault.begin_create_certificate(name, policy, _polling_interval=wait_s).wait(self._target.pace.patience)
        self._knob("certificate_create_s", time.monotonic() - began)
        began = time.monotonic()
        vault.begin_delete_certificate(name, _polling_interval=wait_s).wait(self._target.pace.patience)
        self._knob("certificate_delete_s", time.monotonic() - began)
        try:
            vault.purge_deleted_certificate(name)
            self._answer("a deleted certificate can be purged", True, True)
        except HttpResponseError:
            self._answer("a deleted certificate can be purged", False, True)

    def _forms(self) -> None:
        """Headers, a spent quota, and what goes with an enrollment."""
        listed = call(
            self._target, "POST", "/enrollments/query", {"query": "SELECT *"}, headers={"x-ms-max-item-count": "1"}
        )
        self._answer("x-ms-item-type of enrollments", listed.headers.get("x-ms-item-type"), "Enrollment")
        answers = (self._ask.query(f"deviceId = '{self._name}'") for _ in range(MOST_QUERIES))
        throttled = next((one for one in answers if one.status_code == 429), None)
        told = None if throttled is None else "Retry-After" in throttled.headers
        self._knob("service_retry_after", told, "at the hub" if throttled is not None else "no 429 was met")
        call(self._target, "DELETE", f"/enrollments/{self._name}").raise_for_status()
        left = call(self._target, "GET", f"/registrations/{self._name}")
        self._answer("deleting an enrollment takes its registration along", left.status_code == 404, True)

    # what the phases share

    def _knob(self, name: str, found: Any, note: str = "") -> None:
        self.findings.append(knob(name, found, note))

    def _answer(self, question: str, found: Any, believed: Any) -> None:
        self.findings.append(Finding(question, found, believed))

    def _put(self, primary: Any, secondary: Any = None, **members: Any) -> dict[str, Any]:
        """PUT the probe's enrollment; it must be taken."""
        answer = self._ask.put_entry(self._name, primary, secondary, **members)
        answer.raise_for_status()
        self._wrote()
        entry: dict[str, Any] = answer.json()
        return entry

    def _wrote(self) -> None:
        self._written = time.monotonic()

    def _settle(self) -> None:
        """Until what was written counts for registrations, going by how long the first entry took."""
        time.sleep(max(0.0, self._written + self._settle_s - time.monotonic()))

    def _identity(self) -> dict[str, Any]:
        found = self._ask.identity(self._name)
        assert found is not None, "the identity that was registered is gone"
        return found

    def _says(self, state: str) -> bool:
        return bool(self._identity()["connectionState"] == state)

    def _live(self, credential: Credential) -> Session:
        """A session that the identity tells of, after it has told of the end of the one before.

        What was just written may need a moment before the door knows it.
        """
        self._until(lambda: self._says("Disconnected"))
        session = self._ask.connect(self._name, credential)
        deadline = time.monotonic() + self._target.pace.quiet
        while not session.accepted and time.monotonic() < deadline:
            time.sleep(self._target.pace.poll)
            session = self._ask.connect(self._name, credential)
        assert session.accepted, f"the hub does not let in the certificate that it shows ({session.outcome})"
        self._until(lambda: self._says("Connected"))
        return session

    def _until(self, done: Callable[[], bool], since: float | None = None) -> float | None:
        """Seconds from `since` until it is so; 0 when it was so at the first look, None when patience ends."""
        since = time.monotonic() if since is None else since
        if done():
            return 0.0
        while time.monotonic() < since + self._target.pace.patience:
            time.sleep(max(self._target.pace.poll * 1.5, 0.1))
            if done():
                return time.monotonic() - since
        return None

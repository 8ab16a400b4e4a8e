"""Every doubt about Azure that matters to a rollover, as a switch. The default is what we believe.

A product that works under both settings of each knob is safe against what could not be confirmed.
`docs` below are the pages of MicrosoftDocs/azure-docs; `cli tests` are the live tests of azure-iot-cli-extension.
"""

import dataclasses
import typing
from dataclasses import dataclass
from typing import Any, Literal


@dataclass
class Knobs:
    """One field per doubt; the comment says where the doubt comes from."""

    # DPS: a PUT with only a primary comes back with the secondary repeating it (recorded from the service, 2023).
    mirror_lone_primary: bool = True
    # DPS: the same for a lone secondary. The cli tests saw the primary stay empty.
    mirror_lone_secondary: bool = False
    # DPS: what a registration writes to the hub's two thumbprint slots: the presented leaf twice
    # (azure-iot-sdk-java#1220, iotedge#2951), or the enrollment's two certificates (one dissenting thread).
    hub_slots: Literal["same", "enrollment"] = "same"
    # DPS: does a registration under reprovision policy "never" still refresh the hub's thumbprints? No source.
    never_policy_refreshes_thumbprint: bool = False
    # Hub: is a live session cut when its identity's thumbprints change? X.509 is judged when TLS is set up.
    drop_session_on_thumbprint_change: bool = False
    # DPS: one certificate in two enrollments is not allowed (docs: concepts-x509-attestation); the answer is unknown.
    same_certificate_in_two_enrollments: Literal["conflict", "allow"] = "conflict"
    # DPS: no source mentions a refusal, and the documented roll leaves an expired primary in place.
    expired_certificate_at_put: Literal["accept", "refuse"] = "accept"
    # DPS: an `info` that is not what is stored: refused, or is the stored certificate kept?
    info_mismatch_at_put: Literal["refuse", "keep"] = "refuse"
    # DPS: may a PUT move a certificate between slots by its `info` alone? No client does it.
    promote_by_info_swap: bool = False
    # DPS: must the CA of an individual enrollment's CA-signed leaf be uploaded and verified? Docs suggest not.
    individual_leaf_needs_verified_ca: bool = False
    # DPS to hub: does a new registration enable a disabled device identity? No source.
    reregistration_reenables_identity: bool = False
    # DPS: 401002 right after writes that passes minutes later (azure-iot-sdk-node#679): registrations are judged by
    # the entries as they stood this many seconds ago. Seconds, at most 600.
    auth_propagation_s: float = 0.0
    # Hub: a refused certificate shows as CONNACK 5, or as a TLS alert (azure-iot-sdk-python#968).
    hub_refusal: Literal["connack", "tls"] = "connack"
    # DPS, hub: whether a 429 of the service API carries Retry-After is not documented.
    service_retry_after: bool = True
    # DPS: does a bulk call of ten cost ten operations of the quota, or one?
    bulk_costs_each: bool = True
    # DPS: for so long after a registration, another credential of the same device gets 401002
    # (azure-iot-sdk-node#721, sdk-c#1748; seen with symmetric keys over HTTPS). Seconds.
    register_auth_cache_s: float = 0.0
    # DPS: how long a registration stays "assigning". Seconds, real time.
    assign_delay_s: float = 0.3
    # Hub: how long until a job runs, half of it "queued" and half "scheduled". Seconds, real time.
    job_start_delay_s: float = 0.3
    # Hub: queries see the registry this much later (docs: query language, "eventually consistent"). Seconds.
    hub_query_lag_s: float = 0.0
    # Key Vault: how long a self-signed certificate takes to appear. Recorded: about 10 s. Seconds, real time.
    certificate_create_s: float = 0.3
    # DPS: unset members are left out (recorded, 2023) or sent as null (models of azure-iot-cli-extension).
    null_members: Literal["omit", "null"] = "omit"
    # Hub: a disabled or deleted identity loses its live session after this long
    # (azure-iot-sdk-c#2300; seconds to a minute). Seconds, real time.
    identity_drop_delay_s: float = 0.2
    # Hub: connectionState of an identity follows a connect or a disconnect this much later (docs: "Monitor device
    # connection status" calls it good for development only). Seconds, real time.
    connection_state_lag_s: float = 0.0
    # DPS: is a registration under way given up when its enrollment is disabled meanwhile? No source; the careful
    # reading is that the entry was judged at register, and the hub is still written.
    disabling_stops_registration: bool = False
    # Key Vault events: NBF and EXP are numbers (formicalab/certlc, in production) or text (the page's sample).
    near_expiry_event: Literal["number", "string"] = "number"
    # Key Vault events: does a version born less than 30 days before its end get a CertificateNearExpiry? No source.
    near_expiry_for_young: bool = False
    # Key Vault: how long a deleted certificate answers 404 on /deletedcertificates. Recorded: about 6 s. Real time.
    certificate_delete_s: float = 0.3
    # DPS: is `credentialPolicyName`, a member since 2025-07-01-preview, shown to callers of older versions? No source.
    credential_policy_visible: bool = True
    # DPS: is a chain with an expired CA refused at registration? No source for DPS; azure-docs#22770 suggests it is.
    expired_ca_at_register: Literal["refuse", "accept"] = "refuse"
    # DPS: does an individual enrollment keep its registration ID from another leaf that a group would admit?
    # docs (how-to-revoke-device-access-portal) look only at the certificates of the chain.
    enrollment_claims_registration_id: bool = False
    # Hub log: `properties` is JSON text (docs: data reference) or an object (captured, 2018).
    hub_log_properties: Literal["text", "object"] = "text"
    # Hub log: how late it comes. Docs: several minutes; a rehearsal has no such patience. Seconds, real time.
    hub_log_delay_s: float = 0.5
    # Hub log: which share of the records is lost, from 0 to 1 (docs: "not guaranteed to be reliable or ordered").
    hub_log_loss: float = 0.0
    # Hub log: does every record come twice? Event Hubs delivers at least once.
    hub_log_duplicates: bool = False
    # Hub log: do records come in another order than they were written?
    hub_log_reorder: bool = False

    # ARM: is the CA certificate shown in answers? Recorded (azure-cli, 2021 and 2022): only with a verification code.
    # The specification's examples show it everywhere; today's api-version was never recorded.
    arm_shows_certificate: bool = False
    # ARM: may a CA certificate be deleted while a group names it? docs how-to-roll-certificates deletes it first.
    ca_delete_while_referenced: Literal["allow", "conflict"] = "allow"
    # ARM: may an expired CA certificate be uploaded? No source.
    expired_ca_at_upload: Literal["accept", "refuse"] = "accept"
    # DPS: may a group name a CA certificate that does not exist? No source.
    unknown_ca_reference: Literal["refuse", "accept"] = "refuse"
    # DPS: may a group name one that is not verified? The portal offers only verified ones.
    unverified_ca_reference: Literal["accept", "refuse"] = "accept"

    def reset(self) -> None:
        """All knobs back to their defaults, in place."""
        for field in dataclasses.fields(self):
            setattr(self, field.name, field.default)

    def patch(self, changes: dict[str, Any]) -> None:
        """Turn the named knobs. ValueError for an unknown name or a value of the wrong kind; then none is turned."""
        kinds = typing.get_type_hints(type(self))
        for name, value in changes.items():
            if name not in kinds:
                raise ValueError(f"no knob named {name}")
            if not _fits(value, kinds[name]):
                raise ValueError(f"knob {name} does not take {value!r}")
        for name, value in changes.items():
            setattr(self, name, float(value) if kinds[name] is float else value)


def _fits(value: object, kind: Any) -> bool:
    if typing.get_origin(kind) is Literal:
        return value in typing.get_args(kind)
    if kind is float:
        return isinstance(value, int | float) and not isinstance(value, bool) and value >= 0
    return isinstance(value, kind)

"""The steps, and the order of them in each plan. Pure."""

from collections.abc import Mapping
from enum import StrEnum


class Step(StrEnum):
    """One step of a plan: one function, one queue (``queue``), one state of the world that it establishes.

    ``UPLOAD_SECONDARY`` and ``DELETE_PRIMARY`` keep the names the procedure is known by (Microsoft's guide "How
    to roll X.509 certificates"). The slots swap at every rollover: which one is standby is computed.
    """

    ISSUE_CERTIFICATE = "issue_certificate"
    UPLOAD_SECONDARY = "upload_secondary"
    STAGE_HUB_THUMBPRINT = "stage_hub_thumbprint"
    INVOKE_REPROVISION_JOB = "invoke_reprovision_job"
    DELETE_PRIMARY = "delete_primary"
    DISABLE_ENROLLMENT = "disable_enrollment"
    REMOVE_HUB_REGISTRATION = "remove_hub_registration"
    VERIFY_CONTAINMENT = "verify_containment"
    ENABLE_ENROLLMENT = "enable_enrollment"
    RESTORE_TWIN = "restore_twin"
    ADD_CA_CERTIFICATE = "add_ca_certificate"
    DELETE_CA_CERTIFICATE = "delete_ca_certificate"

    @property
    def queue(self) -> str:
        """The storage queue that wakes this step (queue names take no underscore)."""
        return self.value.replace("_", "-")


class Plan(StrEnum):
    """Why a rollover happens, which decides the order of its steps."""

    EXPIRY = "expiry"
    MEMBER_EXPIRY = "member_expiry"
    """A device that its enrollment group admits: its own certificate is replaced; no slot holds that."""
    BREACH = "breach"
    """Contain at once, then recover (modes remove and disable)."""
    BREACH_REPROVISION = "breach_reprovision"
    """The guide's second way: the device itself replaces the certificate at the hub, which accepts it until then."""
    DISALLOW = "disallow"
    ALLOW = "allow"
    """Takes a disallowing back."""
    GROUP_EXPIRY = "group_expiry"
    """An enrollment group: what it trusts is replaced, its devices are asked in waves."""
    GROUP_BREACH = "group_breach"
    """The same, contained first: the group's devices are evicted from the hub in batches."""

    @property
    def contains(self) -> bool:
        """Whether its purpose is that something is let in no longer."""
        return self in (Plan.BREACH, Plan.BREACH_REPROVISION, Plan.DISALLOW, Plan.GROUP_BREACH)

    @property
    def replaces(self) -> bool:
        """Whether a certificate of the enrollment is replaced because it is compromised."""
        return self in (Plan.BREACH, Plan.BREACH_REPROVISION, Plan.GROUP_BREACH)

    @property
    def expires(self) -> bool:
        """Whether a certificate is replaced because it nears its end: nobody may lose a connection."""
        return self in (Plan.EXPIRY, Plan.MEMBER_EXPIRY, Plan.GROUP_EXPIRY)

    @property
    def of_group(self) -> bool:
        """Whether its target is an enrollment group."""
        return self in (Plan.GROUP_EXPIRY, Plan.GROUP_BREACH)


PLANS: Mapping[Plan, tuple[Step, ...]] = {
    Plan.EXPIRY: (
        Step.ISSUE_CERTIFICATE,
        Step.UPLOAD_SECONDARY,
        Step.STAGE_HUB_THUMBPRINT,
        Step.INVOKE_REPROVISION_JOB,  # while the outgoing certificate still connects
        Step.DELETE_PRIMARY,  # once the device was seen on the incoming one
    ),
    Plan.MEMBER_EXPIRY: (
        Step.ISSUE_CERTIFICATE,  # under a CA that the group trusts
        Step.STAGE_HUB_THUMBPRINT,
        Step.INVOKE_REPROVISION_JOB,
        Step.DELETE_PRIMARY,  # of the hub identity, where DPS has not replaced it there
    ),
    Plan.BREACH: (
        Step.DISABLE_ENROLLMENT,  # the door at DPS is shut with one write
        Step.REMOVE_HUB_REGISTRATION,  # because DPS changes nothing at the hub
        Step.VERIFY_CONTAINMENT,
        Step.ISSUE_CERTIFICATE,  # until there is one, it rests contained
        Step.UPLOAD_SECONDARY,
        Step.DELETE_PRIMARY,
        Step.ENABLE_ENROLLMENT,
        Step.RESTORE_TWIN,  # once the device is back
    ),
    Plan.BREACH_REPROVISION: (
        Step.DISABLE_ENROLLMENT,
        Step.ISSUE_CERTIFICATE,
        Step.UPLOAD_SECONDARY,
        Step.DELETE_PRIMARY,
        Step.ENABLE_ENROLLMENT,
        Step.INVOKE_REPROVISION_JOB,
        Step.REMOVE_HUB_REGISTRATION,  # here: no session from before is left
        Step.VERIFY_CONTAINMENT,
        Step.RESTORE_TWIN,  # where a breach whose place this one took had removed the identity
    ),
    Plan.DISALLOW: (Step.DISABLE_ENROLLMENT, Step.REMOVE_HUB_REGISTRATION, Step.VERIFY_CONTAINMENT),
    Plan.ALLOW: (Step.ENABLE_ENROLLMENT,),
    Plan.GROUP_EXPIRY: (
        Step.ISSUE_CERTIFICATE,
        Step.ADD_CA_CERTIFICATE,  # only where the group names its CA
        Step.UPLOAD_SECONDARY,
        Step.INVOKE_REPROVISION_JOB,  # in waves
        Step.DELETE_PRIMARY,  # at the completion threshold
        Step.DELETE_CA_CERTIFICATE,
    ),
    Plan.GROUP_BREACH: (
        Step.DISABLE_ENROLLMENT,  # one write, whatever the fleet's size
        Step.REMOVE_HUB_REGISTRATION,  # in batches: the hub pins leaves, whatever their CA
        Step.VERIFY_CONTAINMENT,
        Step.ISSUE_CERTIFICATE,
        Step.ADD_CA_CERTIFICATE,
        Step.UPLOAD_SECONDARY,
        Step.DELETE_PRIMARY,
        Step.DELETE_CA_CERTIFICATE,
        Step.ENABLE_ENROLLMENT,
        Step.RESTORE_TWIN,  # as the devices come back
    ),
}
"""The order of the steps, here and nowhere else; ``docs/rollover.md`` is drawn from it."""

ESTABLISHES: Mapping[Step, str] = {
    Step.ISSUE_CERTIFICATE: "the vault holds a version that may take over: same common name, new key",
    Step.UPLOAD_SECONDARY: "a slot of the enrollment holds the incoming certificate, the other is kept",
    Step.STAGE_HUB_THUMBPRINT: "the hub identity accepts the outgoing and the incoming certificate",
    Step.INVOKE_REPROVISION_JOB: "the hub identity shows the incoming certificate through a registration",
    Step.DELETE_PRIMARY: "neither a slot of the enrollment nor the hub identity holds the outgoing certificate",
    Step.DISABLE_ENROLLMENT: "DPS admits the device with no certificate",
    Step.REMOVE_HUB_REGISTRATION: "the hub accepts no compromised certificate, and has no session from before",
    Step.VERIFY_CONTAINMENT: "read back twice: neither DPS nor hub accepts a compromised certificate, no session lives",
    Step.ENABLE_ENROLLMENT: "DPS admits the device again, and the hub does where its identity was only disabled",
    Step.RESTORE_TWIN: "the device is back, and its twin has the tags and desired properties that it had",
    Step.ADD_CA_CERTIFICATE: "the incoming CA certificate is in DPS, and verified",
    Step.DELETE_CA_CERTIFICATE: "the outgoing CA certificate is not in DPS",
}

"""The guide's four procedures for enrollment groups (azure-docs how-to-roll-certificates), as lists of steps.

New leaves for the devices are no part of them: who issues those has done so, or does so when a device asks.
"""

from local.rehearse.by_hand import KEPT, ByHand, Procedure, Step
from local.rehearse.pki import CertificateAuthority

ADD_CA, DELETE_CA = "add and verify the new CA certificate", "delete the old CA certificate"
TRUST_BOTH, TRUST_NEW = "put the new certificate into the secondary slot", "replace the certificate in both slots"
FORGET_OLD = "delete the primary certificate"
ASK = "ask the devices to reprovision"
REMOVE = "remove the registrations from the hub"


def intermediate_expiry(hand: ByHand, group_id: str, new: CertificateAuthority) -> Procedure:
    """ "Updating expiring intermediate certificates", and "Device reprovisioning" by a job."""
    return Procedure(
        [
            Step(TRUST_BOTH, lambda: hand.set_slots(group_id, KEPT, new)),
            Step(ASK, lambda: hand.ask_to_reprovision(hand.registered(group_id))),
        ],
        [Step(FORGET_OLD, lambda: hand.set_slots(group_id, None, KEPT))],
    )


def root_expiry(hand: ByHand, group_id: str, old_name: str, new_name: str, new: CertificateAuthority) -> Procedure:
    """ "Updating expiring root CA certificates". The guide leaves the group's reference to the deleted one."""
    return Procedure(
        [
            Step(ADD_CA, lambda: hand.add_ca(new_name, new)),
            Step(TRUST_BOTH, lambda: hand.set_slots(group_id, KEPT, new_name)),
            Step(ASK, lambda: hand.ask_to_reprovision(hand.registered(group_id))),
        ],
        [Step(DELETE_CA, lambda: hand.delete_ca(old_name))],
    )


def intermediate_breach(hand: ByHand, group_id: str, new: CertificateAuthority) -> Procedure:
    """ "Updating compromised intermediate certificates"."""
    return Procedure(
        [
            Step(TRUST_NEW, lambda: hand.set_slots(group_id, new)),
            Step(REMOVE, lambda: hand.remove_from_hub(hand.registered(group_id))),
        ]
    )


def root_breach(hand: ByHand, group_id: str, old_name: str, new_name: str, new: CertificateAuthority) -> Procedure:
    """ "Updating compromised root CA certificates"."""
    return Procedure(
        [
            Step(DELETE_CA, lambda: hand.delete_ca(old_name)),
            Step(ADD_CA, lambda: hand.add_ca(new_name, new)),
            Step(TRUST_NEW, lambda: hand.set_slots(group_id, new_name)),
            Step(REMOVE, lambda: hand.remove_from_hub(hand.registered(group_id))),
        ]
    )

"""The certificate policy: defaults as recorded from the service, and what it refuses."""

import copy
import re
from typing import Any

from cryptography import x509
from cryptography.x509.oid import NameOID

from local.azure.keyvault.refusals import BadParameter

Policy = dict[str, Any]
KEY_SIZES = {"RSA": (2048, 3072, 4096), "RSA-HSM": (2048, 3072, 4096)}
CURVES = ("P-256", "P-384", "P-521", "P-256K")
DAYS_IN_MONTH = 27  # docs of LifetimeAction: days_before_expiry is at most validity_months times 27


def complete(asked: Policy) -> Policy:
    """`asked` with the service's defaults filled in; BadParameter when it cannot be followed."""
    issuer = (asked.get("issuer") or {}).get("name")
    if not issuer:
        raise _invalid("issuer", "the issuer's name is missing")
    if issuer not in ("Self", "Unknown"):
        raise _invalid("issuer", f"no issuer named {issuer} in this vault")
    key = {k: v for k, v in (asked.get("key_props") or {}).items() if v is not None}
    kty = key.get("kty", "RSA")
    size = {"crv": "P-256"} if kty.startswith("EC") else {"key_size": 2048}
    action = "AutoRenew" if issuer == "Self" else "EmailContacts"
    policy: Policy = {
        "key_props": {"exportable": True, "kty": kty, **size, "reuse_key": False, **key},
        "secret_props": {"contentType": "application/x-pkcs12", **(asked.get("secret_props") or {})},
        "x509_props": {
            "subject": "",
            "sans": {},
            "ekus": ["1.3.6.1.5.5.7.3.1", "1.3.6.1.5.5.7.3.2"],
            "key_usage": ["digitalSignature", "keyEncipherment"],
            "validity_months": 12,
            "basic_constraints": {"ca": False},
            **{k: v for k, v in (asked.get("x509_props") or {}).items() if v is not None},
        },
        "lifetime_actions": [{"trigger": {"lifetime_percentage": 80}, "action": {"action_type": action}}]
        if asked.get("lifetime_actions") is None
        else copy.deepcopy(asked["lifetime_actions"]),
        "issuer": {k: v for k, v in asked["issuer"].items() if v is not None},
    }
    _judge(policy)
    return policy


def merged(current: Policy, changes: Policy) -> Policy:
    """`current` with the members of `changes` that are given; BadParameter as in `complete`."""
    asked = {name: value for name, value in current.items() if name not in ("id", "attributes")}
    for name, value in changes.items():
        if value is None or name in ("id", "attributes"):
            continue
        if isinstance(value, dict):
            given = {k: v for k, v in value.items() if v is not None}
            asked[name] = {**asked.get(name, {}), **given}
        else:
            asked[name] = value
    return complete(asked)


def _judge(policy: Policy) -> None:
    key, props = policy["key_props"], policy["x509_props"]
    kty = key["kty"]
    if kty in KEY_SIZES:
        if key["key_size"] not in KEY_SIZES[kty]:
            raise _invalid("key_props", "the key size is not 2048, 3072 or 4096")
    elif kty not in ("EC", "EC-HSM") or key.get("crv") not in CURVES:
        raise _invalid("key_props", f"no key of type {kty} {key.get('crv', '')}")
    if not props["subject"] and not props["sans"]:
        raise _invalid("x509_props", "there is neither a subject nor a subject alternative name")
    subject_name(props["subject"])
    months = props["validity_months"]
    if not isinstance(months, int) or months < 1:
        raise _invalid("x509_props", "validity_months is a whole number from 1")
    for action in policy["lifetime_actions"]:
        _judge_action(action, months)


def _judge_action(action: dict[str, Any], months: int) -> None:
    trigger = {k: v for k, v in (action.get("trigger") or {}).items() if v is not None}
    days, percentage = trigger.get("days_before_expiry"), trigger.get("lifetime_percentage")
    if (days is None) == (percentage is None):
        raise _invalid("lifetime_actions", "a trigger is days_before_expiry or lifetime_percentage")
    if days is not None and not 1 <= days <= months * DAYS_IN_MONTH:
        raise _invalid("lifetime_actions", f"days_before_expiry is between 1 and {months * DAYS_IN_MONTH}")
    if percentage is not None and not 1 <= percentage <= 99:
        raise _invalid("lifetime_actions", "lifetime_percentage is between 1 and 99")
    if (action.get("action") or {}).get("action_type") not in ("AutoRenew", "EmailContacts"):
        raise _invalid("lifetime_actions", "the action is AutoRenew or EmailContacts")


def _invalid(member: str, reason: str) -> BadParameter:
    return BadParameter(f"Property policy.{member} has invalid value: {reason}.")


def subject_name(text: str) -> x509.Name:
    """The name that "CN=device-1, O=Contoso" means; BadParameter when it means none."""
    if not text:
        return x509.Name([])
    spelled = {"E": NameOID.EMAIL_ADDRESS, "S": NameOID.STATE_OR_PROVINCE_NAME}
    try:
        return x509.Name.from_rfc4514_string(re.sub(r"(?<!\\),\s+", ",", text.strip()), spelled)
    except ValueError:
        raise BadParameter(f"Property policy.x509_props.subject has invalid value: {text}.") from None

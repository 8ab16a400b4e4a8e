"""Distinguished names as DPS writes them. Pure.

DPS is a .NET service: ``X500DistinguishedName.Name`` gives the most specific part first, ``CN=dev-01, OU=Pumps,
O=Example`` (recorded: ``info.subjectName``). Names in a DER are written the same way here, so that they compare as
texts with what an entry shows.
"""

from cryptography import x509
from cryptography.x509.oid import NameOID, ObjectIdentifier

_LABELS = {
    NameOID.COMMON_NAME: "CN",
    NameOID.ORGANIZATIONAL_UNIT_NAME: "OU",
    NameOID.ORGANIZATION_NAME: "O",
    NameOID.LOCALITY_NAME: "L",
    NameOID.STATE_OR_PROVINCE_NAME: "S",
    NameOID.COUNTRY_NAME: "C",
    NameOID.STREET_ADDRESS: "STREET",
    NameOID.DOMAIN_COMPONENT: "DC",
    NameOID.EMAIL_ADDRESS: "E",
    NameOID.SERIAL_NUMBER: "SERIALNUMBER",
    NameOID.TITLE: "T",
    NameOID.GIVEN_NAME: "G",
    NameOID.SURNAME: "SN",
    NameOID.INITIALS: "I",
    NameOID.DN_QUALIFIER: "dnQualifier",
    ObjectIdentifier("0.9.2342.19200300.100.1.1"): "UID",
}
_QUOTED = frozenset(',+"\n\r=<>#;')


def as_dps_writes(name: x509.Name) -> str:
    """The name as text; empty for an empty name."""
    return ", ".join(" + ".join(_attribute(part) for part in rdn) for rdn in reversed(list(name.rdns)))


def _attribute(part: x509.NameAttribute[str | bytes]) -> str:
    label = _LABELS.get(part.oid, f"OID.{part.oid.dotted_string}")
    value = part.value if isinstance(part.value, str) else part.value.hex().upper()
    if value != value.strip() or not value or not _QUOTED.isdisjoint(value):
        value = '"' + value.replace('"', '""') + '"'
    return f"{label}={value}"

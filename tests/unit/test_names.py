"""Distinguished names as DPS writes them; the stand-in does the same, by code of its own."""

import pytest
from cryptography import x509
from cryptography.x509.oid import NameOID, ObjectIdentifier

from local.azure.x509 import net_name
from shared.names import as_dps_writes

ORG, OU, CN = NameOID.ORGANIZATION_NAME, NameOID.ORGANIZATIONAL_UNIT_NAME, NameOID.COMMON_NAME


def named(*parts: tuple[ObjectIdentifier, str]) -> x509.Name:
    return x509.Name([x509.NameAttribute(oid, value) for oid, value in parts])


NAMES = {
    "CN=dev-01": named((CN, "dev-01")),
    "CN=dev-01, OU=Pumps, O=Example": named((ORG, "Example"), (OU, "Pumps"), (CN, "dev-01")),
    'O="Example, Inc."': named((ORG, "Example, Inc.")),
    'O="say ""so"""': named((ORG, 'say "so"')),
    'CN=" x"': named((CN, " x")),
    "OID.1.3.6.1.4.1.1=x": named((ObjectIdentifier("1.3.6.1.4.1.1"), "x")),
    "": x509.Name([]),
}


@pytest.mark.parametrize(("text", "name"), NAMES.items())
def test_a_name_is_written_as_net_writes_it(text, name):
    """System.Security.Cryptography.X509Certificates, X500DistinguishedName.Name."""
    assert as_dps_writes(name) == text == net_name(name)


def test_attributes_of_one_part_are_joined_by_a_plus():
    both = x509.Name([x509.RelativeDistinguishedName([x509.NameAttribute(CN, "a"), x509.NameAttribute(OU, "b")])])
    assert as_dps_writes(both) == net_name(both)

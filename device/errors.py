"""What may go wrong on a device, in the three kinds the agent treats differently.

::

    DeviceError
    ├── NotACredential     wrong input: not one certificate chain with its own private key
    ├── Refused            a service said no to this certificate; another try with it is not a matter of network
    ├── Unreachable        no answer from a service, whoever is to blame; try again later
    └── SourceUnavailable  the place new certificates come from cannot be read now
"""

from __future__ import annotations


class DeviceError(Exception):
    """Anything the agent expects and handles."""


class NotACredential(DeviceError):
    """The bytes are not one certificate chain with its own private key. Never quotes them."""


class Refused(DeviceError):
    """DPS or the hub said no to the certificate that was shown."""


class Unreachable(DeviceError):
    """DPS or the hub did not answer, or answered that it cannot answer now."""


class SourceUnavailable(DeviceError):
    """The source of new certificates cannot be read now."""

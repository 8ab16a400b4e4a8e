"""Somebody with a copy of a CA's key, who makes himself a certificate for whoever he wants to be.

He need not steal anything from a device: DPS takes any leaf under the CA that a group trusts, for a name that there is
as for one that there never was (azure-docs concepts-x509-attestation).
"""

import tempfile
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from local.rehearse.pki import CertificateAuthority, Validity
from local.rehearse.thief import Tell, Thief

BACKDATED, LASTS = timedelta(minutes=10), timedelta(days=3650)


class Forger:
    """From `start` to `stop` a thief (`thief.Thief`) for each of `names`, with a leaf that the stolen key signed.

    `now` is what the clock says. `sha256` gives the thumbprint of each leaf by name.
    """

    def __init__(
        self,
        document: Mapping[str, Any],
        stolen: CertificateAuthority,
        names: Sequence[str],
        now: datetime,
        tell: Mapping[str, Tell],
    ) -> None:
        self._thieves = []
        for name in names:
            with tempfile.TemporaryDirectory(prefix="rollover-forged-") as folder:
                leaf = Path(folder) / "leaf.pem"
                leaf.write_bytes(stolen.forge(name, Validity(now - BACKDATED, now + LASTS)))
                self._thieves.append(Thief(document, name, leaf, tell[name]))

    def start(self) -> None:
        """Try every door with every name."""
        for thief in self._thieves:
            thief.start()

    def stop(self) -> None:
        """Give up after the tries under way."""
        for thief in self._thieves:
            thief.stop()

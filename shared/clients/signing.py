"""Private keys that stay in the vault, behind the interface by which ``cryptography`` signs certificates.

azure-keyvault-keys has such a class for RSA alone, and it raises Azure's errors; these two can sign and nothing else.
"""

from collections.abc import Buffer
from typing import Any, NoReturn

from azure.keyvault.keys.crypto import CryptographyClient, SignatureAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from shared.clients.answers import answers_of
from shared.errors import BadInput
from shared.issuing import IssuerKey

_RSA = {"sha256": SignatureAlgorithm.rs256, "sha384": SignatureAlgorithm.rs384, "sha512": SignatureAlgorithm.rs512}
_EC = {
    ("secp256r1", "sha256"): SignatureAlgorithm.es256,
    ("secp384r1", "sha384"): SignatureAlgorithm.es384,
    ("secp521r1", "sha512"): SignatureAlgorithm.es512,
}
"""One hash for each curve (docs about-keys-details)."""


def signing_key(client: CryptographyClient, public_key: object, name: str) -> IssuerKey:
    """The key that ``client`` signs with; ``public_key`` is what its certificate says.

    Raises:
        BadInput: it is neither RSA nor on a curve that the vault signs with.
    """
    if isinstance(public_key, rsa.RSAPublicKey):
        return _VaultRsaKey(client, public_key, name)
    if isinstance(public_key, ec.EllipticCurvePublicKey):
        return _VaultEcKey(client, public_key, name)
    raise BadInput(f"the key of the vault's certificate {name!r} is neither RSA nor EC")


class _InVault:
    """What both kinds cannot do: a key that is not here can neither be read nor be written down."""

    def __init__(self, client: CryptographyClient, name: str) -> None:
        self._client = client
        self._name = name

    def _sign(self, algorithm: SignatureAlgorithm | None, data: Buffer, hashing: Any) -> bytes:
        if algorithm is None:
            raise BadInput(f"the key of the vault's certificate {self._name!r} cannot sign over {hashing.name}")
        digest = hashes.Hash(hashing)
        digest.update(bytes(data))
        with answers_of("Key Vault", f"sign with the key of certificate {self._name}"):
            return self._client.sign(algorithm, digest.finalize()).signature

    def private_numbers(self) -> NoReturn:
        raise NotImplementedError("the key is in the vault")

    def private_bytes(self, *_: Any, **__: Any) -> NoReturn:
        raise NotImplementedError("the key is in the vault")

    def __copy__(self) -> Any:
        return self

    def __deepcopy__(self, _memo: dict[int, Any]) -> Any:
        return self


class _VaultRsaKey(_InVault, rsa.RSAPrivateKey):
    def __init__(self, client: CryptographyClient, public_key: rsa.RSAPublicKey, name: str) -> None:
        super().__init__(client, name)
        self._public = public_key

    @property
    def key_size(self) -> int:
        return self._public.key_size

    def public_key(self) -> rsa.RSAPublicKey:
        return self._public

    def decrypt(self, ciphertext: bytes, padding: Any) -> NoReturn:
        raise NotImplementedError("the key is for signing")

    def sign(self, data: Buffer, padding_: Any, algorithm: Any) -> bytes:
        """PKCS#1 v1.5, as certificates are signed."""
        chosen = _RSA.get(algorithm.name) if isinstance(padding_, padding.PKCS1v15) else None
        return self._sign(chosen, data, algorithm)


class _VaultEcKey(_InVault, ec.EllipticCurvePrivateKey):
    def __init__(self, client: CryptographyClient, public_key: ec.EllipticCurvePublicKey, name: str) -> None:
        super().__init__(client, name)
        self._public = public_key

    @property
    def curve(self) -> ec.EllipticCurve:
        return self._public.curve

    @property
    def key_size(self) -> int:
        return self._public.key_size

    def public_key(self) -> ec.EllipticCurvePublicKey:
        return self._public

    def exchange(self, algorithm: ec.ECDH, peer_public_key: ec.EllipticCurvePublicKey) -> NoReturn:
        raise NotImplementedError("the key is for signing")

    def sign(self, data: Buffer, signature_algorithm: ec.EllipticCurveSignatureAlgorithm) -> bytes:
        """The vault's two numbers, one after the other (RFC 7518 3.4), in DER (RFC 3279 2.2.3)."""
        hashing: Any = signature_algorithm.algorithm
        raw = self._sign(_EC.get((self.curve.name, hashing.name)), data, hashing)
        half = len(raw) // 2
        return encode_dss_signature(int.from_bytes(raw[:half]), int.from_bytes(raw[half:]))

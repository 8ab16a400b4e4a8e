"""The identity provider: managed-identity tokens, and who may do what."""

from local.azure.identity.roles import Forbidden, Identity, Unauthorized

__all__ = ["Forbidden", "Identity", "Unauthorized"]

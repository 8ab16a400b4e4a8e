"""Key Vault: certificates with their policies, operations and versions, and the secrets behind them."""

from local.azure.keyvault.certificates import Vault

__all__ = ["Vault"]

from local.azure.dps.service import Dps

__all__ = ["Dps"]

"""Azure Resource Manager, as far as a rollover needs it: CA certificates of the DPS; the DPS and the hub to look at."""

from local.azure.arm.routes import arm_app

__all__ = ["arm_app"]

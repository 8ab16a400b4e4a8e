"""Both HTTP sides of DPS, on one address as on Azure."""

from typing import TYPE_CHECKING

from aiohttp import web

from local.azure.dps.device_routes import device_operations
from local.azure.dps.http import authorizer, refuser
from local.azure.dps.refusals import TooManyRequests
from local.azure.dps.service_routes import service_operations
from local.azure.http import service_app

if TYPE_CHECKING:
    from local.azure.world import World


def dps_app(world: "World") -> web.Application:
    """The application on the DPS address."""
    return service_app(
        "dps",
        [*service_operations(world), *device_operations(world)],
        world,
        authorize=authorizer(world),
        refusal_reply=refuser(world),
        throttled=TooManyRequests,
    )

"""Azure Resource Manager: not emulated. It answers, so that a caller learns by name what is missing."""

from aiohttp import web

from local.azure.http import not_emulated
from local.azure.world import World


def arm_app(_world: World) -> web.Application:
    """501 for everything, naming the operation."""

    async def refuse(request: web.Request) -> web.Response:
        return not_emulated(request)

    app = web.Application()
    app.router.add_route("*", "/{rest:.*}", refuse)
    return app

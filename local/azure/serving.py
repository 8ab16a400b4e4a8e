"""Opens the doors of a world: every address and port, and closes them again."""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable

from aiohttp import web
from OpenSSL import SSL

from local.azure.arm import arm_app
from local.azure.authority import make_authority
from local.azure.control import control_app
from local.azure.dps.mqtt import DpsMqtt
from local.azure.dps.routes import dps_app
from local.azure.eventgrid.routes import topic_app
from local.azure.identity.metadata import entra_app
from local.azure.identity.routes import identity_app
from local.azure.iothub.mqtt import HubMqtt
from local.azure.iothub.routes import hub_app
from local.azure.keyvault.routes import vault_app
from local.azure.mqtt import MqttServer, MqttService, serve_mqtt
from local.azure.names import HTTPS_PORT, MQTT_PORT
from local.azure.tls import Refuse, serve_tls, server_context
from local.azure.world import World

log = logging.getLogger(__name__)
TICK_S = 1.0


class PortInUse(Exception):
    """An address and port that somebody else has; the text is one clear line."""

    def __init__(self, host: str, port: int, reason: str) -> None:
        super().__init__(f"cannot listen on {host}:{port}: {reason}. Stop what uses it, or choose another --net.")


class Serving:
    """A world with its doors open, from `start()` to `stop()`, inside the running event loop."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.authority = make_authority(world.names.addresses)
        self._context: SSL.Context = server_context(self.authority)
        self._runners: list[web.AppRunner] = []
        self._servers: list[asyncio.Server] = []
        self._mqtt: list[MqttServer] = []
        self._ticker: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Listen everywhere. PortInUse when an address is taken; then nothing stays open."""
        try:
            await self._open()
        except BaseException:
            await self.stop()
            raise
        self._ticker = asyncio.create_task(self._tick())

    async def _open(self) -> None:
        world, names = self.world, self.world.names
        await self._http(control_app(world), names.host, 8090)
        await self._http(identity_app(world.identity, names.identity_secret), names.host, 8091)
        await self._https(arm_app(world), names.arm_host)
        await self._https(vault_app(world), names.vault_host)
        await self._https(topic_app(world), names.topic_host)
        await self._https(entra_app(world), names.entra_host)
        await self._https(dps_app(world), names.dps_host)
        await self._https(hub_app(world), names.hub_host)
        await self._mqtts(DpsMqtt(world), names.dps_host)
        await self._mqtts(HubMqtt(world), names.hub_host)

    async def _http(self, app: web.Application, host: str, port: int) -> None:
        server = await self._prepare(app)
        await self._bind(host, port, asyncio.get_running_loop().create_server(server, host, port))

    async def _https(self, app: web.Application, host: str) -> None:
        """On 8443, and on 443 where that can be bound: the Node service clients know no other port."""
        server = await self._prepare(app)
        await self._bind(host, HTTPS_PORT, serve_tls(server, host, HTTPS_PORT, self._context))
        try:
            self._servers.append(await serve_tls(server, host, 443, self._context))
        except OSError as error:
            log.info("%s:443 stays closed (%s)", host, error.strerror)

    async def _mqtts(self, service: MqttService, host: str) -> None:
        # A service may turn certificates away inside the handshake: refuse_in_handshake(leaf DER) -> bool.
        refuse: Refuse | None = getattr(service, "refuse_in_handshake", None)
        try:
            server, sessions = await serve_mqtt(service, host, MQTT_PORT, self._context, refuse)
        except OSError as error:
            raise PortInUse(host, MQTT_PORT, error.strerror or str(error)) from None
        self._servers.append(server)
        self._mqtt.append(sessions)

    async def _prepare(self, app: web.Application) -> Callable[[], asyncio.BaseProtocol]:
        runner = web.AppRunner(app, handle_signals=False, access_log=None, shutdown_timeout=1.0)
        await runner.setup()
        self._runners.append(runner)
        assert runner.server is not None  # noqa: S101  setup() made it
        return runner.server

    async def _bind(self, host: str, port: int, opening: Awaitable[asyncio.Server]) -> None:
        try:
            self._servers.append(await opening)
        except OSError as error:
            raise PortInUse(host, port, error.strerror or str(error)) from None

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(TICK_S)
            self.world.tick()

    async def stop(self) -> None:
        """Close every door and end every conversation."""
        if self._ticker is not None:
            self._ticker.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._ticker
        for server in self._servers:
            server.close()
        for sessions in self._mqtt:
            await sessions.stop()
        self.world.hub.log.clear()
        for runner in self._runners:
            await runner.cleanup()

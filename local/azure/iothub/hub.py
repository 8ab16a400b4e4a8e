"""One IoT Hub: its parts, put together."""

import asyncio
import json
from collections import Counter
from typing import TYPE_CHECKING

from local.azure.iothub.bulk import Bulk
from local.azure.iothub.connection_log import ConnectionLog
from local.azure.iothub.job_work import DeviceWork
from local.azure.iothub.jobs import Jobs
from local.azure.iothub.methods import Methods
from local.azure.iothub.provisioning import Policy, Provisioning
from local.azure.iothub.queries import Queries
from local.azure.iothub.registry import Registry
from local.azure.iothub.sessions import Sessions
from local.azure.iothub.store import Json, Store
from local.azure.iothub.twins import Twins

if TYPE_CHECKING:
    from local.azure.world import World

DESIRED_FILTER = "$iothub/twin/PATCH/properties/desired/#"


class Hub:
    """The state of the hub. `routes.py` and `mqtt.py` are its doors; the DPS stand-in calls `provision_x509`."""

    def __init__(self, world: "World") -> None:
        clock, knobs, throttles = world.clock, world.knobs, world.throttles
        self.host_name = world.names.hub_host  # what a registration's assignedHub says
        self.store = Store(clock, knobs)
        self.log = ConnectionLog(world.names, clock, knobs)
        self.sessions = Sessions(self.store, clock, knobs, world.journal, self.log)
        self.registry = Registry(self.store, clock, self.sessions.identity_changed)
        self.twins = Twins(self.store, clock, self._push_desired)
        self.bulk = Bulk(self.store, self.registry, self.twins)
        self.methods = Methods(self.store, self.sessions)
        work = DeviceWork(self.methods, self.twins, clock, throttles)
        self.jobs = Jobs(self.store, work, clock, knobs, throttles)
        self.queries = Queries(self.store, self.jobs.rows)
        self.telemetry: Counter[str] = Counter()  # messages by device ID; their content is not kept
        self._provisioning = Provisioning(self.store, self.registry, self.twins, knobs, throttles)
        self._pushes: set[asyncio.Task[None]] = set()

    def provision_x509(
        self, device_id: str, *, primary: str, secondary: str, policy: Policy, initial_twin: Json | None, iot_edge: bool
    ) -> str:
        """What a DPS registration does to the identity; gives its `substatus`. See provisioning.py."""
        return self._provisioning.provision_x509(
            device_id,
            primary=primary,
            secondary=secondary,
            policy=policy,
            initial_twin=initial_twin,
            iot_edge=iot_edge,
        )

    def _push_desired(self, device_id: str, patch: Json) -> None:
        session = self.sessions.subscribed(device_id, DESIRED_FILTER)
        if session is not None:
            topic = f"$iothub/twin/PATCH/properties/desired/?$version={patch['$version']}"
            push = asyncio.create_task(session.publish(topic, json.dumps(patch).encode()))
            self._pushes.add(push)
            push.add_done_callback(self._pushes.discard)

    def reset(self) -> None:
        """No devices, no jobs, no connections."""
        self.jobs.clear()
        self.sessions.clear()
        self.log.clear()
        self.store.clear()
        self.telemetry.clear()

"""Real device agents, and the ways by which they get their certificates.

All are the reference agent (`device/`); a light one has sockets of ours under it in place of azure-iot-device.
"""

import logging
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests
from azure.core.exceptions import AzureError

from device.agent import DeviceAgent
from device.backoff import Backoff
from device.config import Config
from device.disk import Directory, replace_file
from device.errors import SourceUnavailable
from device.ports import CertificateSource
from device.sources import FolderSource, VaultSecretSource
from device.store import CertificateStore, Stored
from local.rehearse.desk import Desk, DeskSource
from local.rehearse.light.dps import PAUSE_S, LightRegistration
from local.rehearse.light.hub import LightHub
from local.rehearse.light.network import Network
from local.rehearse.moving import Identity, MovedClock
from local.rehearse.operator import Operator
from local.rehearse.screen import Screen

log = logging.getLogger(__name__)

LOOK_S = 0.5
BACKOFF = Backoff(cap_s=5.0)
PIPELINE, VAULT, DESK = "pipeline", "vault", "desk"


@dataclass(frozen=True)
class Member:
    """A device of the fleet: its registration ID, where its certificates come from, and what is under its agent."""

    registration_id: str
    fed_by: str
    light: bool = False


def members(count: int) -> list[Member]:
    """The first half is fed by the pipeline, the second by the vault."""
    return [Member(f"meter-{n:02}", PIPELINE if n <= count // 2 else VAULT) for n in range(1, count + 1)]


def group_members(light: int, heavy: int = 0, fed_by: str = DESK) -> list[Member]:
    """Devices of a group: the last `heavy` ones on azure-iot-device."""
    return [Member(f"meter-{n:03}", fed_by, light=n <= light) for n in range(1, light + heavy + 1)]


class LightDirectory(Directory):
    """A folder without syncs, which hundreds of devices on one medium wait for: no power cut is rehearsed here."""

    def sync(self, descriptor: int) -> None:
        """Nothing."""

    def sync_directory(self) -> None:
        """Nothing."""


class Pipeline(threading.Thread):
    """Stands for what a fleet has already: watches the vault, and brings each device what is new there.

    A delivery is one PEM file with key and chain, put into the device's inbox by atomic rename.
    """

    def __init__(
        self, document: Mapping[str, Any], inboxes: Mapping[str, Path], operator: Operator, identity: Identity
    ):
        super().__init__(name="pipeline", daemon=True)
        self._inboxes = inboxes
        self._operator = operator
        url = document["keyvault"]["url"]
        self._secrets = {name: VaultSecretSource(url, name, identity) for name in inboxes}
        self._delivered: dict[str, bytes] = {}
        self._ended = threading.Event()

    def run(self) -> None:
        while not self._ended.wait(LOOK_S):
            try:
                self._look()
            except (AzureError, SourceUnavailable, requests.RequestException, OSError) as error:
                log.warning("the pipeline tries again: %s", type(error).__name__)

    def _look(self) -> None:
        for name, version in self._operator.current_versions().items():
            if name not in self._inboxes or self._delivered.get(name) == version:
                continue
            credential = self._secrets[name].newest(None)
            if credential is not None:
                replace_file(Directory(self._inboxes[name]), f"{credential.sha256[:16]}.pem", credential.pem)
                self._delivered[name] = version

    def stop(self) -> None:
        """End after the look under way."""
        self._ended.set()
        if self.ident is not None:
            self.join(30)


class Fleet:
    """The agents, from `start` to `stop`; each keeps its certificates in a folder of its own below `folder`.

    `pause_s` is what a light one waits before it looks how its registration stands. The `backoff` of devices in the
    field is longer; nobody watches those.
    """

    def __init__(
        self,
        fleet: Sequence[Member],
        document: Mapping[str, Any],
        folder: Path,
        clock: MovedClock,
        operator: Operator,
        screen: Screen,
        pause_s: float = PAUSE_S,
        backoff: Backoff = BACKOFF,
    ) -> None:
        self.members = tuple(fleet)
        self.desk = Desk(clock.now)
        self._folder = folder
        self._pause_s = pause_s
        self._backoff = backoff
        self._network = Network(Path(document["ca_file"]).read_text())
        inboxes = {
            one.registration_id: folder / one.registration_id / "inbox" for one in fleet if one.fed_by == PIPELINE
        }
        self._pipeline = Pipeline(document, inboxes, operator, Identity("device", clock))
        self._agents = [self._agent(one, document, folder, clock, screen) for one in fleet]

    def _agent(
        self, member: Member, document: Mapping[str, Any], folder: Path, clock: MovedClock, screen: Screen
    ) -> DeviceAgent:
        name = member.registration_id
        config = Config(
            registration_id=name,
            id_scope=document["dps"]["id_scope"],
            provisioning_host=document["dps"]["device_host"],
            ca_file=Path(document["ca_file"]),
            backoff=self._backoff,
        )
        source: CertificateSource
        if member.fed_by == PIPELINE:
            source = FolderSource(folder / name / "inbox")
        elif member.fed_by == VAULT:
            source = VaultSecretSource(document["keyvault"]["url"], name, Identity("device", clock))
        else:
            source = DeskSource(self.desk, name)

        def observe(event: str, fields: Mapping[str, Any]) -> None:
            screen.device(name, event, fields)

        if not member.light:
            return DeviceAgent(config, CertificateStore(folder / name / "store"), source, observe, now=clock.now)
        store = folder / name / "store"
        return DeviceAgent(
            config,
            CertificateStore(store, LightDirectory(store)),
            source,
            observe,
            registration=LightRegistration(
                self._network, config.provisioning_host, config.id_scope, name, self._pause_s
            ),
            hub=LightHub(self._network),
            now=clock.now,
        )

    @property
    def registration_ids(self) -> list[str]:
        return [one.registration_id for one in self.members]

    def in_use(self, registration_id: str) -> Stored:
        """The credential that a device uses now, as it lies on its medium: who can read that has the key."""
        stored = CertificateStore(self._folder / registration_id / "store").current
        if stored is None:
            raise ValueError(f"{registration_id} holds no credential that was ever accepted")
        return stored

    def start(self) -> None:
        """Switch everything on; returns at once."""
        if any(one.fed_by == PIPELINE for one in self.members):
            self._pipeline.start()
        for agent in self._agents:
            agent.start()

    def stop(self) -> None:
        """Switch everything off, all at the same time."""
        ending = [threading.Thread(target=agent.stop, args=(10.0,), daemon=True) for agent in self._agents]
        ending.append(threading.Thread(target=self._pipeline.stop, daemon=True))
        for thread in ending:
            thread.start()
        for thread in ending:
            thread.join(12.0)
        self._network.close()

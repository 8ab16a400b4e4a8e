"""What Event Grid keeps: subscriptions, what is on its way, what was given up, and what the product sent."""

import asyncio
import random
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from local.azure.clock import iso
from local.azure.eventgrid.delivery import Webhook
from local.azure.eventgrid.events import Event, Schema, certificate_data

if TYPE_CHECKING:
    from local.azure.world import World

KEYVAULT = "Microsoft.KeyVault."
# Azure waits 10 s, 30 s, 1 min, 5 min ... up to 24 h (docs: delivery and retry); a rehearsal has no such patience.
RETRY_S = (1.0, 1.0, 2.0, 5.0, 10.0, 30.0)
MOST_ATTEMPTS = 30  # docs: the default
# Not tried again, but given up at once (docs: delivery and retry, webhooks).
FINAL = {400, 401, 403, 413}


@dataclass(frozen=True)
class Switches:
    """How events are maltreated; set on the control port.

    `drop` loses vault events at the source; `copies` is how often each event is delivered; `reorder_s` delays each
    delivery by up to so many seconds at random, so that they overtake one another. ValueError for a value that
    cannot be.
    """

    drop: bool = False
    copies: int = 1
    reorder_s: float = 0.0

    def __post_init__(self) -> None:
        if self.drop not in (True, False) or self.copies < 1 or self.reorder_s < 0:
            raise ValueError(f"events cannot be maltreated like that: {self}")


@dataclass(frozen=True)
class Subscription:
    """Vault events to one webhook. No types named means all."""

    name: str
    webhook: Webhook
    included_event_types: tuple[str, ...]

    def wants(self, event: Event) -> bool:
        return not self.included_event_types or event.type in self.included_event_types


class EventGrid:
    """The vault's system topic and one custom topic."""

    def __init__(self, world: "World") -> None:
        self._world = world
        self._random = random.Random(0)
        self._tasks: set[asyncio.Task[None]] = set()
        self.subscriptions: dict[str, Subscription] = {}
        self.switches = Switches()
        self.dead_letters: list[dict[str, Any]] = []
        self.topic_events: list[dict[str, Any]] = []

    def reset(self) -> None:
        """Nothing on its way, nothing kept. Subscriptions stay: they belong to the installation."""
        for task in self._tasks:
            task.cancel()
        self.switches = Switches()
        self.dead_letters.clear()
        self.topic_events.clear()
        self._random.seed(0)

    async def subscribe(self, name: str, endpoint: str, schema: Schema, included: list[str]) -> Subscription:
        """Make or replace a subscription, after the endpoint has shown that it wants events.

        ValueError when the handshake fails: as on Azure there is no subscription then.
        """
        topic = self._vault_topic()
        webhook = Webhook(endpoint, schema)
        await webhook.shake_hands(topic, self._world.clock.now())
        subscription = Subscription(name, webhook, tuple(included))
        self.subscriptions[name] = subscription
        return subscription

    def publish_from_vault(
        self, event_type: str, certificate_name: str, version: str, nbf: datetime, exp: datetime
    ) -> None:
        """Send an event of the vault to every subscription that wants it. Call it inside the event loop."""
        names = self._world.names
        as_text = self._world.knobs.near_expiry_event == "string"
        data = certificate_data(names.vault_url, names.vault_name, certificate_name, version, nbf, exp, as_text=as_text)
        event = Event(self._vault_topic(), certificate_name, KEYVAULT + event_type, self._world.clock.now(), data)
        if self.switches.drop:
            self._write_journal(event, "dropped")
            return
        self._write_journal(event, "published")
        for subscription in self.subscriptions.values():
            if subscription.wants(event):
                for _ in range(self.switches.copies):
                    self._deliver_later(subscription, event)

    def _vault_topic(self) -> str:
        return self._world.names.resource_id("Microsoft.KeyVault/vaults", self._world.names.vault_name)

    def _deliver_later(self, subscription: Subscription, event: Event) -> None:
        delay = self._random.uniform(0, self.switches.reorder_s)
        task = asyncio.get_running_loop().create_task(self._deliver(subscription, event, delay))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _deliver(self, subscription: Subscription, event: Event, delay: float) -> None:
        """At least once: again and again until it is taken, is refused for good, or was tried too often."""
        outcome = ""
        for attempt in range(1, MOST_ATTEMPTS + 1):
            await asyncio.sleep(delay)
            status, outcome = await subscription.webhook.deliver(event, attempt)
            self._write_journal(event, outcome, subscription=subscription.name, attempt=attempt)
            if status is not None and 200 <= status <= 204:
                return
            if status in FINAL:
                break
            delay = RETRY_S[min(attempt, len(RETRY_S)) - 1]
        letter = event.in_schema(subscription.webhook.schema)
        extra = {"deliveryAttempts": attempt, "lastDeliveryOutcome": outcome, "subscription": subscription.name}
        self.dead_letters.append(letter | extra)

    def receive(self, event: dict[str, Any]) -> None:
        """Keep an event that the product published to the custom topic."""
        self.topic_events.append({**event, "receivedAt": iso(self._world.clock.now())})

    def _write_journal(self, event: Event, outcome: str, **more: Any) -> None:
        self._world.journal.append(
            "event",
            service="eventgrid",
            id=event.id,
            type=event.type,
            subject=event.subject,
            outcome=outcome,
            **more,
        )

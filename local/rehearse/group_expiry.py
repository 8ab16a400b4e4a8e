"""The CA of an enrollment group nears its end: a new one is offered, the fleet moves in waves, the old one goes."""

from datetime import timedelta

from local.rehearse.group_roll import EXPIRY, INTERMEDIATE, ROOT, GroupRoll
from local.rehearse.group_setup import GROUP, PATIENCE_S, Anchor, GroupOnStage, GroupScenario
from local.rehearse.scenario import Stage

OLD_LASTS, NEW_LASTS = timedelta(days=40), timedelta(days=730)
AFTER = timedelta(minutes=2)


class GroupExpiry(GroupScenario):
    """The scenario, for one kind of anchor; see the module."""

    rollovers = 1
    proves = (
        "A good run shows that the app's real code, on real queues and tables and with real TLS and MQTT, moves a fleet"
        " to a new CA in waves without a refused connect, and that the old CA leaves DPS once it has expired. It does"
        " not show that Azure itself behaves as the stand-in does, nor how long any of it takes there, where quotas"
        " are what binds: docs/differences.md lists what is assumed."
    )

    def run(self, stage: Stage) -> None:
        """Set up, the waves, the old CA's end."""
        group = GroupOnStage(stage, self._anchor)
        outgoing = group.anchor(OLD_LASTS)
        with stage.phase("set-up"):
            group.set_up(outgoing)
        with stage.phase("waves"):
            incoming = group.anchor(NEW_LASTS)
            roll = group.begin(EXPIRY, outgoing)
            roll.incoming = incoming.trusted.sha256
            group.offer(incoming)
            group.until("the app has begun", lambda: bool(group.app_says(roll)))
            stage.wait_for("waves: devices on the new CA", lambda: _moved(group, roll, incoming), PATIENCE_S)
            group.until("waves: the app has seen it", lambda: _rests(group, roll))
        with stage.phase("expiry", outgoing.trusted.validity.ends + AFTER):
            group.until("expiry: the old CA is gone", lambda: group.app_says(roll)["status"] == "done")
            stage.found.problems += [f"{GROUP}: left of the old CA: {one}" for one in group.left_of(outgoing)]
        _look_at_devices(stage, incoming)


def _moved(group: GroupOnStage, roll: GroupRoll, incoming: Anchor) -> set[str]:
    group.app_says(roll)
    return group.on(incoming)


def _rests(group: GroupOnStage, roll: GroupRoll) -> bool:
    shown = group.app_says(roll)
    waits = (shown["status"], shown["next_step"]) == ("waiting", "delete_primary")
    return waits or shown["status"] == "done"


def _look_at_devices(stage: Stage, incoming: Anchor) -> None:
    """What each device must end on is what lies on its medium, and that must be of the new CA."""
    for name in stage.fleet.registration_ids:
        leaf = stage.fleet.in_use(name).credential.sha256
        signed = incoming.trusted.sha256 in stage.fleet.desk.issued.get(leaf, ())
        stage.found.newest[name] = leaf if signed else "one of the new CA"
        stage.found.rollovers[name] = 1


INTERMEDIATE_EXPIRY = GroupExpiry(
    "group-expiry", "A group's intermediate near expiry, two hundred devices", INTERMEDIATE
)
ROOT_EXPIRY = GroupExpiry("root-expiry", "A group's root CA near expiry, two hundred devices", ROOT)

"""One trace tells a rollover's whole story, from what began it to its last step, whatever happens in between."""

import logging
from datetime import timedelta

import azure.functions as func
import pytest

from shared import telemetry
from shared.enrollment import Twin
from shared.errors import ServiceUnavailable
from shared.events import LogEvent
from shared.nudges import encode_nudge
from shared.plans import Step
from shared.telemetry import FIELDS, METRICS, SPANS
from tests.builders import (
    CERTIFICATE,
    DEVICE,
    NEW,
    NEW_256,
    OLD,
    a_story,
    deliver,
    put_rollover,
    the_rollover,
)
from tests.certificates import NOW
from tests.emitted import Emitted, Functions, a_traceparent, emitting, functions_over
from tests.fakes import Kept, World
from tests.functions.test_whole_breaches import comes_back
from tests.functions.test_whole_rollovers import moves_when_asked
from tests.http_api import HttpApi

EVENT = func.EventGridEvent(
    id="e-1",
    data={"Id": f"https://vault.example/certificates/{CERTIFICATE}/v1", "ObjectName": CERTIFICATE},
    topic="/subscriptions/s/vaults/vault",
    subject=CERTIFICATE,
    event_type="Microsoft.KeyVault.CertificateNearExpiry",
    event_time=NOW,
    data_version="1",
)


@pytest.fixture
def caught():
    with emitting() as found:
        yield found


def deliver_twice(functions: Functions, emitted: Emitted) -> None:
    """Every nudge of the next minute comes twice, each time to another process; the clock moves as far as it waits."""
    world = functions.world
    for _ in range(100):
        soon = [nudge for nudge in world.nudges.sent if nudge[2] <= timedelta(minutes=1)]
        if not soon:
            return
        step, rollover_id, delay = soon[0]
        world.nudges.sent = [nudge for nudge in world.nudges.sent if nudge != soon[0]]
        world.clock.advance(delay)
        for _ in range(2):
            emitted.start_process()
            functions.run(step.value, func.QueueMessage(id="1", body=encode_nudge(rollover_id)))
    raise AssertionError("the rollover does not come to rest")


def test_one_trace_leads_from_the_event_to_the_last_step(caught, monkeypatch):
    """Across repeated nudges, a service that is down, a step that dies, restarts, a wait for the certificate's end."""
    world = a_story()
    moves_when_asked(world)
    functions = functions_over(world, monkeypatch)
    event = a_traceparent()
    functions.run("on_certificate_event", EVENT, event)
    replace = world.dps.replace
    troubles = [ServiceUnavailable("DPS gave no answer"), RuntimeError("a surprise")]

    def troubled(*arguments):
        if troubles:
            raise troubles.pop(0)
        replace(*arguments)

    world.dps.replace = troubled
    with pytest.raises(RuntimeError, match="a surprise"):
        deliver_twice(functions, caught)
    world.clock.advance(timedelta(minutes=3))  # the lease of the act that died
    functions.run("resume_rollovers", None)
    deliver_twice(functions, caught)
    assert the_rollover(world).next_step is Step.DELETE_PRIMARY
    world.clock.time = OLD.not_after
    functions.run("resume_rollovers", None)
    deliver_twice(functions, caught)
    assert the_rollover(world).status == "done"

    assert caught.traces() == {event[3:35]}
    steps = caught.spans("step")
    assert {span.attributes["step"] for span in steps} == {
        "issue_certificate",
        "upload_secondary",
        "stage_hub_thumbprint",
        "invoke_reprovision_job",
        "delete_primary",
    }
    [began] = caught.spans("begin")
    assert f"{began.parent.span_id:016x}" == event[36:52]
    assert {span.parent.span_id for span in steps} == {began.context.span_id}
    assert [span.attributes["verdict"] for span in steps if span.attributes["step"] == "upload_secondary"] == [
        "Wait",  # DPS gave no answer
        "Raised",
        "AlreadyDone",
    ]
    [raised] = [span for span in steps if span.attributes["verdict"] == "Raised"]
    assert [one.name for one in raised.events] == ["exception"]
    assert not raised.status.is_ok
    assert steps[-1].attributes["outcome"] == "done"
    assert world.topic.kinds() == ["Rollover.Started", "Rollover.DeviceMoved", "Rollover.Completed"]
    assert {trace[3:35] for trace in world.topic.traces} == {event[3:35]}


def test_an_event_that_the_timer_publishes_belongs_where_its_rollover_began(caught, monkeypatch):
    """So does every event of a rollover: an event that is published again is the same event."""
    world = a_story()
    functions = functions_over(world, monkeypatch)
    world.topic.down = True
    functions.run("on_certificate_event", EVENT)
    world.topic.down = False
    functions.run("resume_rollovers", None)
    assert world.topic.traces == [the_rollover(world).trace]
    assert caught.metrics()["rollover.announce.failed"] == {(): 1}


def test_each_step_is_linked_to_the_invocation_that_it_ran_in(caught, monkeypatch):
    """From there an engineer finds what the host says of it."""
    world = a_story()
    functions = functions_over(world, monkeypatch)
    functions.run("on_certificate_event", EVENT)
    deliver_twice(functions, caught)
    linked = [span.links[0].context for span in caught.spans("step")]
    assert {f"00-{one.trace_id:032x}-{one.span_id:016x}-01" for one in linked} <= set(functions.invocations[1:])
    assert len({one.trace_id for one in linked}) == len(caught.spans("step"))


def test_the_metrics_of_a_rollover_count_what_was_recorded_and_nothing_twice(caught, monkeypatch):
    world = a_story()
    moves_when_asked(world)
    functions = functions_over(world, monkeypatch)
    functions.run("sweep_certificates", None)
    deliver_twice(functions, caught)
    waiting = the_rollover(world)
    world.clock.time = OLD.not_after
    functions.run("resume_rollovers", None)
    deliver_twice(functions, caught)
    found = caught.metrics()
    assert found["rollover.started"] == {("expiry",): 1}
    assert found["rollover.ended"] == {("done", "expiry"): 1}
    assert found["rollover.timer.completed"] == {("sweep_certificates",): 1, ("resume_rollovers",): 1}
    assert found["rollover.sweep.targets"] == {("begun",): 1}
    assert found["rollover.resume.due"] == {(): (1, 1)}
    runs = {key: count for key, (_, count) in found["rollover.step.duration"].items()}
    plan = ("issue_certificate", "upload_secondary", "stage_hub_thumbprint", "invoke_reprovision_job", "delete_primary")
    assert runs == {**{(step, "AlreadyDone"): 1 for step in plan}, ("delete_primary", "Wait"): 1}
    waited = (OLD.not_after - waiting.waiting_since).total_seconds()
    assert found["rollover.step.waited"][("delete_primary",)] == (pytest.approx(waited), 1)


def test_a_breach_is_one_trace_from_the_call_to_the_device_back(caught, monkeypatch):
    world = a_story()
    world.hub.twins[DEVICE] = Twin("t1", {"site": "Oslo"}, {})
    functions = functions_over(world, monkeypatch)
    http = HttpApi(world, monkeypatch)
    http.trace_parent = a_traceparent()
    shown = http.post("/api/breaches", registration_id=DEVICE, reason="stolen laptop").json
    world.clock.advance(timedelta(minutes=1))
    assert http.post("/api/breaches", confirm=shown["confirm_token"]).status == 202
    called = world.clock()
    deliver_twice(functions, caught)
    contained = next(
        record.at
        for record in world.services.ledger.history(the_rollover(world))
        if record.step is Step.ISSUE_CERTIFICATE
    )
    comes_back(world)
    world.clock.time = the_rollover(world).due_at
    functions.run("resume_rollovers", None)
    deliver_twice(functions, caught)
    assert the_rollover(world).status == "done"
    assert caught.traces() == {http.trace_parent[3:35]}
    assert len(caught.spans("begin")) == 1
    found = caught.metrics()
    assert found["rollover.ended"] == {("done", "breach"): 1}
    assert found["rollover.breach.door_shut"] == {("breach",): (0, 1)}
    latency, times = found["rollover.breach.contained"][("breach",)]
    assert times == 1
    assert 0 < latency <= (contained - called).total_seconds() + 1
    assert {trace[3:35] for trace in world.topic.traces} == {http.trace_parent[3:35]}


def test_what_a_person_does_later_is_a_part_of_the_rollovers_trace(caught, monkeypatch):
    world = a_story()
    functions = functions_over(world, monkeypatch)
    event = a_traceparent()
    functions.run("on_certificate_event", EVENT, event)
    http = HttpApi(world, monkeypatch)
    http.trace_parent = a_traceparent()
    http.post(f"/api/rollovers/{the_rollover(world).id}/cancel", reason="not today")
    [change] = caught.spans("change")
    assert f"{change.context.trace_id:032x}" == event[3:35]
    assert f"{change.links[0].context.trace_id:032x}" == http.trace_parent[3:35]
    assert change.attributes["what"] == "cancelled"
    assert caught.metrics()["rollover.ended"] == {("cancelled", "expiry"): 1}


def test_a_breach_that_takes_the_place_of_a_rollover_ends_it_in_the_count(caught, monkeypatch):
    world = a_story()
    functions = functions_over(world, monkeypatch)
    functions.run("on_certificate_event", EVENT)
    http = HttpApi(world, monkeypatch)
    shown = http.post("/api/breaches", registration_id=DEVICE, reason="stolen laptop").json
    http.post("/api/breaches", confirm=shown["confirm_token"])
    assert caught.metrics()["rollover.ended"] == {("preempted", "expiry"): 1}
    assert caught.metrics()["rollover.started"] == {("expiry",): 1, ("breach",): 1}


def test_a_poisoned_message_is_told_within_the_trace(caught, monkeypatch):
    world = a_story()
    functions = functions_over(world, monkeypatch)
    event = a_traceparent()
    functions.run("on_certificate_event", EVENT, event)
    message = func.QueueMessage(id="1", body=encode_nudge(the_rollover(world).id))
    functions.run("report_poisoned_issue_certificate", message)
    [poison] = caught.spans("poison")
    assert f"{poison.context.trace_id:032x}" == event[3:35]
    assert caught.metrics()["rollover.poisoned"] == {("issue_certificate",): 1}
    assert caught.metrics()["rollover.ended"] == {("needs_person", "expiry"): 1}


def two_devices() -> World:
    world = a_story()
    other = "dev-02"
    world.dps.enroll(other, OLD)
    world.hub.provision(other, OLD.sha256_thumbprint)
    world.vault.kept[f"{other}-cert"] = Kept([OLD], {"rollover-enrollment": other})
    world.vault.kept[CERTIFICATE] = Kept([OLD], {"rollover-enrollment": DEVICE})
    return world


def test_each_rollover_that_a_sweep_begins_has_a_trace_of_its_own_linked_to_the_sweep(caught, monkeypatch):
    """A thousand rollovers in one trace could not be read."""
    world = two_devices()
    functions = functions_over(world, monkeypatch)
    sweep = a_traceparent()
    functions.run("sweep_certificates", None, sweep)
    begun = caught.spans("begin")
    assert len(begun) == 2, [(one.what, one.why) for one in world.services.ledger.history(the_rollover(world))]
    assert len(caught.traces() | {sweep[3:35]}) == 3
    assert {f"{span.links[0].context.trace_id:032x}" for span in begun} == {sweep[3:35]}


def test_a_rollover_that_began_untraced_goes_on_in_the_trace_of_each_invocation(caught, monkeypatch):
    """The release before kept no trace."""
    world = a_story()
    put_rollover(world, Step.UPLOAD_SECONDARY)
    assert the_rollover(world).trace == ""
    functions = functions_over(world, monkeypatch)
    message = func.QueueMessage(id="1", body=encode_nudge(the_rollover(world).id))
    functions.run("upload_secondary", message)
    [step] = caught.spans("step")
    assert f"{step.context.trace_id:032x}" == functions.invocations[-1][3:35]


@pytest.mark.parametrize("trace", ["nonsense", "00-" + "0" * 32 + "-" + "0" * 16 + "-01", "\n", "00-12-34-01"])
def test_a_trace_that_cannot_be_read_stops_no_step(caught, trace):
    world = a_story()
    put_rollover(world, Step.UPLOAD_SECONDARY, trace=trace)
    assert deliver(world, Step.UPLOAD_SECONDARY).next_step is Step.STAGE_HUB_THUMBPRINT


def test_without_anywhere_to_emit_to_nothing_is_traced(monkeypatch):
    """As on a desk."""
    world = a_story()
    functions_over(world, monkeypatch).run("on_certificate_event", EVENT, a_traceparent())
    assert the_rollover(world).trace == ""
    assert world.topic.traces == [""]
    assert telemetry.tracer() is None


@pytest.fixture
def everything(caught, monkeypatch, caplog):
    """A rollover, a breach and some trouble, with all that was emitted."""
    caplog.set_level(logging.INFO, "rollover")
    world = two_devices()
    moves_when_asked(world)
    functions = functions_over(world, monkeypatch)
    world.topic.down = True
    functions.run("sweep_certificates", None)
    world.topic.down = False
    functions.run("on_certificate_event", EVENT)
    deliver_twice(functions, caught)
    http = HttpApi(world, monkeypatch)
    http.get("/api/rollovers", "stranger")
    shown = http.post("/api/breaches", registration_id=DEVICE, reason="stolen laptop", compromised=["primary"]).json
    assert http.post("/api/breaches", confirm=shown["confirm_token"]).status == 202
    deliver_twice(functions, caught)
    return caught, caplog.records


def test_nothing_is_emitted_that_is_not_declared(everything):
    emitted, lines = everything
    for span in emitted.spans():
        assert set(span.attributes) <= set(SPANS[span.name][1]), span.name
    for reader in emitted.readers:
        data = reader.get_metrics_data()
        for resource in data.resource_metrics if data else ():
            for metric in resource.scope_metrics[0].metrics:
                for point in metric.data.data_points:
                    assert set(point.attributes) == set(METRICS[metric.name].attributes), metric.name
    assert len(lines) > 20
    for line in lines:
        fields = dict(line.fields)
        event = LogEvent(fields.pop("event"))
        assert set(fields) <= set(FIELDS[event]), event


def test_nothing_that_is_emitted_holds_a_certificate(everything):
    emitted, lines = everything
    said = str([dict(span.attributes) for span in emitted.spans()]) + str([line.fields for line in lines])
    for certificate in (OLD, NEW):
        assert certificate.pem.splitlines()[1] not in said
    assert "BEGIN" not in said
    assert NEW_256 in said or DEVICE in said

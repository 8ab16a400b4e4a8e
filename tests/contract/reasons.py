"""Why a contract test stays with the stand-in. One of these, or a sentence of its own, marks each such test."""

import pytest


def _reason(text: str) -> pytest.MarkDecorator:
    return pytest.mark.standin_only(text)


KNOBS = _reason("turns knobs")
CLOCK = _reason("moves the clock")
FAULTS = _reason("injects faults")
JOURNAL = _reason("reads the journal")
QUOTAS = _reason("changes quotas, or spends one")
ROLES = _reason("changes roles, or needs principals of the stand-in")
ARM = _reason("puts a CA certificate into the DPS, which takes ARM")
INSIDE = _reason("looks into the stand-in, or replaces a part of it")
OURS = _reason("is about the stand-in or the tests themselves")
CLIENTS = _reason("is about our own clients")
CONTROL = _reason("makes messages wait by the control port")
EVENTS = _reason("takes Event Grid subscriptions")
LOG = _reason("reads the hub's log, which takes a diagnostic setting and Event Hubs")
ALONE = _reason("sees everything in a service, which nobody else may use meanwhile")
MANY = _reason("makes more things, or asks more often, than it is worth")
QUERIES = _reason("reads its own writes by a query, which lags on the real hub")
RECORDED = _reason("replays a recording with its names")
JOBS = _reason("starts jobs: S1 runs one at a time, keeps each for 30 days, and some are for every device")
PACKETS = _reason("sends packets that azure-iot-device never sends")

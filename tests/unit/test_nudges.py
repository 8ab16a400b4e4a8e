"""A nudge: "look at this rollover", as a queue message."""

import contextlib
from datetime import timedelta

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from shared.errors import BadInput
from shared.nudges import decode_nudge, encode_nudge, visibility_seconds


@given(st.text())
def test_the_rollover_id_comes_through(rollover_id):
    assert decode_nudge(encode_nudge(rollover_id).encode()) == rollover_id


def test_what_a_later_release_adds_to_a_nudge_is_no_obstacle():
    assert decode_nudge(b'{"rollover_id": "individual.dev-01.1", "since": 3}') == "individual.dev-01.1"


JUNK = {
    "nothing": b"",
    "no JSON": b"individual.dev-01.1",
    "no text": b"\xff\xfe\x00",
    "a list": b'["individual.dev-01.1"]',
    "a number": b"7",
    "null": b"null",
    "a text": b'"individual.dev-01.1"',
    "an object without the ID": b'{"id": "individual.dev-01.1"}',
    "an ID that is a number": b'{"rollover_id": 7}',
    "an ID that is null": b'{"rollover_id": null}',
    "lists in lists as deep as a message can hold": b"[" * 48_000,
    "objects in objects": b'{"rollover_id":' * 3_000,
    "an endless number": b'{"rollover_id": ' + b"9" * 48_000 + b"}",
}


@pytest.mark.parametrize("body", JUNK.values(), ids=JUNK.keys())
def test_is_no_nudge(body):
    """A queue message holds 48 KB of data before base64 (azure-docs: Queue Storage limits, 64 KB)."""
    with pytest.raises(BadInput, match="not a nudge"):
        decode_nudge(body)


@given(st.binary(max_size=200))
@example(b'{"rollover_id": "\\ud800"}')
def test_random_bytes_are_a_nudge_or_bad_input(body):
    with contextlib.suppress(BadInput):
        assert isinstance(decode_nudge(body), str)


DELAYS = {
    "none": (timedelta(0), 0),
    "past": (-timedelta(seconds=5), 0),
    "whole": (timedelta(seconds=5), 5),
    "a little more than whole": (timedelta(seconds=5, microseconds=1), 6),
    "a fraction": (timedelta(milliseconds=10), 1),
}


@pytest.mark.parametrize(("delay", "seconds"), DELAYS.values(), ids=DELAYS.keys())
def test_a_message_never_becomes_visible_before_its_time(delay, seconds):
    """A nudge before the rollover is due would be ignored, and the rollover would wait for the timer."""
    assert visibility_seconds(delay) == seconds

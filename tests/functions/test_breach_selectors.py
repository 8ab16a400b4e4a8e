"""A slip of the pen never selects more than was named: by hand, and over random worlds and random selectors."""

from collections.abc import Callable
from functools import cache
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.certificate import Certificate, parse_certificate
from shared.errors import BadInput, NotFound, Unsuitable
from shared.selecting import parse_selector, select
from tests.builders import CERTIFICATE, DEVICE, NEW, OLD, STRANGER, a_story
from tests.certificates import a_certificate
from tests.fakes import Kept, World, a_world
from tests.http_api import Answered, HttpApi

OTHER = "dev-02"


@pytest.fixture
def http(http_of: Callable[[World], HttpApi]) -> HttpApi:
    """Two devices: dev-01 with OLD (and NEW in the other slot), dev-02 with a certificate of its own."""
    world = a_story()
    world.dps.enroll(DEVICE, OLD, NEW)
    world.dps.enroll(OTHER, STRANGER)
    world.vault.kept["dev-02-cert"] = Kept([STRANGER], {"rollover-enrollment": OTHER})
    return http_of(world)


def asked(http: HttpApi, **selector: Any) -> Answered:
    return http.post("/api/breaches", reason="stolen", **selector)


def selected(answer: Answered) -> list[str]:
    return [target["registration_id"] for target in answer.json.get("targets", [])]


def spaced(text: str, by: str) -> str:
    return by.join(text[at : at + 2] for at in range(0, len(text), 2))


RIGHT: dict[str, dict[str, str]] = {
    "its registration ID": {"registration_id": DEVICE},
    "its registration ID in other letters": {"registration_id": "DEV-01"},
    "its device ID": {"device_id": DEVICE},
    "its certificate in the vault": {"certificate_name": CERTIFICATE},
    "a SHA-256": {"thumbprint": OLD.sha256_thumbprint},
    "a SHA-256 in small letters": {"thumbprint": OLD.sha256_thumbprint.lower()},
    "a SHA-1": {"thumbprint": OLD.sha1_thumbprint},
    "a SHA-1 with colons, as openssl writes it": {"thumbprint": spaced(OLD.sha1_thumbprint, ":")},
    "a SHA-256 with blanks, as Windows writes it": {"thumbprint": spaced(OLD.sha256_thumbprint.lower(), " ")},
    "a name with blanks around it": {"registration_id": f" {DEVICE} "},
}


@pytest.mark.parametrize("selector", RIGHT.values(), ids=RIGHT.keys())
def test_one_device_is_named_by(selector, http):
    answer = asked(http, **selector)
    assert (answer.status, selected(answer)) == (200, [DEVICE])


def test_a_thumbprint_names_the_slots_that_hold_it_and_no_other(http):
    for thumbprint, slot in ((OLD.sha1_thumbprint, "primary"), (NEW.sha256_thumbprint, "secondary")):
        [target] = asked(http, thumbprint=thumbprint).json["targets"]
        assert [one["slots"] for one in target["compromised"]] == [[slot]]


SHA1, SHA256 = OLD.sha1_thumbprint, OLD.sha256_thumbprint
WRONG: dict[str, tuple[dict[str, Any], int]] = {
    "nothing": ({}, 400),
    "an empty text": ({"registration_id": ""}, 400),
    "blanks": ({"device_id": "  "}, 400),
    "null": ({"registration_id": None}, 400),
    "a number": ({"registration_id": 1}, 400),
    "a list": ({"registration_id": [DEVICE]}, 400),
    "an object": ({"device_id": {"$ne": ""}}, 400),
    "a registration ID with a letter missing": ({"registration_id": "dev-0"}, 404),
    "a registration ID with a letter too many": ({"registration_id": "dev-011"}, 404),
    "every registration ID": ({"registration_id": "*"}, 400),
    "registration IDs by a pattern": ({"registration_id": "dev-0?"}, 400),
    "registration IDs by a prefix": ({"registration_id": "dev-"}, 404),
    "a percent sign": ({"registration_id": "dev-%"}, 400),
    "a path": ({"registration_id": "../enrollmentGroups/g1"}, 400),
    "a list in a text": ({"registration_id": "dev-01,dev-02"}, 400),
    "a registration ID in letters that look alike": ({"registration_id": "d\u0435v-01"}, 400),
    "a device ID in other letters": ({"device_id": "DEV-01"}, 404),
    "every device ID": ({"device_id": "*"}, 404),
    "a query": ({"device_id": "' OR '1'='1"}, 404),
    "an unknown certificate": ({"certificate_name": "dev-03-cert"}, 404),
    "a certificate by a pattern": ({"certificate_name": "dev-*"}, 400),
    "a certificate by its path": ({"certificate_name": f"{CERTIFICATE}/v1"}, 400),
    "a SHA-1 with a digit missing": ({"thumbprint": SHA1[:-1]}, 400),
    "a SHA-1 with a digit too many": ({"thumbprint": SHA1 + "0"}, 400),
    "a SHA-256 with a digit missing": ({"thumbprint": SHA256[:-1]}, 400),
    "a SHA-256 with a digit too many": ({"thumbprint": SHA256 + "0"}, 400),
    "a SHA-1 with a digit that is another": ({"thumbprint": SHA1[:-1] + ("0" if SHA1[-1] != "0" else "1")}, 404),
    "a SHA-1 with a letter that is none": ({"thumbprint": SHA1[:-1] + "G"}, 400),
    "the beginning of a SHA-256, as long as a SHA-1": ({"thumbprint": SHA256[:40]}, 404),
    "a SHA-1 filled up to a SHA-256": ({"thumbprint": SHA1 + "0" * 24}, 404),
    "digits of elsewhere": ({"thumbprint": "\uff11" * 40}, 400),
    "two selectors": ({"registration_id": DEVICE, "device_id": DEVICE}, 400),
    "two that disagree": ({"registration_id": DEVICE, "device_id": OTHER}, 400),
    "a member with a slip in it": ({"registrationid": DEVICE}, 400),
    "a member with a slip in it beside a right one": ({"registration_id": DEVICE, "slots": ["primary"]}, 400),
    "a slot that there is not": ({"registration_id": DEVICE, "compromised": ["third"]}, 400),
    "no slot": ({"registration_id": DEVICE, "compromised": []}, 400),
    "slots that are one text": ({"registration_id": DEVICE, "compromised": "primary"}, 400),
}


@pytest.mark.parametrize(("selector", "status"), WRONG.values(), ids=WRONG.keys())
def test_nothing_is_selected_by(selector, status, http):
    answer = asked(http, **selector)
    assert (answer.status, selected(answer)) == (status, [])
    assert not [where for where in http.world.table.rows if where[0] == "incidents"], "there is nothing to confirm"


def test_members_that_are_null_are_not_there(http):
    assert selected(asked(http, registration_id=DEVICE, thumbprint=None, device_id=None, ticket=None)) == [DEVICE]


def test_two_enrollments_for_one_device_are_both_named_and_neither_is_selected(http):
    http.world.dps.edit(OTHER, lambda body: body.update(deviceId=DEVICE))
    answer = asked(http, device_id=DEVICE)
    assert answer.status == 409
    assert DEVICE in answer.json["detail"]
    assert OTHER in answer.json["detail"]


def test_a_device_is_named_by_the_id_that_it_registered_with_when_the_enrollments_was_edited_since(http):
    http.world.dps.edit(DEVICE, lambda body: body.update(deviceId="renamed"))
    assert selected(asked(http, device_id=DEVICE)) == [DEVICE]
    assert asked(http, device_id="renamed").status == 404


TAGS: dict[str, tuple[dict[str, str], int, list[str]]] = {
    "another enrollment": ({"rollover-enrollment": OTHER}, 200, [OTHER]),
    "the enrollment in other letters": ({"rollover-enrollment": "DEV-01"}, 200, [DEVICE]),
    "no enrollment that there is": ({"rollover-enrollment": "dev-03"}, 404, []),
    "every enrollment": ({"rollover-enrollment": "*"}, 404, []),
    "nothing": ({"rollover-enrollment": " "}, 200, [DEVICE]),
}


@pytest.mark.parametrize(("tags", "status", "expected"), TAGS.values(), ids=TAGS.keys())
def test_a_certificate_of_the_vault_names_what_its_tag_says_which_is(tags, status, expected, http):
    """Without a tag its common name."""
    http.world.vault.kept[CERTIFICATE].tags = tags
    answer = asked(http, certificate_name=CERTIFICATE)
    assert (answer.status, selected(answer)) == (status, expected)


def test_a_thumbprint_in_several_enrollments_names_all_of_them_and_no_other(http):
    http.world.dps.enroll("dev-03", NEW, OLD)
    assert set(selected(asked(http, thumbprint=OLD.sha256_thumbprint))) == {DEVICE, "dev-03"}


# --- against an independent definition -----------------------------------------------------------------------------


@cache
def some_certificates() -> list[Certificate]:
    return [parse_certificate(a_certificate(f"dev-{number}").der) for number in range(4)]


IDS = ["dev-1", "DEV-1", "dev-2", "dev-10", "dev-1.", "d"]
_certificates = st.sampled_from(range(4))


@st.composite
def worlds(draw: st.DrawFn) -> World:
    """A few enrollments with colliding IDs, device IDs and certificates; some registered under another device ID."""
    world = a_world(mirror_primary=draw(st.booleans()))
    for registration_id in draw(st.lists(st.sampled_from(IDS), min_size=1, max_size=5, unique_by=str.lower)):
        held = [some_certificates()[one] for one in draw(st.lists(_certificates, min_size=1, max_size=2))]
        world.dps.enroll(registration_id, *held, deviceId=draw(st.sampled_from(IDS)))
        if draw(st.booleans()):
            world.dps.registered(registration_id)
            world.dps.registrations[registration_id.lower()]["deviceId"] = draw(st.sampled_from(IDS))
    for name in draw(st.lists(st.sampled_from(["c1", "c2"]), unique=True)):
        tags = draw(st.sampled_from([{}, *({"rollover-enrollment": one} for one in [*IDS, "", "*"])]))
        world.vault.kept[name] = Kept([some_certificates()[draw(_certificates)]], tags)
    return world


def _spellings(text: str) -> list[str]:
    wrong = [text.upper(), text[:-1], text + "0", text[:40], spaced(text, ":"), text + "*", "*", ""]
    return [text] * len(wrong) + [text.lower()] + wrong


@st.composite
def calls(draw: st.DrawFn) -> dict[str, Any]:
    thumbprints = [t for one in some_certificates() for t in (one.sha1_thumbprint, one.sha256_thumbprint)]
    kinds = {"registration_id": IDS, "device_id": IDS, "certificate_name": ["c1", "c2"], "thumbprint": thumbprints}
    named = draw(st.permutations(list(kinds)))[: draw(st.sampled_from([1, 1, 1, 1, 2]))]
    return {kind: draw(st.sampled_from(_spellings(draw(st.sampled_from(kinds[kind]))))) for kind in named}


def naively(world: World, call: dict[str, Any]) -> set[str]:
    """What the call names, read slowly and without any of the code under test; nothing when it is ambiguous."""
    if len(call) != 1:
        return set()
    [(kind, value)] = call.items()
    found = set()
    for key, body in world.dps.enrolled.items():
        state = world.dps.registrations.get(key, {})
        slots = body["attestation"]["x509"]["clientCertificates"].values()
        hashes = {slot["info"][one] for slot in slots for one in ("sha1Thumbprint", "sha256Thumbprint")}
        tag_or_name = None
        if kind == "certificate_name" and value in world.vault.kept:
            kept = world.vault.kept[value]
            tag_or_name = kept.tags.get("rollover-enrollment", "").strip() or kept.versions[-1].common_name
        # A device whose enrollment was edited is found by the ID it registered with where that is the registration ID.
        is_device = value == state.get("deviceId", body["deviceId"]) and (
            value == body["deviceId"] or key == value.lower()
        )
        matches = {
            "registration_id": key == value.lower(),
            "device_id": is_device,
            "certificate_name": tag_or_name is not None and key == tag_or_name.lower(),
            "thumbprint": value.replace(":", "").upper() in hashes,
        }
        if matches[kind]:
            found.add(body["registrationId"])
    return set() if kind == "device_id" and len(found) > 1 else found


@settings(max_examples=1500, deadline=None)
@given(worlds(), calls())
def test_what_is_selected_is_what_is_named_never_more(world, call):
    try:
        found = {one.registration_id for one in select(parse_selector(call), world.services)}
    except (BadInput, NotFound, Unsuitable):
        found = set()
    assert found == naively(world, call)

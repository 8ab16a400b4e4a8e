"""Who calls: from claims to a caller with roles, closed to everything that is not as documented."""

from typing import Any

import pytest

from shared.callers import READERS, Caller, NobodyMayCall, Role, caller_of, require
from shared.errors import Closed, NotAuthenticated, NotPermitted

CLAIMS = {
    "oid": "11111111-0000-0000-0000-000000000001",
    "tid": "tenant",
    "azp": "client",
    "name": "Abe Lincoln",
    "roles": ["Breach.Execute"],
}


def claims(**changes: Any) -> dict[str, Any]:
    return {key: value for key, value in {**CLAIMS, **changes}.items() if value is not None}


def test_a_caller_is_who_the_claims_say():
    expected = Caller(CLAIMS["oid"], "tenant", "Abe Lincoln", frozenset({Role.BREACH_EXECUTE}))
    assert caller_of(claims()) == expected


def test_the_history_names_a_caller_by_name_and_object_id():
    """The name may change hands; the object ID never does."""
    assert caller_of(claims()).who == "Abe Lincoln (11111111-0000-0000-0000-000000000001)"


def test_an_application_without_a_name_is_called_by_its_client_id():
    """docs, access-token-claims-reference: applications "don't have names"."""
    assert caller_of(claims(name=None)).name == "client"


def test_a_long_name_is_cut():
    assert len(caller_of(claims(name="x" * 5000)).name) == 128


def test_every_role_that_there_is_counts():
    assert caller_of(claims(roles=[role.value for role in Role])).roles == READERS


@pytest.mark.parametrize("roles", [None, []], ids=["absent", "empty"])
def test_somebody_without_roles_is_known_and_may_nothing(roles):
    """docs: the claim is absent when there is nothing in it."""
    assert caller_of(claims(roles=roles)).roles == frozenset()


def test_a_role_that_there_is_not_is_ignored():
    found = caller_of(claims(roles=["Rollover.Everything", "Rollover.Read", "rollover.operate", "Breach.Execute "]))
    assert found.roles == {Role.ROLLOVER_READ}


BROKEN = {
    "no object ID": {"oid": None},
    "an object ID that is a number": {"oid": 7},
    "an object ID that is blank": {"oid": " "},
    "an object ID that is a list": {"oid": ["a"]},
    "no tenant": {"tid": None},
    "a name that is an object": {"name": {}},
    "neither name nor client ID": {"name": None, "azp": None},
    "roles that are one text": {"roles": "Breach.Execute"},
    "roles that are an object": {"roles": {"Breach.Execute": True}},
    "roles with a number among them": {"roles": ["Breach.Execute", 1]},
    "roles with a list among them": {"roles": [["Breach.Execute"]]},
    "roles that are true": {"roles": True},
}


@pytest.mark.parametrize("changes", BROKEN.values(), ids=BROKEN.keys())
def test_nobody_is_told_from_claims_with(changes):
    with pytest.raises(NotAuthenticated):
        caller_of(claims(**changes))


def test_any_one_of_the_roles_will_do():
    caller = caller_of(claims(roles=["Rollover.Operate"]))
    require(caller, frozenset({Role.ROLLOVER_OPERATE, Role.BREACH_EXECUTE}))
    require(caller, READERS)


@pytest.mark.parametrize("roles", [[], ["Rollover.Read"], ["Rollover.Operate"]])
def test_without_one_of_them_it_is_not_permitted_and_they_are_named(roles):
    with pytest.raises(NotPermitted, match=r"Abe Lincoln .*Breach\.Execute") as caught:
        require(caller_of(claims(roles=roles)), frozenset({Role.BREACH_EXECUTE}))
    assert caught.value.members == {"roles": ["Breach.Execute"]}


def test_nobody_may_what_no_role_may():
    with pytest.raises(NotPermitted):
        require(caller_of(claims()), frozenset())


@pytest.mark.parametrize("authorization", [None, "Bearer x"])
def test_an_api_without_issuer_and_audience_is_closed_to_everybody(authorization):
    with pytest.raises(Closed, match="ENTRA_ISSUER and ENTRA_AUDIENCE"):
        NobodyMayCall().identify(authorization)

"""What the page about notifications promises is what the code publishes."""

import re
from pathlib import Path

import pytest

from scripts.bicep import BicepFile, read_folder
from scripts.draw_notifications import PAGE, WHEN, drawn
from shared.events import NOTES, Lifecycle, Urgency, urgency

ROOT = Path(__file__).resolve().parents[2]
TEXT = PAGE.read_text()


def test_table_and_examples_are_made_by_the_code():
    """After a change of the events: `python -m scripts.draw_notifications`."""
    assert drawn(TEXT) == TEXT


def test_every_kind_of_event_is_explained_once():
    assert set(WHEN) == set(Lifecycle)
    assert [TEXT.count(f"| `{kind}` |") for kind in Lifecycle] == [1] * len(Lifecycle)


@pytest.mark.parametrize("kind", NOTES)
def test_a_note_belongs_to_a_kind(kind):
    assert kind in set(Lifecycle)


def test_somebody_gets_up_for_what_lets_a_thief_in_and_for_nothing_else():
    pages = {kind for kind in Lifecycle if urgency(kind) is Urgency.PAGE}
    assert pages == {
        Lifecycle.APPROVAL_NEEDED,
        Lifecycle.GLASS_BROKEN,
        Lifecycle.BREACH_NOMINATED,
        Lifecycle.COMPROMISED_BACK,
    }
    of_a_breach = {kind for kind in Lifecycle if urgency(kind, contains=True) is Urgency.PAGE}
    assert of_a_breach - pages == {Lifecycle.REFUSED, Lifecycle.NEEDS_PERSON, Lifecycle.WAITING_TOO_LONG}


def test_a_kind_that_only_a_later_release_knows_is_good_to_know():
    assert urgency("Rollover.Sung") is Urgency.CHAT


def test_the_subscription_filters_by_what_there_is(tmp_path):
    [block] = re.findall(r"```bicep\n(.*?)```", TEXT, re.DOTALL)
    path = tmp_path / "subscription.bicep"
    path.write_text(block)
    [subscription] = [one for one in BicepFile(path).resources if one.type.endswith("eventSubscriptions")]
    filters = subscription.properties["filter"]
    assert set(filters["includedEventTypes"]) <= set(Lifecycle)
    [by_urgency] = filters["advancedFilters"]
    assert by_urgency["key"] == "data.urgency"
    assert set(by_urgency["values"]) == set(Urgency)
    assert {"deliveryWithResourceIdentity", "deadLetterWithResourceIdentity"} <= set(subscription.properties)


def test_every_alert_that_tells_the_action_group_is_named():
    alerts = ROOT / "infra" / "modules" / "alerts.bicep"
    rules = read_folder(ROOT / "infra")[alerts].variables["rules"]
    paragraph = TEXT.partition("**Page by the alerts")[2].partition("\n\n")[0]
    assert set(re.findall(r"\*([a-z-]+)\*", paragraph)) == {rule["name"] for rule in rules}
    assert "rollover-unpublished-" in alerts.read_text()

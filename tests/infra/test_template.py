"""The template keeps every rule, and every rule notices a template that does not.

Nobody can compile Bicep here. What a compiler would say of names between files is said by ``wrong_calls``; what Azure
would say of properties, by ``scripts.check_infra`` (test_models.py).
"""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from scripts.bicep import read_folder
from tests.infra import rules

INFRA = rules.ROOT / "infra"


@pytest.mark.parametrize("rule", rules.RULES, ids=lambda rule: rule.__name__)
def test_the_template_keeps(rule: Callable[[Path], list[str]]) -> None:
    assert rule(INFRA) == []


BREAKS = {
    "a setting that nobody set": ("modules/app.bicep", "DPS_ENDPOINT:", "DPS_URL:", rules.wrong_settings),
    "a setting that nobody reads": (
        "modules/app.bicep",
        "BREACH_FUSE:",
        "A_FUSE: '1'\n    BREACH_FUSE:",
        rules.wrong_settings,
    ),
    "a connection that lacks its identity": (
        "modules/app.bicep",
        "HubLogs__clientId",
        "HubLog__clientId",
        rules.wrong_settings,
    ),
    "a renamed queue": ("modules/ledger.bicep", "'upload-secondary'", "'upload-standby'", rules.wrong_queues),
    "poison queues under another name": ("modules/ledger.bicep", "-poison'", "-failed'", rules.wrong_queues),
    "a renamed table": ("modules/ledger.bicep", "name: 'rollovers'", "name: 'ledger'", rules.wrong_queues),
    "another consumer group": ("modules/hub-logs.bicep", "name: 'rollover'", "name: 'app'", rules.wrong_queues),
    "a missing role": (
        "modules/topic.bicep",
        "principalId: appPrincipalId",
        "principalId: topicPrincipalId",
        rules.wrong_roles,
    ),
    "a role for a whole group": ("modules/topic.bicep", "  scope: topic\n", "", rules.wrong_roles),
    "a permission too many": (
        "modules/definitions.bicep",
        "'Microsoft.Devices/provisioningServices/enrollments/read'",
        "'Microsoft.Devices/provisioningServices/enrollments/read'\n"
        "          'Microsoft.Devices/provisioningServices/attestationmechanism/details/action'",
        rules.wrong_roles,
    ),
    "a permission too few": (
        "modules/definitions.bicep",
        "'Microsoft.Devices/IotHubs/jobs/write'",
        "",
        rules.wrong_roles,
    ),
    "a bare role ID": (
        "modules/topic.bicep",
        "roles['EventGrid Data Sender'])\n  }",
        "'d5a91429-5739-47e2-a06b-3470a27159e7')\n  }",
        rules.wrong_roles,
    ),
    "a key among the outputs": (
        "modules/ledger.bicep",
        "output accountId string = account.id",
        "output accountKey string = account.listKeys().keys[0].value",
        rules.wrong_secrets,
    ),
    "shared keys": (
        "modules/ledger.bicep",
        "allowSharedKeyAccess: false",
        "allowSharedKeyAccess: true",
        rules.wrong_access,
    ),
    "old TLS": ("modules/hub-logs.bicep", "minimumTlsVersion: '1.2'", "minimumTlsVersion: '1.0'", rules.wrong_access),
    "a vault that can be purged": (
        "modules/demo.bicep",
        "enablePurgeProtection: true",
        "enablePurgeProtection: false",
        rules.wrong_access,
    ),
    "a storage account that stays public": (
        "modules/host-storage.bicep",
        "publicNetworkAccess: publicNetworkAccess\n    n",
        "publicNetworkAccess: 'Enabled'\n    n",
        rules.wrong_access,
    ),
    "a parameter that a module has not": (
        "main.bicep",
        "hubHostname: devices",
        "hubHostName: devices",
        rules.wrong_calls,
    ),
    "a name that nobody declared": ("modules/app.bicep", "value: packagesUri", "value: packageUri", rules.wrong_names),
    "an output that a module has not": (
        "main.bicep",
        "ledger.outputs.tableUri",
        "ledger.outputs.tablesUri",
        rules.wrong_calls,
    ),
    "an alert for an event that is never logged": (
        "modules/alerts.bicep",
        '"poisoned"',
        '"poison"',
        rules.wrong_alerts,
    ),
    "an app role that the code does not know": (
        "entra/application.json",
        "Breach.Execute",
        "Breach.Run",
        rules.wrong_app_roles,
    ),
}


@pytest.mark.parametrize(("file", "there", "instead", "rule"), BREAKS.values(), ids=BREAKS)
def test_a_copy_is_caught_that_has(
    file: str, there: str, instead: str, rule: Callable[[Path], list[str]], tmp_path: Path
) -> None:
    copy = tmp_path / "infra"
    shutil.copytree(INFRA, copy)
    text = (copy / file).read_text()
    assert there in text
    (copy / file).write_text(text.replace(there, instead, 1))
    assert rule(copy) != []


def test_azd_gives_the_template_only_parameters_that_it_has() -> None:
    given = json.loads((INFRA / "main.parameters.json").read_text())["parameters"]
    main = read_folder(INFRA)[INFRA / "main.bicep"]
    assert set(given) == set(main.parameters)
    assert main.required <= set(given)


def test_every_call_of_an_sdk_is_in_the_table_of_what_it_needs() -> None:
    """And the table has no call that is not made."""
    documented = {(row[0], row[1].strip("`")) for row in rules.table(rules.SECURITY, "What each SDK call needs")}
    assert documented == rules.sdk_calls()


def test_the_example_settings_are_those_of_the_template_or_of_a_desk() -> None:
    example = json.loads((rules.ROOT / "local.settings.example.json").read_text())["Values"]
    there = set(rules.template_settings(read_folder(INFRA), INFRA))
    assert {name for name in example if name not in rules.OF_A_DESK and not name.endswith(".Disabled")} <= there
    by_identity = {name for name in there if "__" in name or name.startswith("APPLICATIONINSIGHTS")} | {
        "AZURE_CLIENT_ID"
    }
    assert there - by_identity <= set(example)


def test_the_template_sets_the_defaults_of_the_code() -> None:
    """Whoever changes one changes both."""
    example = json.loads((rules.ROOT / "local.settings.example.json").read_text())["Values"]
    policy = (
        "RETIRE_WHEN",
        "STRAGGLER_GRACE_DAYS",
        "DEVICE_BUDGET_DAYS",
        "ROLL_DAYS_BEFORE_EXPIRY",
        "ROLL_LIFETIME_SHARE",
        "WARN_DAYS_BEFORE_EXPIRY",
    )
    others = ("REPROVISION_METHOD", "CONTAINMENT_SETTLE_SECONDS", "BREACH_FUSE", "KEY_VAULT_VERIFY_CHALLENGE_RESOURCE")
    there = rules.template_settings(read_folder(INFRA), INFRA)
    assert {name: there[name] for name in policy + others} == {name: example[name] for name in policy + others}


def test_what_alerts_look_for_is_never_sampled_away() -> None:
    """A dead-man alert that misses its line because the host kept only every tenth is a false alarm at night."""
    host = json.loads((rules.ROOT / "host.json").read_text())
    excluded = host["logging"]["applicationInsights"]["samplingSettings"]["excludedTypes"].split(";")
    assert "Trace" in excluded


def test_only_the_webhook_of_event_grid_passes_the_platforms_authentication_by() -> None:
    [authentication] = [r for r in rules.of_type(read_folder(INFRA), "sites/config") if r.symbol == "authentication"]
    checked = authentication.properties["globalValidation"]
    assert checked["requireAuthentication"] is True
    assert checked["unauthenticatedClientAction"] == "Return401"
    assert {path.lower() for path in checked["excludedPaths"]} == {"/runtime/webhooks/eventgrid"}


def test_the_events_subscribed_to_are_those_that_the_code_takes() -> None:
    from shared.certificate_event import EVENT_TYPES

    [subscription] = rules.of_type(read_folder(INFRA), "systemTopics/eventSubscriptions")
    assert set(subscription.properties["filter"]["includedEventTypes"]) == set(EVENT_TYPES)
    assert "deadLetterWithResourceIdentity" in subscription.properties
    main = read_folder(INFRA)[INFRA / "main.bicep"].path.read_text()
    assert "/functions/on_certificate_event'" in main

"""Application settings: read once, every mistake named at the same time."""

import json
from datetime import timedelta
from pathlib import Path

import pytest

from shared.errors import Misconfigured
from shared.settings import read_settings

EXAMPLE = Path(__file__).parents[2] / "local.settings.example.json"
GOOD = {
    "DPS_ENDPOINT": "https://dps.azure-devices-provisioning.net",
    "IOT_HUB_HOSTNAME": "hub.azure-devices.net",
    "KEY_VAULT_URL": "https://vault.vault.azure.net",
    "EVENT_TOPIC_ENDPOINT": "https://topic.westeurope-1.eventgrid.azure.net/api/events",
    "RolloverStorage": "UseDevelopmentStorage=true",
}


def refusal(**changes: str | None) -> str:
    environment = {k: v for k, v in {**GOOD, **changes}.items() if v is not None}
    with pytest.raises(Misconfigured) as caught:
        read_settings(environment)
    return str(caught.value)


def test_the_example_that_is_shipped_is_complete_and_right():
    values = json.loads(EXAMPLE.read_text())["Values"]
    settings = read_settings(values)
    shown = [*GOOD, "ENTRA_ISSUER", "ENTRA_AUDIENCE", "DPS_RESOURCE_ID", "IOT_HUB_RESOURCE_ID"]
    assert settings == read_settings({k: values[k] for k in shown}), "it shows the defaults"


def test_what_is_not_set_has_careful_defaults():
    settings = read_settings(GOOD)
    assert settings.policy.retire_when_moved is False
    assert settings.policy.straggler_grace == timedelta(days=7)
    assert settings.policy.device_budget == timedelta(days=3)
    assert settings.policy.settle == timedelta(seconds=60)
    assert settings.due.window == timedelta(days=30)
    assert settings.due.share == 0.34
    assert settings.reprovision_method == "reprovision"
    assert settings.verify_challenge_resource is True
    assert settings.breach_fuse == 10
    assert (settings.entra_issuer, settings.entra_audience) == (None, None), "then the API is closed"


def test_what_the_platform_team_decides_is_read():
    chosen = {
        "RETIRE_WHEN": "Moved",
        "STRAGGLER_GRACE_DAYS": "0.5",
        "DEVICE_BUDGET_DAYS": "45",
        "ROLL_DAYS_BEFORE_EXPIRY": "90",
        "ROLL_LIFETIME_SHARE": "0.5",
        "REPROVISION_METHOD": "rollNow",
        "KEY_VAULT_VERIFY_CHALLENGE_RESOURCE": "false",
    }
    settings = read_settings({**GOOD, **chosen})
    assert settings.policy.retire_when_moved is True
    assert settings.policy.straggler_grace == timedelta(hours=12)
    assert settings.policy.device_budget == timedelta(days=45)
    assert (settings.due.window, settings.due.share) == (timedelta(days=90), 0.5)
    assert settings.reprovision_method == "rollNow"
    assert settings.verify_challenge_resource is False


def test_a_trailing_slash_of_a_url_is_dropped():
    settings = read_settings({**GOOD, "KEY_VAULT_URL": "https://vault.vault.azure.net/"})
    assert settings.vault_url == "https://vault.vault.azure.net"


STORAGE = {
    "a connection string": (
        {"RolloverStorage": "UseDevelopmentStorage=true"},
        "UseDevelopmentStorage=true",
        None,
        None,
    ),
    "a connection string as the host may name it": ({"AzureWebJobsRolloverStorage": "x=y"}, "x=y", None, None),
    "an identity and two addresses": (
        {
            "RolloverStorage__queueServiceUri": "https://q.example",
            "RolloverStorage__tableServiceUri": "https://t.example/",
        },
        None,
        "https://q.example",
        "https://t.example",
    ),
}


@pytest.mark.parametrize(("given", "connection", "queue", "table"), STORAGE.values(), ids=STORAGE.keys())
def test_storage_is_reached_by(given, connection, queue, table):
    """Connections of triggers may carry the prefix AzureWebJobs (azure-docs functions-reference, connections)."""
    settings = read_settings({**{k: v for k, v in GOOD.items() if k != "RolloverStorage"}, **given})
    assert (settings.storage_connection, settings.queue_url, settings.table_url) == (connection, queue, table)


def test_every_setting_that_is_missing_is_named_at_once():
    with pytest.raises(Misconfigured) as caught:
        read_settings({})
    for name in [*GOOD, "RolloverStorage__queueServiceUri", "RolloverStorage__tableServiceUri"]:
        assert name in str(caught.value)


def test_every_mistake_is_named_at_once():
    said = refusal(
        DPS_ENDPOINT="dps.example",
        IOT_HUB_HOSTNAME="https://hub.example",
        KEY_VAULT_URL=None,
        RETIRE_WHEN="never",
        STRAGGLER_GRACE_DAYS="a week",
        ROLL_LIFETIME_SHARE="-1",
    )
    for part in (
        "DPS_ENDPOINT must be a URL, not 'dps.example'",
        "IOT_HUB_HOSTNAME must be a host name without scheme or path",
        "KEY_VAULT_URL is missing",
        "RETIRE_WHEN must be one of expired, moved, not 'never'",
        "STRAGGLER_GRACE_DAYS must be a positive number below 36525, not 'a week'",
        "ROLL_LIFETIME_SHARE must be a positive number",
    ):
        assert part in said


WRONG = {
    "an address of another kind": ("DPS_ENDPOINT", "ftp://dps.example"),
    "an address without host": ("KEY_VAULT_URL", "https://"),
    "an address that cannot be parsed": ("KEY_VAULT_URL", "https://[vault"),
    "a blank": ("EVENT_TOPIC_ENDPOINT", "  "),
    "a host with a path": ("IOT_HUB_HOSTNAME", "hub.example/devices"),
    "no days": ("ROLL_DAYS_BEFORE_EXPIRY", "0"),
    "a number that is empty": ("ROLL_DAYS_BEFORE_EXPIRY", ""),
    "no number at all": ("ROLL_DAYS_BEFORE_EXPIRY", "nan"),
    "endless days": ("STRAGGLER_GRACE_DAYS", "inf"),
    "more days than a calendar has": ("STRAGGLER_GRACE_DAYS", "1e12"),
    "a share that is everything, so that a certificate is near expiry at birth": ("ROLL_LIFETIME_SHARE", "1"),
    "a share in percent": ("ROLL_LIFETIME_SHARE", "34"),
    "a containment that settles in no time": ("CONTAINMENT_SETTLE_SECONDS", "0"),
    "a fuse for half a device": ("BREACH_FUSE", "2.5"),
    "a fuse that is no number": ("BREACH_FUSE", "ten"),
    "a fuse that never blows": ("BREACH_FUSE", "9999999"),
    "a switch that is neither": ("KEY_VAULT_VERIFY_CHALLENGE_RESOURCE", "maybe"),
}


@pytest.mark.parametrize(("name", "value"), WRONG.values(), ids=WRONG.keys())
def test_a_setting_is_refused_by_name_when_it_is(name, value):
    assert name in refusal(**{name: value})


ISSUER = "https://login.microsoftonline.com/8eaef023-2b34-4da1-9baa-8bc8c9d6a490/v2.0"


def test_who_calls_is_told_by_issuer_and_audience():
    settings = read_settings({**GOOD, "ENTRA_ISSUER": ISSUER, "ENTRA_AUDIENCE": " the-api "})
    assert (settings.entra_issuer, settings.entra_audience) == (ISSUER, "the-api")


@pytest.mark.parametrize("alone", [{"ENTRA_ISSUER": ISSUER}, {"ENTRA_AUDIENCE": "the-api"}])
def test_neither_issuer_nor_audience_goes_alone(alone):
    """Half a lock must not look like none, which is a closed API on purpose."""
    assert "ENTRA_ISSUER and ENTRA_AUDIENCE go together" in refusal(**alone)


@pytest.mark.parametrize("issuer", [ISSUER.replace("https", "http"), "login.microsoftonline.com", "https://"])
def test_an_issuer_must_be_reached_by_https(issuer):
    assert "ENTRA_ISSUER must" in refusal(ENTRA_ISSUER=issuer, ENTRA_AUDIENCE="the-api")


def test_the_fuse_is_read():
    assert read_settings({**GOOD, "BREACH_FUSE": "25"}).breach_fuse == 25


def test_how_long_a_containment_settles_is_read():
    settings = read_settings({**GOOD, "CONTAINMENT_SETTLE_SECONDS": "0.5"})
    assert settings.policy.settle == timedelta(seconds=0.5)


def test_a_connection_string_is_never_shown():
    assert "AccountKey" not in refusal(RolloverStorage="AccountName=a;AccountKey=c2VjcmV0", DPS_ENDPOINT="x")


DPS_ID = "/subscriptions/s/resourceGroups/g/providers/Microsoft.Devices/provisioningServices/dps"


def test_resources_are_read_and_what_the_hub_is_where_they_do_not_say():
    hub = "/subscriptions/s/resourcegroups/g/providers/microsoft.devices/IotHubs/hub"
    settings = read_settings({**GOOD, "DPS_RESOURCE_ID": DPS_ID, "IOT_HUB_RESOURCE_ID": hub, "HUB_SKU": "s3X10"})
    assert (settings.dps_resource_id, settings.hub_resource_id, settings.hub_sku) == (DPS_ID, hub, ("S3", 10))
    careful = read_settings({**GOOD, "DPS_RESOURCE_ID": "", "ARM_ENDPOINT": ""})
    assert (careful.dps_resource_id, careful.hub_resource_id, careful.hub_sku) == (None, None, ("S1", 1))
    assert careful.arm_endpoint == "https://management.azure.com"
    assert careful.ca_verified_on_upload is False


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DPS_RESOURCE_ID", "dps"),
        ("IOT_HUB_RESOURCE_ID", DPS_ID),
        ("HUB_SKU", "S1"),
        ("HUB_SKU", "S9x1"),
        ("HUB_SKU", "S1x0"),
        ("ARM_ENDPOINT", "management.azure.com"),
        ("CA_VERIFIED_ON_UPLOAD", "yes"),
    ],
)
def test_a_resource_or_a_size_that_is_none_is_named(name, value):
    assert f"{name} must be" in refusal(**{name: value})

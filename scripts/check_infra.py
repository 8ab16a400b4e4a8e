"""``make check-infra``: every resource in ``infra/`` against Azure's own models, and checkov, clean.

The bicep CLI cannot be had from a package registry. The management SDKs carry, for each resource type, what its
properties are called and of which type they are: that is compared here, with the API version that the model is of. What
is not seen: rules between properties, values that only exist at run time, and whether a region has it.

Runs in ``.venv-infra`` (requirements-infra.txt): ``python -m scripts.check_infra [folder]``.
"""

import importlib
import json
import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from scripts.azure_models import Field, Nested, fields_of
from scripts.bicep import BicepFile, Resource, is_expression, possibilities, read_folder

# Resource type → API version, module of its models, model of what is sent to make it. The version is the module's.
MODELS: dict[str, tuple[str, str, str]] = {
    "Microsoft.Authorization/roleAssignments": (
        "2022-04-01",
        "authorization.v2022_04_01",
        "RoleAssignmentCreateParameters",
    ),
    "Microsoft.Authorization/roleDefinitions": ("2022-04-01", "authorization.v2022_04_01", "RoleDefinition"),
    "Microsoft.Devices/IotHubs": ("2023-06-30", "iothub.v2023_06_30", "IotHubDescription"),
    "Microsoft.Devices/provisioningServices": (
        "2026-11-01",
        "iothubprovisioningservices",
        "ProvisioningServiceDescription",
    ),
    "Microsoft.EventGrid/systemTopics": ("2025-02-15", "eventgrid", "SystemTopic"),
    "Microsoft.EventGrid/systemTopics/eventSubscriptions": ("2025-02-15", "eventgrid", "EventSubscription"),
    "Microsoft.EventGrid/topics": ("2025-02-15", "eventgrid", "Topic"),
    "Microsoft.EventGrid/topics/eventSubscriptions": ("2025-02-15", "eventgrid", "EventSubscription"),
    "Microsoft.EventHub/namespaces": ("2026-01-01", "eventhub", "EHNamespace"),
    "Microsoft.EventHub/namespaces/authorizationRules": ("2026-01-01", "eventhub", "AuthorizationRule"),
    "Microsoft.EventHub/namespaces/eventhubs": ("2026-01-01", "eventhub", "Eventhub"),
    "Microsoft.EventHub/namespaces/eventhubs/consumergroups": ("2026-01-01", "eventhub", "ConsumerGroup"),
    "Microsoft.EventHub/namespaces/networkRuleSets": ("2026-01-01", "eventhub", "NetworkRuleSet"),
    "Microsoft.Insights/activityLogAlerts": ("2020-10-01", "monitor.v2020_10_01", "ActivityLogAlertResource"),
    "Microsoft.Insights/components": (
        "2020-02-02",
        "applicationinsights.v2020_02_02",
        "ApplicationInsightsComponent",
    ),
    "Microsoft.Insights/diagnosticSettings": (
        "2021-05-01-preview",
        "monitor.v2021_05_01_preview",
        "DiagnosticSettingsResource",
    ),
    "Microsoft.Insights/metricAlerts": ("2018-03-01", "monitor.v2018_03_01", "MetricAlertResource"),
    "Microsoft.Insights/scheduledQueryRules": (
        "2022-08-01-preview",
        "monitor.v2022_08_01_preview",
        "ScheduledQueryRuleResource",
    ),
    "Microsoft.Insights/workbooks": ("2023-06-01", "applicationinsights.v2023_06_01", "Workbook"),
    "Microsoft.KeyVault/vaults": ("2026-05-15", "keyvault", "VaultCreateOrUpdateParameters"),
    "Microsoft.ManagedIdentity/userAssignedIdentities": ("2024-11-30", "msi.v2024_11_30", "Identity"),
    "Microsoft.OperationalInsights/workspaces": ("2025-07-01", "loganalytics", "Workspace"),
    "Microsoft.Storage/storageAccounts": ("2026-09-01", "storage", "StorageAccountCreateParameters"),
    "Microsoft.Storage/storageAccounts/blobServices": ("2026-09-01", "storage", "BlobServiceProperties"),
    "Microsoft.Storage/storageAccounts/blobServices/containers": ("2026-09-01", "storage", "BlobContainer"),
    "Microsoft.Storage/storageAccounts/queueServices": ("2026-09-01", "storage", "QueueServiceProperties"),
    "Microsoft.Storage/storageAccounts/queueServices/queues": ("2026-09-01", "storage", "StorageQueue"),
    "Microsoft.Storage/storageAccounts/tableServices": ("2026-09-01", "storage", "TableServiceProperties"),
    "Microsoft.Storage/storageAccounts/tableServices/tables": ("2026-09-01", "storage", "Table"),
    "Microsoft.Web/serverfarms": ("2025-05-01", "web", "AppServicePlan"),
    "Microsoft.Web/sites": ("2025-05-01", "web", "Site"),
    "Microsoft.Web/sites/basicPublishingCredentialsPolicies": (
        "2025-05-01",
        "web",
        "CsmPublishingCredentialsPoliciesEntity",
    ),
    "Microsoft.Web/sites/config": ("2025-05-01", "web", "SiteAuthSettingsV2"),  # the only one here: authsettingsV2
}
# A resource group has nothing but these, and its models come with a package of half the size of all others together.
BY_HAND = {"Microsoft.Resources/resourceGroups": ("2024-03-01", {"name", "location", "tags"})}
OF_BICEP = {"name", "parent", "scope", "dependsOn", "depends_on", "location", "tags"}
"""What every resource may have beside its model; ``depends_on`` is pycep's word for a nested resource's parent."""


@dataclass
class Report:
    """What was looked at and what was found wrong."""

    resources: int = 0
    properties: int = 0
    wrong: list[str] = field(default_factory=list)


def check_folder(folder: Path) -> Report:
    """Every resource of every file under a folder."""
    report = Report()
    for file in read_folder(folder).values():
        for resource in file.resources:
            check_resource(resource, file, report)
    return report


def check_resource(resource: Resource, file: BicepFile, report: Report) -> None:
    where = f"{file.path}: {resource.symbol}"
    report.resources += 1
    if resource.type in BY_HAND:
        version, known = BY_HAND[resource.type]
        report.wrong += [f"{where}: unknown property {key}" for key in resource.body if key not in known | OF_BICEP]
    elif resource.type in MODELS:
        version, module, model = MODELS[resource.type]
        if not resource.existing:
            body = {key: value for key, value in resource.body.items() if key not in OF_BICEP - {"location"}}
            models = importlib.import_module(f"azure.mgmt.{module}.models")
            _Walk(models, file, report).model(body, getattr(models, model), where, top=True)
    else:
        report.wrong.append(f"{where}: no model for {resource.type}")
        return
    if resource.api_version != version:
        report.wrong.append(f"{where}: API version {resource.api_version}, the model is of {version}")


class _Walk:
    """Compares a value of a template with a model, both kinds of which the SDKs have."""

    def __init__(self, models: Any, file: BicepFile, report: Report) -> None:
        self._models = models
        self._file = file
        self._report = report

    def _say(self, where: str, what: str) -> None:
        self._report.wrong.append(f"{where}: {what}")

    def model(self, body: dict[str, Any], model: type, where: str, *, top: bool = False) -> None:
        model = self._variant(body, model)
        self._object(body, fields_of(model, self._models), where, top=top)

    def _object(self, body: dict[str, Any], fields: dict[str, Field], where: str, *, top: bool = False) -> None:
        for key, value in body.items():
            name = key.strip("'")
            self._report.properties += 1
            known = fields.get(name)
            if known is None:
                self._say(where, f"unknown property {name}")
            elif known.read_only:
                self._say(where, f"{name} cannot be set")
            else:
                for one in possibilities(value):
                    self._value(one, known.type, f"{where}.{name}")
        given = {key.strip("'") for key in body}
        named = {"name", "id", "type", "location"} if top else set()  # location: a child has its parent's
        for name, known in fields.items():
            if known.required and not known.read_only and name not in given | named:
                self._say(where, f"{name} is required")

    def _value(self, value: Any, wanted: Any, where: str) -> None:
        if value is None or is_expression(value) or (isinstance(value, str) and self._file.declares(value)):
            return
        if isinstance(value, dict) and "loop_type" in value:
            value = [value["config"]]
        kind, inner = ("object", wanted.fields) if isinstance(wanted, Nested) else wanted
        if kind == "list" and isinstance(value, list):
            for one in value:
                self._value(one, inner, where)
        elif kind in ("object", "model", "dict") and isinstance(value, dict):
            self._inside(value, kind, inner, where)
        elif kind == "enum" and isinstance(value, str):
            allowed = [member.value for member in inner]
            if "${" not in value and value not in allowed:
                self._say(where, f"must be one of {', '.join(map(str, allowed))}, not {value!r}")
        elif kind == "scalar":
            if not isinstance(value, inner) or (isinstance(value, bool) and inner != (bool,)):
                self._say(where, f"must be {inner[0].__name__}, not {value!r}")
        elif kind != "any":
            self._say(where, f"must be a {kind}, not {value!r}")

    def _inside(self, value: dict[str, Any], kind: str, inner: Any, where: str) -> None:
        if kind == "object":
            self._object(value, inner, where)
        elif kind == "model":
            self.model(value, inner, where)
        else:
            for one in value.values():
                self._value(one, inner, where)

    def _variant(self, body: dict[str, Any], model: type) -> type:
        """The model of a kind: by the value of the property that tells the kinds apart."""
        by_name = vars(model).get("_subtype_map", {})  # msrest: {attribute: {value: class name}}
        for attribute, kinds in by_name.items():
            key = model._attribute_map[attribute]["key"].replace("\\.", ".")  # type: ignore[attr-defined]
            value = body.get(key, body.get(f"'{key}'"))
            if value in kinds:
                return self._variant(body, getattr(self._models, kinds[value]))
        return model


def run_checkov(folder: Path) -> tuple[str, list[str]]:
    """One line of figures, and what is wrong: failures, files not parsed, crashes, suppressions without a reason."""
    checkov = Path(sys.executable).with_name("checkov")
    ran = subprocess.run(  # noqa: S603  our own venv's program on our own folder
        [checkov, "-d", folder, "--framework", "bicep", "--quiet", "--skip-download", "--output", "json"],
        # Seen of 3.3.30: by hash seed, a check resolves a parameter to its default or does not.
        env=os.environ | {"PYTHONHASHSEED": "0"},
        capture_output=True,
        text=True,
        check=False,
    )
    try:
        found = json.loads(ran.stdout)
    except ValueError:
        return "checkov: no result", [f"checkov: {ran.stdout[-300:]} {ran.stderr[-300:]}"]
    results, summary = found["results"], found["summary"]
    wrong = [f"checkov: {one['check_id']} {one['file_path']} {one['resource']}" for one in results["failed_checks"]]
    wrong += [f"checkov: {one} does not parse" for one in results.get("parsing_errors") or []]
    wrong += [
        f"checkov: {one['check_id']} {one['file_path']} is suppressed without a reason"
        for one in results.get("skipped_checks", [])
        if len(one["check_result"].get("suppress_comment") or "") < 15
    ]
    if summary["parsing_errors"] and not results.get("parsing_errors"):
        wrong.append(f"checkov: {summary['parsing_errors']} files do not parse")
    if "Traceback" in ran.stderr:
        wrong.append(f"checkov: a check crashed: {ran.stderr.strip().splitlines()[-1]}")
    figures = f"{summary['passed']} passed, {summary['failed']} failed, {summary['skipped']} suppressed with a reason"
    return f"checkov {summary['checkov_version']}: {figures}", wrong


def main() -> int:
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else "infra")
    report = check_folder(folder)
    counted = f"{len(read_folder(folder))} files, {report.resources} resources, {report.properties} properties"
    figures, wrong = run_checkov(folder)
    for line in report.wrong + wrong:
        print(line)  # noqa: T201  what it is run for
    print(f"models: {counted}, {len(report.wrong)} wrong\n{figures}")  # noqa: T201
    return 1 if report.wrong or wrong else 0


if __name__ == "__main__":
    sys.exit(main())

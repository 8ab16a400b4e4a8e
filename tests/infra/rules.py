"""What must hold of the template, each rule a function from a folder to the list of what is wrong.

The folder is an argument so that a test can break a copy and see the rule notice.
"""

import ast
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from scripts.bicep import BicepFile, Resource, read_folder, texts
from shared.callers import Role
from shared.clients.storage import TABLE
from tests.infra import queries

ROOT = Path(__file__).parents[2]
SECURITY = ROOT / "docs" / "security.md"
GUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)

HOST_SETTINGS = {
    # Read by the Functions host (azure-docs functions-app-settings, functions-reference: host storage by identity).
    "APPLICATIONINSIGHTS_CONNECTION_STRING",
    "APPLICATIONINSIGHTS_AUTHENTICATION_STRING",
    "AzureWebJobsStorage__blobServiceUri",
    "AzureWebJobsStorage__credential",
    "AzureWebJobsStorage__clientId",
}
EXPORTER_SETTINGS = {
    # Read by azure-monitor-opentelemetry-exporter: it reports on nobody but us, and takes no orders from elsewhere.
    "APPLICATIONINSIGHTS_CONTROLPLANE_DISABLED",
    "APPLICATIONINSIGHTS_SDKSTATS_DISABLED",
    "APPLICATIONINSIGHTS_STATSBEAT_DISABLED_ALL",
}
CONNECTION_SETTINGS = {
    # What a trigger's connection by user-assigned identity takes (azure-docs functions-reference, connections).
    "queueTrigger": ("queueServiceUri", "credential", "clientId"),
    "eventHubTrigger": ("fullyQualifiedNamespace", "credential", "clientId"),
}
NOT_ON_FLEX = {"FUNCTIONS_WORKER_RUNTIME", "FUNCTIONS_EXTENSION_VERSION", "WEBSITE_RUN_FROM_PACKAGE"}
OF_A_DESK = {"FUNCTIONS_WORKER_RUNTIME", "AzureWebJobsStorage", "RolloverStorage"}
"""What local settings have instead: a connection string of Azurite, and the language."""


def bindings() -> list[dict[str, Any]]:
    """Every binding of the app, as the host gets them; that they are the app's is held by test_function_app.py."""
    golden = json.loads((ROOT / "tests" / "functions" / "function_app.json").read_text())
    return [binding for function in golden.values() for binding in function["bindings"]]


def code_settings() -> set[str]:
    """Names that our own code asks the environment for."""
    found: set[str] = set()
    for path in (ROOT / "shared").rglob("*.py"):
        text = path.read_text()
        if "environ" in text or path.name == "settings.py":
            found |= set(re.findall(r'"([A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+)"', text))
    return found | {"RolloverStorage__queueServiceUri", "RolloverStorage__tableServiceUri"}


def binding_settings() -> set[str]:
    """Names that the host resolves for the bindings: %NAME% and the parts of each connection."""
    found: set[str] = set()
    for binding in bindings():
        found |= {name for text in texts(binding) for name in re.findall(r"%(\w+)%", text)}
        if "connection" in binding:
            found |= {f"{binding['connection']}__{part}" for part in CONNECTION_SETTINGS[binding["type"]]}
    return found


def template_settings(files: dict[Path, BicepFile], folder: Path) -> dict[str, Any]:
    """Name → value of the application settings."""
    value = files[folder / "modules" / "app.bicep"].variables["applicationSettings"]
    return dict(value["function"]["parameters"]["arg_1"])


def wrong_settings(folder: Path) -> list[str]:
    """Every setting that is read is set, and no other."""
    there = set(template_settings(read_folder(folder), folder))
    read = code_settings() | binding_settings() | HOST_SETTINGS | EXPORTER_SETTINGS
    return [
        *(f"{name} is read and not set" for name in sorted(read - there)),
        *(f"{name} is set and not read" for name in sorted(there - read)),
        *(f"{name} must not be set on Flex Consumption" for name in sorted(there & NOT_ON_FLEX)),
    ]


def wrong_queues(folder: Path) -> list[str]:
    """Queues, table and event hub are those of the bindings and the ledger."""
    files = read_folder(folder)
    ledger = files[folder / "modules" / "ledger.bicep"]
    made = {name for resource in of_type(files, "queueServices/queues") for name in _names(resource, ledger)}
    wanted = {binding["queueName"] for binding in bindings() if binding["type"] == "queueTrigger"}
    tables = {name for resource in of_type(files, "tableServices/tables") for name in _names(resource, ledger)}
    wrong = [f"queue {name} is read and not made" for name in sorted(wanted - made)]
    wrong += [f"queue {name} is made and not read" for name in sorted(made - wanted)]
    if tables != {TABLE}:
        wrong.append(f"tables {sorted(tables)}, not {TABLE}")
    groups = {binding["consumerGroup"] for binding in bindings() if binding["type"] == "eventHubTrigger"}
    made_groups = {resource.body["name"] for resource in of_type(files, "eventhubs/consumergroups")}
    if groups != made_groups:
        wrong.append(f"consumer groups {sorted(made_groups)}, not {sorted(groups)}")
    return wrong


def _names(resource: Resource, file: BicepFile) -> list[str]:
    """The names of a resource; of each turn, where it is in a loop over a list of texts."""
    name = str(resource.body["name"])
    if resource.loop is None:
        return [name]
    detail = resource.loop["detail"]
    item, turns = detail["item_name"], file.variables[detail["array_name"]]
    return [turn if name == item else name.replace(f"${{{item}}}", turn) for turn in turns]


def of_type(files: dict[Path, BicepFile], ending: str, *, existing: bool = False) -> list[Resource]:
    """Resources whose type ends so."""
    return [
        resource
        for file in files.values()
        for resource in file.resources
        if resource.type.endswith(ending) and resource.existing is existing
    ]


def wrong_calls(folder: Path) -> list[str]:
    """Each module is called with the parameters it has, and asked for outputs it has; all are used somewhere."""
    files = {path.resolve(): file for path, file in read_folder(folder).items()}
    wrong = []
    for file in files.values():
        for module in file.modules:
            target = files.get(module.target.resolve())
            if target is None:
                wrong.append(f"{module.symbol}: there is no {module.target}")
                continue
            given = set(module.params)
            wrong += [f"{module.symbol}: no parameter {name}" for name in sorted(given - set(target.parameters))]
            wrong += [f"{module.symbol}: {name} is not given" for name in sorted(target.required - given)]
            asked = set(re.findall(rf"\b{module.symbol}\.outputs\.(\w+)", file.path.read_text()))
            wrong += [f"{module.symbol}: no output {name}" for name in sorted(asked - set(target.outputs))]
        for name in [*file.parameters, *file.variables]:
            if len(re.findall(rf"\b{name}\b", file.path.read_text())) < 2:
                wrong.append(f"{file.path.name}: {name} is not used")
    return wrong


KEYWORDS = {"targetScope", "param", "var", "resource", "module", "output", "existing", "if", "for", "in"}
KEYWORDS |= {"true", "false", "null", "string", "bool", "int", "object", "array"}


def wrong_names(folder: Path) -> list[str]:
    """Every bare word is declared in its file. (pycep does not tell ``'x'`` from ``x``, so this reads the text.)"""
    wrong = []
    for path, file in read_folder(folder).items():
        code = _without_texts(path.read_text())
        known = KEYWORDS | set(file.parameters) | set(file.variables) | set(file.outputs)
        known |= set(re.findall(r"\b(?:resource|module|for)\s+(\w+)", code)) | set(re.findall(r"(\w+)\s*=>", code))
        used = re.findall(r"(?<![.\w@])([A-Za-z_]\w*)\b(?!\s*[:(])", code)
        wrong += [f"{path.name}: nothing is called {name}" for name in sorted(set(used) - known)]
    return wrong


def _without_texts(code: str) -> str:
    """Without comments and texts; what is interpolated into a text stays."""
    code = re.sub(r"^\s*//.*$|\s//\s.*$", "", code, flags=re.MULTILINE)
    return re.sub(r"'(?:[^'\\]|\\.)*'", lambda text: " ".join(re.findall(r"\$\{([^}]*)\}", text[0])), code)


def wrong_secrets(folder: Path) -> list[str]:
    """No key, connection string or password anywhere; outputs name places only."""
    wrong = []
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        text = path.read_text()
        for pattern in (
            r"list[A-Z]?\w*[Kk]eys?\(",
            r"listSecrets",
            r"AccountKey",
            r"SharedAccessKey=",
            r"[Pp]assword\w*['\"]?\s*[:=]",
        ):
            wrong += [f"{path.name}: {found}" for found in re.findall(pattern, text)]
    for file in read_folder(folder).values():
        for name in file.outputs:
            if re.search(r"key|secret|connectionstring|password", name, re.IGNORECASE):
                wrong.append(f"{file.path.name}: output {name}")
    return wrong


def wrong_access(folder: Path) -> list[str]:
    """TLS 1.2 at least, no keys, public access as intended, purge protection."""
    files = read_folder(folder)
    wanted: dict[str, dict[str, Any]] = {
        "Microsoft.Storage/storageAccounts": {
            "minimumTlsVersion": "TLS1_2",
            "supportsHttpsTrafficOnly": True,
            "allowSharedKeyAccess": False,
            "allowBlobPublicAccess": False,
            "publicNetworkAccess": "publicNetworkAccess",
        },
        "Microsoft.Storage/storageAccounts/blobServices/containers": {"publicAccess": "None"},
        "Microsoft.EventGrid/topics": {
            "minimumTlsVersionAllowed": "1.2",
            "disableLocalAuth": True,
            "publicNetworkAccess": "publicNetworkAccess",
        },
        "Microsoft.EventHub/namespaces": {
            "minimumTlsVersion": "1.2",
            "disableLocalAuth": False,  # Azure Monitor cannot write otherwise
            "publicNetworkAccess": "publicNetworkAccess",
        },
        "Microsoft.KeyVault/vaults": {
            "enablePurgeProtection": True,
            "enableSoftDelete": True,
            "enableRbacAuthorization": True,
        },
        "Microsoft.Devices/IotHubs": {"minTlsVersion": "1.2", "disableLocalAuth": True},
        "Microsoft.Devices/provisioningServices": {"disableLocalAuth": True},
        "Microsoft.Insights/components": {"DisableLocalAuth": True},
        "Microsoft.Web/sites": {"httpsOnly": True, "publicNetworkAccess": "Enabled"},
        "Microsoft.Web/sites/basicPublishingCredentialsPolicies": {"allow": False},
    }
    wrong = []
    for file in files.values():
        for resource in (one for one in file.resources if not one.existing):
            for name, value in wanted.get(resource.type, {}).items():
                if (found := resource.properties.get(name)) != value:
                    wrong.append(f"{resource.symbol}: {name} is {found!r}, not {value!r}")
    site = of_type(files, "Microsoft.Web/sites")[0].properties["siteConfig"]
    for name, value in {"minTlsVersion": "1.2", "scmMinTlsVersion": "1.2", "ftpsState": "Disabled"}.items():
        if site.get(name) != value:
            wrong.append(f"site: {name} is {site.get(name)!r}, not {value!r}")
    return wrong


ASSIGNEES = {"hostPrincipalId": "host", "appPrincipalId": "app", "topicPrincipalId": "topic", "linker": "demo"}
CUSTOM = {
    "provisioning.bicep": "Rollover provisioning (custom)",
    "hub.bicep": "Rollover hub (custom)",
    "vault.bicep": "Rollover vault (custom)",
    "authorities.bicep": "Rollover authorities (custom)",
    "signing.bicep": "Rollover signing (custom)",
}


_CERTIFICATES = "Microsoft.Devices/provisioningServices/certificates"
MANAGED = {
    "Microsoft.Devices/IotHubs/read",
    *(f"{_CERTIFICATES}/{verb}" for verb in ("read", "write", "delete")),
    *(f"{_CERTIFICATES}/{verb}/action" for verb in ("generateVerificationCode", "verify")),
}
"""All that may be asked of Resource Manager: none of it lists keys, or changes a resource itself."""


def assignments(folder: Path) -> set[tuple[str, str]]:
    """(identity, role) of every role assignment of the template."""
    roles = json.loads((folder / "roles.json").read_text())
    found = set()
    for resource in of_type(read_folder(folder), "/roleAssignments"):
        who = next(
            who for word in texts(resource.properties["principalId"]) for key, who in ASSIGNEES.items() if key == word
        )
        named = [text for text in texts(resource.properties["roleDefinitionId"]) if text in roles]
        found.add((who, named[0] if named else CUSTOM.get(resource.file.name, "nobody knows")))
    return found


def table(page: Path, heading: str) -> list[list[str]]:
    """The rows of the first table under a heading of a document."""
    section = page.read_text().partition(f"## {heading}\n")[2].partition("\n## ")[0]
    rows = [line.strip("|").split("|") for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in row] for row in rows[2:]]


def wrong_roles(folder: Path) -> list[str]:
    """Template, role table and SDK calls agree; role IDs come from roles.json alone; each is scoped and explained."""
    files = read_folder(folder)
    documented = {(row[0], row[1]) for row in table(SECURITY, "Role assignments")}
    made = assignments(folder)
    wrong = [f"{who} has no role {role}" for who, role in sorted(documented - made)]
    wrong += [f"{who} has the role {role} that security.md does not explain" for who, role in sorted(made - documented)]
    used = {role for _, role in made if "custom" not in role}
    wrong += [f"roles.json names {role} for nothing" for role in sorted(set(_roles(folder)) - used)]
    for resource in of_type(files, "/roleAssignments"):
        if "scope" not in resource.body:
            wrong.append(f"{resource.symbol}: is for the whole resource group")
        if not resource.properties.get("description"):
            wrong.append(f"{resource.symbol}: does not say why")
    for path in files:
        wrong += [f"{path.name}: a bare ID {found}" for found in GUID.findall(path.read_text())]
    return wrong + _wrong_permissions(files)


def _roles(folder: Path) -> dict[str, str]:
    return dict(json.loads((folder / "roles.json").read_text()))


def _wrong_permissions(files: dict[Path, BicepFile]) -> list[str]:
    """Custom roles allow what the documented calls need, and nothing else."""
    needed: dict[str, set[str]] = {}
    for _client, _call, needs, role in table(SECURITY, "What each SDK call needs"):
        needed.setdefault(role, set()).update(re.findall(r"`(Microsoft\.[^`]+)`", needs))
    wrong = []
    for resource in of_type(files, "/roleDefinitions"):
        name = str(resource.properties["roleName"]).partition(" (")[0]
        [permission] = resource.properties["permissions"]
        allowed = {*permission["dataActions"], *permission["actions"]}
        if beyond := [one for one in permission["actions"] if one not in MANAGED]:
            wrong.append(f"{name} allows management: {beyond}")
        wrong += [f"{name} does not allow {one}" for one in sorted(needed.get(name, set()) - allowed)]
        wrong += [f"{name} allows {one}, which no call needs" for one in sorted(allowed - needed.get(name, set()))]
    return wrong


SDK_ROOTS = {"_api", "_client", "_registry", "_jobs", "queue", "requests"}
LOCAL_CALLS = {"get_table_client", "get_queue_client", "Session"}
"""Make an object and send nothing."""


def sdk_calls() -> set[tuple[str, str]]:
    """(module, call) of every call that ``shared.clients`` makes on an SDK's client."""
    found = set()
    for path in (ROOT / "shared" / "clients").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call):
                chain = list(_chain(node.func))
                roots = [i for i, name in enumerate(chain) if name in SDK_ROOTS]
                if roots and len(chain) > roots[0] + 1 and chain[-1] not in LOCAL_CALLS:
                    name = ".".join(chain[roots[0] + 1 :])
                    found.add((path.stem, f"requests.{name}" if chain[roots[0]] == "requests" else name))
    return found


def _chain(node: ast.expr) -> Iterator[str]:
    if isinstance(node, ast.Attribute):
        yield from _chain(node.value)
        yield node.attr
    elif isinstance(node, ast.Name):
        yield node.id


def wrong_alerts(folder: Path) -> list[str]:
    """Queries look for what the code emits, and there is none that looks for nothing."""
    found = queries.in_template(folder)
    return [f"{where}: {one}" for where, query in found for one in queries.wrong(query)]


def wrong_app_roles(folder: Path) -> list[str]:
    """The app registration has the roles that the code knows; a breach is for people."""
    application = json.loads((folder / "entra" / "application.json").read_text())
    roles = {one["value"]: one["allowedMemberTypes"] for one in application["appRoles"]}
    callers = json.loads((folder / "entra" / "callers.json").read_text())
    wrong = []
    if set(roles) != set(Role):
        wrong.append(f"app roles {sorted(roles)}, not {sorted(Role)}")
    if roles.get(Role.BREACH_EXECUTE) != ["User"]:
        wrong.append("Breach.Execute is not for people alone")
    if application["api"]["requestedAccessTokenVersion"] != 2:
        wrong.append("the API does not ask for v2.0 tokens")
    if {**callers["api"], "preAuthorizedApplications": None} != {
        **application["api"],
        "preAuthorizedApplications": None,
    }:
        wrong.append("callers.json would change more than who is authorized beforehand")
    return wrong


RULES = (
    wrong_calls,
    wrong_names,
    wrong_settings,
    wrong_queues,
    wrong_roles,
    wrong_secrets,
    wrong_access,
    wrong_alerts,
    wrong_app_roles,
)

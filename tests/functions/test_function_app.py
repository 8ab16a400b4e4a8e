"""The app as the Functions host sees it: names, triggers, and a cold start that loads no SDK of a service.

Queue names, routes and function names are contracts with messages in flight, callers and event subscriptions;
``function_app.json`` holds them. It is changed only on purpose.
"""

import base64
import dataclasses
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import azure.functions as func
import pytest

import shared.services
from shared.plans import Step
from shared.services import Services
from tests.fakes import InMemoryCallers
from tests.http_api import http_functions, invoke

ROOT = Path(__file__).parents[2]
GOLDEN = Path(__file__).with_name("function_app.json")

INDEX = """
import json, sys
import function_app
loaded = sorted(sys.modules)
# What the worker of production does with it, annotations and binding types included.
from azure_functions_runtime.bindings.meta import load_binding_registry
from azure_functions_runtime.functions import Registry
from azure_functions_runtime.loader import index_function_app
from local.host import protos
load_binding_registry()
functions, registry = index_function_app("function_app.py"), Registry()
shown = {}
for function in functions:
    info = registry.add_indexed_function(function=function, protos=protos)
    bindings = json.loads(function.get_function_json())["bindings"]
    shown[info.name] = {"parameters": sorted(info.input_types), "bindings": bindings}
    if retry := function.get_settings_dict("retry_policy"):
        shown[info.name]["retry"] = retry
print(json.dumps({"loaded": loaded, "functions": shown}))
"""


@pytest.fixture(scope="module")
def indexed() -> dict[str, Any]:
    """The app, indexed in a process of its own, where nothing is loaded yet and no setting is set."""
    environment = {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT)}
    ran = subprocess.run(
        [sys.executable, "-c", INDEX],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    return json.loads(ran.stdout.splitlines()[-1])


def test_the_app_has_these_functions_with_these_triggers_and_no_others(indexed):
    assert indexed["functions"] == json.loads(GOLDEN.read_text())


def test_every_step_has_its_queue_and_its_poison_queue(indexed):
    queues = {
        binding["queueName"]
        for function in indexed["functions"].values()
        for binding in function["bindings"]
        if binding["type"] == "queueTrigger"
    }
    assert queues == {name for step in Step for name in (step.queue, f"{step.queue}-poison")}


def test_every_function_lies_in_the_file_of_its_name_and_every_file_is_registered(indexed):
    files = {path.stem for path in (ROOT / "functions").glob("*.py")} - {"__init__"}
    steps = {f"report_poisoned_{step.value}" for step in Step}
    assert {"report_poisoned" if name in steps else name for name in indexed["functions"]} == files


class Untouched:
    """A service that nobody may use."""

    def __getattribute__(self, name: str) -> Any:
        raise AssertionError(f"{name} was used before the caller was known")


@pytest.fixture
def nothing_but_callers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Services of which only the callers work, wherever somebody has got hold of them."""
    ports = {field.name: Untouched() for field in dataclasses.fields(Services)}
    found = Services(**{**ports, "callers": InMemoryCallers()})
    for name, module in list(sys.modules.items()):
        if name.startswith(("shared.", "functions.")) and hasattr(module, "services") and module is not shared.services:
            monkeypatch.setattr(module, "services", lambda: found)
    monkeypatch.setattr(shared.services, "services", lambda: found)


NOBODY = {
    "no token": {},
    "an empty token": {"Authorization": "Bearer "},
    "a token that is none": {"Authorization": "Bearer nonsense"},
    "a function key": {"x-functions-key": "key"},
    "what a front end says about the caller": {
        "X-MS-CLIENT-PRINCIPAL": base64.b64encode(b'{"claims": [{"typ": "roles", "val": "Breach.Execute"}]}').decode(),
        "X-MS-CLIENT-PRINCIPAL-ID": "id-of-oncall",
        "X-MS-CLIENT-PRINCIPAL-NAME": "oncall",
        "X-MS-TOKEN-AAD-ACCESS-TOKEN": "oncall",
    },
}


@pytest.mark.parametrize("name", http_functions())
@pytest.mark.parametrize(
    ("headers", "status"),
    [*((headers, 401) for headers in NOBODY.values()), ({"Authorization": "Bearer stranger"}, 403)],
    ids=[*NOBODY, "a token without a role"],
)
@pytest.mark.usefixtures("nothing_but_callers")
def test_no_function_is_open_to_the_world(name, headers, status):
    """The host lets everybody in (anonymous), since it knows nothing of people; so every function asks, before it does
    anything, who calls. Whoever adds one finds it here."""
    trigger, function = http_functions()[name]
    assert trigger["authLevel"] == "ANONYMOUS"
    for method in trigger["methods"]:
        request = func.HttpRequest(
            method,
            f"https://app.example/api/{trigger['route']}?code=key",
            headers=headers,
            params={"code": "key"},
            route_params={"id": "individual.dev-01.1"},
            body=b"{}",
        )
        assert invoke(function, request).status_code == status


def test_the_functions_that_http_calls_are_found():
    """Else the test above would hold for an app that it does not see."""
    assert set(http_functions()) >= {"rollover", "rollovers"}


HEAVY = (
    "azure.core",
    "azure.data",
    "azure.eventgrid",
    "azure.identity",
    "azure.iot",
    "azure.keyvault",
    "azure.monitor",
    "azure.storage",
    "jwt",
    "msrest",
    "opentelemetry",
    "requests",
    "shared.clients.",
)


def test_importing_the_app_loads_no_sdk_of_a_service(indexed):
    """A cold start imports the app before the first message is read; and an SDK that cannot be imported would take
    every function of the app down."""
    assert "shared.services" in indexed["loaded"]
    assert [name for name in indexed["loaded"] if name.startswith(HEAVY)] == []

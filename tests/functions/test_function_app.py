"""The app as the Functions host sees it: names, triggers, and a cold start that loads no SDK of a service.

Queue names, routes and function names are contracts with messages in flight, callers and event subscriptions;
``function_app.json`` holds them. It is changed only on purpose.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from shared.rollover import Step

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


def test_no_function_is_open_to_the_world(indexed):
    levels = {
        binding["authLevel"]
        for function in indexed["functions"].values()
        for binding in function["bindings"]
        if binding["type"] == "httpTrigger"
    }
    assert levels <= {"FUNCTION", "ADMIN"}


HEAVY = (
    "azure.core",
    "azure.data",
    "azure.eventgrid",
    "azure.identity",
    "azure.iot",
    "azure.keyvault",
    "azure.storage",
    "msrest",
    "requests",
    "shared.clients.",
)


def test_importing_the_app_loads_no_sdk_of_a_service(indexed):
    """A cold start imports the app before the first message is read; and an SDK that cannot be imported would take
    every function of the app down."""
    assert "shared.services" in indexed["loaded"]
    assert [name for name in indexed["loaded"] if name.startswith(HEAVY)] == []

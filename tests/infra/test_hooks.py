"""The hooks, run with stand-ins for ``az`` and ``azd`` that note how they were called.

PowerShell is not there to run: of the other half it is only checked that it does the same with the same files.
"""

import json
import os
import re
import subprocess
from pathlib import Path

import pytest

from scripts.bicep import BicepFile
from tests.infra.rules import ROOT

HOOKS = ROOT / "infra" / "hooks"
AZ = """#!/bin/sh
printf '%s\\n' "$(basename "$0") $*" >> "$CALLS"
case "$*" in
    *"--method GET"*) echo "$ANSWER" ;;
    "resource show"*) [ "$(grep -c 'resource show' "$CALLS")" -gt "${LATE:-0}" ] ;;
esac
"""
OUTPUTS = {
    "ROLLOVER_FUNCTION_ID": "/sites/app/functions/on_certificate_event",
    "ROLLOVER_VAULT_GROUP": "rg-vault",
    "ROLLOVER_VAULT_TOPIC": "egst-vault",
    "ROLLOVER_DEAD_LETTER_ACCOUNT_ID": "/storageAccounts/strollx",
    "ROLLOVER_DEAD_LETTER_CONTAINER": "dead-letters",
}


def run(hook: str, folder: Path, **environment: str) -> tuple[int, list[str]]:
    """Exit code, and the calls that were made."""
    for name in ("az", "azd"):
        (folder / name).write_text(AZ)
        (folder / name).chmod(0o755)
    calls = folder / "calls"
    calls.touch()
    given = {"PATH": f"{folder}:{os.environ['PATH']}", "CALLS": str(calls), "ROLLOVER_HOOK_PAUSE": "0", **environment}
    ran = subprocess.run(["sh", HOOKS / hook], cwd=ROOT, env=given, capture_output=True, text=True, check=False)
    return ran.returncode, calls.read_text().splitlines()


def test_the_app_registration_is_made_and_its_client_id_kept(tmp_path):
    code, calls = run("preprovision.sh", tmp_path, AZURE_ENV_NAME="test", ANSWER="client-1")
    assert code == 0
    assert [re.findall(r"@(\S+)", call) for call in calls if "PATCH" in call] == [
        ["infra/entra/application.json"],
        ["infra/entra/callers.json"],
        ["infra/entra/service-principal.json"],
    ]
    assert calls[-1] == "azd env set ROLLOVER_API_CLIENT_ID client-1"


@pytest.mark.parametrize("said", [{"ROLLOVER_API_CLIENT_ID": "mine"}, {"ROLLOVER_WITHOUT_API": "true"}])
def test_no_app_registration_is_made_for_who_has_one_or_wants_none(tmp_path, said):
    assert run("preprovision.sh", tmp_path, AZURE_ENV_NAME="test", ANSWER="x", **said) == (0, [])


def test_an_app_registration_that_cannot_be_read_stops_the_deployment(tmp_path):
    code, calls = run("preprovision.sh", tmp_path, AZURE_ENV_NAME="test", ANSWER="")
    assert code == 1
    assert not any(call.startswith("azd") for call in calls)


def test_the_subscription_waits_for_the_function(tmp_path):
    code, calls = run("postdeploy.sh", tmp_path, LATE="3", **OUTPUTS)
    assert code == 0
    assert [call.split()[1] for call in calls] == ["resource"] * 4 + ["deployment"]


def test_a_function_that_never_comes_is_an_error(tmp_path):
    code, calls = run("postdeploy.sh", tmp_path, LATE="99", **OUTPUTS)
    assert code == 1
    assert not any("deployment" in call for call in calls)


@pytest.mark.parametrize("hook", ["postdeploy.sh", "postdeploy.ps1"])
def test_the_subscription_gets_its_parameters_from_the_templates_outputs(hook):
    text = (HOOKS / hook).read_text()
    given = dict(re.findall(r'"(\w+)=\$(?:env:)?(\w+)"', text))
    assert set(given) == set(BicepFile(ROOT / "infra/after-deploy/subscription.bicep").parameters)
    outputs = BicepFile(ROOT / "infra" / "main.bicep").outputs
    assert set(re.findall(r"\b(ROLLOVER_(?!HOOK)\w+)", text)) <= set(outputs)


@pytest.mark.parametrize("hook", ["preprovision", "postdeploy"])
def test_both_shells_use_the_same_files_and_variables(hook):
    posix, windows = ((HOOKS / f"{hook}{ending}").read_text() for ending in (".sh", ".ps1"))
    for pattern in (r"infra/[\w./-]+\.(?:json|bicep)", r"(?:AZURE|ROLLOVER)_(?!HOOK)\w+", r"--[a-z-]+-(?:group|file)"):
        assert set(re.findall(pattern, posix)) == set(re.findall(pattern, windows))


def test_azd_runs_hooks_that_exist_and_deploys_what_the_template_tags():
    text = (ROOT / "azure.yaml").read_text()
    for path in re.findall(r"run: \./(\S+)", text):
        assert (ROOT / path).exists()
        assert path.endswith(".ps1") or os.access(ROOT / path, os.X_OK)
    [service] = re.findall(r"^services:\n  (\w+):", text, re.MULTILINE)
    assert f"'azd-service-name': '{service}'" in (ROOT / "infra/modules/app.bicep").read_text()
    assert json.loads((ROOT / "infra/entra/service-principal.json").read_text()) == {"appRoleAssignmentRequired": True}

"""The check against Azure's models notices what it is there for. Runs where ``make check-infra`` has installed them."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.infra.rules import ROOT

PYTHON = ROOT / ".venv-infra" / "bin" / "python"
CHECK = """
import pathlib, sys
from scripts.check_infra import check_folder
print("\\n".join(check_folder(pathlib.Path(sys.argv[1])).wrong))
"""

BREAKS = {
    "a misspelt property": (
        "modules/ledger.bicep",
        "allowSharedKeyAccess:",
        "allowSharedKeyAcces:",
        "unknown property",
    ),
    "a misspelt property deep inside": (
        "modules/app.bicep",
        "instanceMemoryMB:",
        "instanceMemoryMb:",
        "unknown property",
    ),
    "a misspelt property of a kind": (
        "after-deploy/subscription.bicep",
        "maxEventsPerBatch",
        "maxEventPerBatch",
        "unknown",
    ),
    "a misspelt property in a loop": ("modules/alerts.bicep", "skipQueryValidation", "skipQueryValidatoin", "unknown"),
    "a text where a truth value belongs": ("modules/app.bicep", "httpsOnly: true", "httpsOnly: 'yes'", "must be bool"),
    "a number where a text belongs": ("modules/app.bicep", "version: '3.13'", "version: 313", "must be str"),
    "a value that is none of them": ("modules/ledger.bicep", "'TLS1_2'", "'TLS12'", "must be one of"),
    "an object where a list belongs": (
        "modules/hub.bicep",
        "logs: [\n      {",
        "logs: {\n      x: {",
        "must be a list",
    ),
    "a property that only Azure sets": (
        "modules/identities.bicep",
        "tags: tags\n",
        "tags: tags\n  properties: { clientId: 'x' }\n",
        "cannot be set",
    ),
    "a property missing": ("modules/demo.bicep", "    tenantId: tenant().tenantId\n", "", "tenantId is required"),
    "another API version": ("modules/topic.bicep", "topics@2025-02-15", "topics@2021-12-01", "API version"),
    "a type that nobody knows": ("modules/topic.bicep", "EventGrid/topics@", "EventGrid/topic@", "no model"),
}


@pytest.mark.skipif(not PYTHON.exists(), reason="make check-infra installs Azure's models")
@pytest.mark.parametrize(("file", "there", "instead", "said"), BREAKS.values(), ids=BREAKS)
def test_the_check_notices(file: str, there: str, instead: str, said: str, tmp_path: Path) -> None:
    copy = tmp_path / "infra"
    shutil.copytree(ROOT / "infra", copy)
    text = (copy / file).read_text()
    assert there in text
    changed = text.replace(there, instead, 1)
    (copy / file).write_text(changed.replace("    ]\n", "    }\n", 1) if "logs: {" in instead else changed)
    ran = subprocess.run([PYTHON, "-c", CHECK, copy], cwd=ROOT, capture_output=True, text=True, check=False)
    assert said in ran.stdout, ran.stderr


@pytest.mark.skipif(not PYTHON.exists(), reason="make check-infra installs Azure's models")
@pytest.mark.parametrize(("instead", "wrong"), [("eventDeliverySchema", False), ("eventDeliverySchem", True)])
def test_the_bicep_of_the_documents_keeps_to_the_models(instead: str, wrong: bool, tmp_path: Path) -> None:
    """Whoever copies it should not be the first to try it."""
    blocks = re.findall(r"```bicep\n(.*?)```", (ROOT / "docs" / "notifications.md").read_text(), re.DOTALL)
    for number, block in enumerate(blocks):
        (tmp_path / f"{number}.bicep").write_text(block.replace("eventDeliverySchema", instead))
    ran = subprocess.run([PYTHON, "-c", CHECK, tmp_path], cwd=ROOT, capture_output=True, text=True, check=False)
    assert blocks
    assert bool(ran.stdout.strip()) == wrong, ran.stdout + ran.stderr


def test_a_file_that_is_no_bicep_is_named(tmp_path: Path) -> None:
    from scripts.bicep import NotBicep, read_folder

    (tmp_path / "broken.bicep").write_text(
        "resource x 'Microsoft.Storage/storageAccounts@2026-09-01' = {\n  name: \n}\n"
    )
    with pytest.raises(NotBicep, match=r"broken\.bicep:\d+:\d+"):
        read_folder(tmp_path)

"""What the documents promise exists."""

import dataclasses
import json
import re
from pathlib import Path

import pytest

from local.azure.knobs import Knobs
from shared.settings import read_settings

ROOT = Path(__file__).resolve().parents[2]
DIFFERENCES = (ROOT / "docs" / "differences.md").read_text()


@pytest.mark.parametrize("knob", [field.name for field in dataclasses.fields(Knobs)])
def test_every_knob_of_the_stand_in_is_explained(knob: str) -> None:
    """An assumption that nobody can find is a trap."""
    assert f"`{knob}`" in DIFFERENCES


@pytest.mark.parametrize("name", sorted(set(re.findall(r"`(test_\w+\.py)`", DIFFERENCES))))
def test_every_test_that_is_named_exists(name: str) -> None:
    """The page names the test that would notice."""
    assert list(ROOT.glob(f"tests/**/{name}"))


@pytest.mark.parametrize("page", sorted(ROOT.glob("*.md")) + sorted(ROOT.glob("docs/**/*.md")), ids=lambda p: p.name)
def test_every_link_within_the_documents_leads_somewhere(page: Path) -> None:
    """No dead links between our own pages."""
    for target in re.findall(r"\]\(([^)#]+)", page.read_text()):
        if not target.startswith("http"):
            assert (page.parent / target).exists(), target


def test_the_example_settings_are_what_the_code_reads() -> None:
    """Every setting with a harmless value, and none that nobody reads."""
    values = json.loads((ROOT / "local.settings.example.json").read_text())["Values"]
    read_settings(values)
    code = (ROOT / "shared" / "settings.py").read_text()
    platform = {"FUNCTIONS_WORKER_RUNTIME", "AzureWebJobsStorage", "RolloverStorage", "HUB_LOGS_EVENT_HUB"}
    platform |= {"HubLogs__fullyQualifiedNamespace", "AzureWebJobs.on_connection_failure.Disabled"}
    assert not [name for name in values if name not in platform and f'"{name}"' not in code]
    assert not [name for name in set(re.findall(r'"([A-Z][A-Z_]+[A-Z])"', code)) if name not in values]


def _walked() -> list[tuple[str, str]]:
    """File and function of every ``file`` → `function`, `function` of the walkthrough."""
    page = (ROOT / "docs" / "walkthrough.md").read_text()
    found = re.findall(r"`([a-z]+/\w+\.py)` → ((?:`\w+`(?:, )?)+)", page)
    return [(file, name) for file, names in found for name in re.findall(r"`(\w+)`", names)]


def test_the_walkthrough_names_what_there_is() -> None:
    """Who reads one event through the code must find each function where the page says."""
    walked = _walked()
    assert len(walked) > 30
    for file, name in walked:
        assert re.search(rf"^\s*def {name}\(", (ROOT / file).read_text(), re.MULTILINE), f"{file}: {name}"

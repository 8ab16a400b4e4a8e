"""Aims the contract tests: fixture `target`. Each test has it, or says by its marker why it stays with the stand-in."""

import os
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.contract.aim import WHAT_TO_SET, Aim, BadAim, read_aim
from tests.contract.cleaning import OLD, sweep
from tests.contract.dps_kit import Credential, self_signed
from tests.contract.meter import LIVE_PACE, Meter
from tests.contract.probe.probing import PLAN
from tests.contract.target import RUN, Target, at, real

HERE = Path(__file__).parent
AIM = pytest.StashKey[Aim | None]()
METER = pytest.StashKey[Meter]()
STAYING = pytest.StashKey[Counter[str]]()
REPORTS = pytest.StashKey[list[str]]()
REQUESTS_EACH = 6  # counted on the stand-in, with cleaning
PROBE = "test_the_probe"
ONLY_ON_THE_STANDIN = {"azure", "standin", "azurite"}


def pytest_configure(config: pytest.Config) -> None:
    """Real services are only ever met with `--aim`: `make test` stays at home, whatever the environment says."""
    try:
        config.stash[AIM] = read_aim(os.environ) if config.getoption("--aim") else None
    except BadAim as error:
        raise pytest.UsageError(f"Not aimed: {error}") from None


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """With `--aim`, only what can be aimed. A test that neither is nor says why is a mistake."""
    ours = [item for item in items if HERE in item.path.parents]
    if unclear := [item.nodeid for item in ours if not _can_be_aimed(item) and _reason(item) is None]:
        listed = "\n".join(unclear)
        raise pytest.UsageError(f"these lack fixture `target`, and a marker of reasons.py that says why:\n{listed}")
    if not config.getoption("--aim"):
        return
    staying = [item for item in ours if _reason(item) is not None]
    config.hook.pytest_deselected(items=staying)
    items[:] = [item for item in items if item not in staying]
    config.stash[STAYING] = Counter(str(_reason(item)) for item in staying)


def pytest_collection_finish(session: pytest.Session) -> None:
    """With `--aim`: what is about to happen, before it does."""
    if STAYING in session.config.stash:
        _announce(session.config, session.items)


def _can_be_aimed(item: pytest.Item) -> bool:
    names = set(getattr(item, "fixturenames", ()))
    return "target" in names and not names & ONLY_ON_THE_STANDIN


def _reason(item: pytest.Item) -> str | None:
    marker = item.get_closest_marker("standin_only")
    return str(marker.args[0]) if marker else None


def _announce(config: pytest.Config, items: list[pytest.Item]) -> None:
    say = _sayer(config)
    aim, staying = config.stash[AIM], config.stash[STAYING]
    say("")
    say(f"{len(items)} contract tests are aimed, {staying.total()} stay with the stand-in:")
    for reason, number in staying.most_common():
        say(f"  {number:4} {reason}")
    if aim is None:
        say(f"Aimed at the stand-in. {WHAT_TO_SET}")
        return
    say(f"Aimed at {', '.join(aim.resources)}, devices at {aim.device_host}.")
    say(f"They will create, and delete after each test, things named {aim.prefix}-{RUN}-*: at most a few at a time")
    say("of enrollments, enrollment groups and device identities, with certificates made here; and, if a vault is")
    say("named, self-signed certificates, purged where that is allowed. Existing things are not touched.")
    say(f"That is some {REQUESTS_EACH * len(items)} requests.")
    if any(item.name == PROBE for item in items):
        say(f"The probe makes {PLAN}.")


def _sayer(config: pytest.Config) -> Callable[[str], None]:
    """Prints a line at once, also while a test's output is captured."""
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    capture = config.pluginmanager.get_plugin("capturemanager")

    def say(line: str) -> None:
        with capture.global_and_fixture_disabled():
            reporter.write_line(line)

    return say


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """What was found, and what it cost."""
    for one in config.stash.get(REPORTS, []):
        terminalreporter.write_line("")
        terminalreporter.write_line(one)
    if METER in config.stash:
        terminalreporter.write_line(f"Asked of the services: {config.stash[METER].in_words()}.")


@pytest.fixture(scope="session", autouse=True)
def _meter(request: pytest.FixtureRequest) -> Iterator[None]:
    """With `--aim`: counts, keeps below the hub's quota, and first removes what a broken run left a day ago."""
    config = request.config
    if not config.getoption("--aim"):
        yield
        return
    aim = config.stash[AIM]
    meter = config.stash[METER] = Meter(LIVE_PACE if aim else None)
    with meter.running():
        if aim is not None:
            say = _sayer(config)
            for line in sweep(real(aim), OLD, say):
                say(f"still there: {line}")
        yield


@pytest.fixture
def target(request: pytest.FixtureRequest) -> Iterator[Target]:
    """What the test talks to: real services if the environment names them, else the stand-in."""
    aim = request.config.stash[AIM]
    if aim is None:
        yield at(request.getfixturevalue("azure"))
    else:
        yield from real_target(aim)


def real_target(aim: Aim) -> Iterator[Target]:
    """Real services for one test, and nothing left of it there."""
    aimed = real(aim)
    yield aimed
    left = aimed.created.remove(aimed)
    assert not left, f"could not be removed: {left}"


@pytest.fixture
def report(request: pytest.FixtureRequest) -> Callable[[str], None] | None:
    """With `--aim`: shows a text at the end of the run."""
    return request.config.stash.setdefault(REPORTS, []).append if request.config.getoption("--aim") else None


@pytest.fixture
def dev1(target: Target) -> str:
    """A registration ID of this test."""
    return target.registration_id("dev1")


@pytest.fixture
def dev2(target: Target) -> str:
    """Another one."""
    return target.registration_id("dev2")


@pytest.fixture
def one(dev1: str) -> Credential:
    """A self-signed certificate of `dev1`."""
    return self_signed(dev1)


@pytest.fixture
def two(dev1: str) -> Credential:
    """Another one."""
    return self_signed(dev1)


@pytest.fixture
def three(dev1: str) -> Credential:
    """A third one."""
    return self_signed(dev1)


@pytest.fixture
def device_id(target: Target) -> str:
    """The ID of a device identity of this test."""
    return target.device_id()

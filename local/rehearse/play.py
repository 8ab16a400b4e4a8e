"""One rehearsal from the start of everything to its report."""

import logging
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from azure.core.exceptions import AzureError
from msrest.exceptions import ClientException
from requests import RequestException

from local.rehearse.fleet import Fleet
from local.rehearse.journal import DeviceFacts
from local.rehearse.moving import MovedClock
from local.rehearse.oncall import OnCall
from local.rehearse.operator import Operator
from local.rehearse.report import Played, make_report
from local.rehearse.running import Running
from local.rehearse.scenario import Phase, Scenario, ScenarioFailed, Stage
from local.rehearse.screen import Screen

LOG, DEVICES_LOG = "up.log", "devices.log"
# What a service that misbehaves makes the SDK clients raise: the rehearsal has failed, and its report says so.
FAILURES = (ScenarioFailed, AzureError, ClientException, RequestException, TimeoutError)


def play(
    scenario: Scenario, net: str, folder: Path, make_screen: Callable[[Mapping[str, str]], Screen]
) -> dict[str, Any]:
    """Play it on fresh parts on `net`; logs go into `folder`. Gives the report.

    Raises:
        StartFailed: what stands in for Azure did not start.
    """
    began = time.time()
    fleet = scenario.members()
    fed_by = {one.registration_id: one.fed_by for one in fleet}
    with ExitStack() as stack, _devices_log(folder / DEVICES_LOG):
        running = Running(net, folder / LOG)
        stack.callback(running.stop)
        running.start()
        screen = make_screen(fed_by)
        stack.callback(screen.stop)
        document = running.document()
        os.environ.update(document["environment"])
        clock = MovedClock(document["control"]["url"])
        operator = Operator(document, clock)
        kept = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="rollover-fleet-")))
        devices = Fleet(fleet, document, kept, clock, operator, screen)
        stage = Stage(document, operator, OnCall(document), devices, clock, screen, running.died)
        stage.found.phases.append(Phase("start", began, time.time(), clock.now()))
        stack.callback(devices.stop)
        try:
            scenario.run(stage)
        except FAILURES as error:
            stage.found.problems.append(running.died() or _in_one_line(error))
        ended = time.time()
        facts = _facts(stage)
        played = Played(scenario.name, scenario.title, scenario.proves, scenario.rollovers, began, ended)
        seen = (stage.theft_facts(), stage.group_facts(), stage.mishap_facts())
        return make_report(played, fed_by, facts, stage.found, *seen)


def _in_one_line(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return text if isinstance(error, ScenarioFailed) else f"{type(error).__name__}: {text}"


def _facts(stage: Stage) -> list[DeviceFacts]:
    try:
        stage.read_journal()
    except RequestException:
        stage.found.problems.append("the stand-in's journal could not be read at the end: its last entries are missing")
    return stage.facts()


@contextmanager
def _devices_log(file: Path) -> Iterator[None]:
    """What agents and SDKs log goes into a file: the terminal is for the person."""
    handler = logging.FileHandler(file, mode="w")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    root = logging.getLogger()
    root.addHandler(handler)
    logging.getLogger("device").setLevel(logging.INFO)
    try:
        yield
    finally:
        root.removeHandler(handler)
        handler.close()

"""`python -m local up`: one document on stdout, a clean end, and one clear line when it cannot start."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.conftest import test_net
from tests.contract.reasons import OURS

pytestmark = OURS

REPOSITORY = Path(__file__).resolve().parents[2]


def own_net() -> str:
    """Beside the net of the session's stand-in, which may be running."""
    first, second, third = test_net().split(".")
    return f"{first}.{second}.{(int(third) + 100) % 250}"


@contextmanager
def up(*options: str) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "local", "up", "--net", own_net(), *options]
    process = subprocess.Popen(
        command, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def listening(host: str, port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((host, port)) == 0


def document(process: subprocess.Popen[str]) -> Any:
    assert process.stdout is not None
    return json.loads(process.stdout.readline())


@pytest.mark.parametrize("request_to_end", [signal.SIGINT, signal.SIGTERM])
def test_it_prints_one_document_and_ends_cleanly(tmp_path: Path, request_to_end: signal.Signals) -> None:
    with up("--only", "azure", "--state", str(tmp_path)) as process:
        found = document(process)
        assert set(found) >= {"dps", "iothub", "keyvault", "arm", "eventgrid", "control", "ca_file", "environment"}
        assert requests.get(found["arm"]["url"], verify=found["ca_file"], timeout=5).status_code == 501
        process.send_signal(request_to_end)
        rest, _ = process.communicate(timeout=10)
        assert (process.returncode, rest) == (0, "")
        assert not listening(f"{own_net()}.1", 8090)


def test_the_clock_file_follows_the_clock(tmp_path: Path) -> None:
    """The Functions host reads it: an offset in seconds."""
    with up("--only", "azure", "--state", str(tmp_path)) as process:
        control = document(process)["control"]["url"]
        assert (tmp_path / "clock").read_text() == "0.0"
        requests.put(f"{control}/clock", json={"advance_s": 86400}, timeout=5)
        assert (tmp_path / "clock").read_text() == "86400.0"


def test_a_taken_port_is_named_in_one_line(tmp_path: Path) -> None:
    with socket.create_server((f"{own_net()}.4", 8443)), up("--only", "azure") as process:
        _, errors = process.communicate(timeout=20)
    assert process.returncode == 1
    assert errors.splitlines()[-1].startswith(f"local up: cannot listen on {own_net()}.4:8443: ")
    assert "Traceback" not in errors


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's help on a parent's death is Linux's")
def test_azurite_dies_with_its_parent() -> None:
    """kill -9 leaves no time for goodbyes."""
    program = (
        "import asyncio, os\n"
        "from local.azurite import start_azurite\n"
        f"child = asyncio.run(start_azurite('{own_net()}.1'))\n"
        "print(child.process.pid, flush=True)\n"
        "os.kill(os.getpid(), 9)\n"
    )
    found = subprocess.run([sys.executable, "-c", program], cwd=REPOSITORY, capture_output=True, text=True, timeout=60)
    pid = int(found.stdout)
    deadline = time.monotonic() + 5
    while _alive(pid):
        assert time.monotonic() < deadline, "Azurite outlived its parent"
        time.sleep(0.05)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    # A container without an init process keeps the dead as zombies.
    return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"

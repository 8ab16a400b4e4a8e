"""A stand-in with host and storage for one benchmark, quotas lifted and delays short."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import requests

from local.children import tied

REPOSITORY = Path(__file__).resolve().parents[1]
UNLIMITED = {"amount": 1_000_000, "per_s": 1}
KNOBS = {"certificate_create_s": 0.05, "assign_delay_s": 0.05, "job_start_delay_s": 0.05}


@contextmanager
def running(settings: Mapping[str, str], net: str = "127.0.30") -> Iterator[tuple[dict[str, Any], Path]]:
    """The document of endpoints and a folder; everything ends with the block."""
    command = tied([sys.executable, "-m", "local", "up", "--net", net])
    environment = {**os.environ, **settings}
    with tempfile.TemporaryDirectory() as folder, (Path(folder) / "up.log").open("wb") as log:
        up = subprocess.Popen(command, cwd=REPOSITORY, env=environment, stdout=subprocess.PIPE, stderr=log)
        try:
            document = json.loads((up.stdout.readline() if up.stdout else b"") or b"null")
            if document is None:
                raise RuntimeError((Path(folder) / "up.log").read_text())
            os.environ.update(document["environment"])
            _prepare(document["control"]["url"])
            yield document, Path(folder)
        finally:
            up.terminate()
            up.wait(30)


def _prepare(control: str) -> None:
    limits = dict.fromkeys(requests.get(f"{control}/throttles", timeout=10).json()["limits"], UNLIMITED)
    requests.patch(f"{control}/throttles", json={"limits": limits}, timeout=10).raise_for_status()
    requests.patch(f"{control}/knobs", json=KNOBS, timeout=10).raise_for_status()
    # The product begins when it is called, not by the events of the certificates that are made here.
    requests.post(f"{control}/events/drop", json={"drop": True}, timeout=10).raise_for_status()

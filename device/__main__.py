"""``python -m device --config file.json``: run one device until SIGINT or SIGTERM."""

from __future__ import annotations

import argparse
import json
import logging
import signal
import sys
import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from device.agent import DeviceAgent
from device.config import read_config
from device.store import CertificateStore


def main() -> int:
    """Run the agent; one JSON line on standard output per event. Exit status 2: the configuration is wrong."""
    parser = argparse.ArgumentParser(prog="python -m device", description="The reference device agent.")
    parser.add_argument("--config", type=Path, required=True, help="JSON file; see device/README.md")
    arguments = parser.parse_args()
    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s %(message)s")
    logging.getLogger("device").setLevel(logging.INFO)
    try:
        config, store, source = read_config(arguments.config)
    except (OSError, ValueError) as error:
        sys.stderr.write(f"{error}\n")
        return 2

    def observe(event: str, fields: dict[str, Any]) -> None:
        line = {"at": datetime.now(UTC).isoformat(), "device": config.registration_id, "event": event, **fields}
        sys.stdout.write(json.dumps(line) + "\n")
        sys.stdout.flush()

    ended = threading.Event()
    for wanted in (signal.SIGINT, signal.SIGTERM):
        signal.signal(wanted, lambda *_: ended.set())
    agent = DeviceAgent(config, CertificateStore(store), source, observe)
    agent.start()
    ended.wait()
    agent.stop()
    return 0


sys.exit(main())

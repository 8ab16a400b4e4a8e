"""How long it takes to import the app, beside the SDKs that it will use."""

import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
APP = "import function_app"
SDKS = (
    "import azure.functions, azure.data.tables, azure.eventgrid, azure.identity, azure.iot.deviceprovisioning,"
    " azure.iot.hub, azure.keyvault.certificates, azure.storage.queue, cryptography.x509"
)
RUNS = 7


@dataclass(frozen=True)
class Imports:
    """Median seconds."""

    app_s: float
    sdks_s: float


def measure_imports() -> Imports:
    """Time fresh processes, in turns, so that a busy moment hits both alike."""
    bare: list[float] = []
    app: list[float] = []
    sdks: list[float] = []
    for _ in range(RUNS):
        bare.append(_run("pass"))
        app.append(_run(APP))
        sdks.append(_run(SDKS))
    start = statistics.median(bare)
    return Imports(statistics.median(app) - start, statistics.median(sdks) - start)


def _run(code: str) -> float:
    begun = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, check=True)
    return time.perf_counter() - begun

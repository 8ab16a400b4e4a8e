"""What light devices share: one event loop in a thread of its own, the authorities they trust, where they come from."""

import asyncio
import ssl
import threading
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

WORKERS = 4


class Network:
    """Up from the start until `close`. `address` is the local one that all connections come from; None: any."""

    def __init__(self, ca_pem: str, address: str | None = None) -> None:
        self._ca_pem = ca_pem
        self.address = address
        self.workers = ThreadPoolExecutor(WORKERS, thread_name_prefix="light")
        """For what a device does at a message and may take its time, so that the loop goes on."""
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="light", daemon=True)
        self._thread.start()

    def run[T](self, work: Coroutine[Any, Any, T]) -> T:
        """Do it in the loop, from any other thread; gives its result or raises what it raised."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    def tls(self, credential_file: Path) -> ssl.SSLContext:
        """A client's context with this key and chain. TLS 1.2, as azure-iot-device: DPS speaks no other."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_2
        context.load_verify_locations(cadata=self._ca_pem)
        context.load_cert_chain(credential_file)
        return context

    def close(self) -> None:
        """End every connection and the thread."""
        self.run(self._drop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()
        self.workers.shutdown(wait=False, cancel_futures=True)

    async def _drop(self) -> None:
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

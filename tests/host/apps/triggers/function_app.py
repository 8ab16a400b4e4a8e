"""One function for each kind of trigger. What they see goes to the file SEEN, one JSON line for each invocation."""

import asyncio
import json
import logging
import os
import sys
import threading
import time
from datetime import UTC, datetime
from typing import List

import azure.functions as func

app = func.FunctionApp(http_auth_level=func.AuthLevel.FUNCTION)
lock = threading.Lock()


def saw(what, **more):
    with lock, open(os.environ["SEEN"], "a") as file:
        file.write(json.dumps({"what": what, "at": time.monotonic(), **more}) + "\n")


@app.route(route="open", auth_level=func.AuthLevel.ANONYMOUS)
def open_to_all(req: func.HttpRequest) -> func.HttpResponse:
    return func.HttpResponse(datetime.now(UTC).isoformat())


@app.route(route="guarded")
async def guarded(req: func.HttpRequest) -> str:
    return "in"


@app.route(route="guarded/admin", auth_level=func.AuthLevel.ADMIN)
def admin_only(req: func.HttpRequest) -> str:
    return "in"


@app.route(route="echo/{name}/{*rest}", methods=["POST"])
def echo(req: func.HttpRequest) -> func.HttpResponse:
    seen = {"route": dict(req.route_params), "query": dict(req.params), "body": req.get_body().decode()}
    headers = {"x-seen": req.headers.get("x-given", "")}
    return func.HttpResponse(json.dumps(seen), status_code=201, mimetype="application/json", headers=headers)


@app.route(route="echo/{name}/fixed", methods=["POST"])
def fixed(req: func.HttpRequest) -> str:
    return "fixed"


@app.route(route="beside")
def beside(req: func.HttpRequest) -> str:
    with open("host.json") as file:
        return file.read()


@app.route(route="fails")
def fails(req: func.HttpRequest) -> str:
    raise ValueError("on purpose")


@app.route(route="leaves")
def leaves(req: func.HttpRequest) -> str:
    sys.exit("on purpose")


@app.route(route="speaks")
async def speaks(req: func.HttpRequest) -> str:
    logging.getLogger("rollover").info("before %s", req.params["who"])
    await asyncio.sleep(0.1)
    logging.getLogger("rollover").info("after %s", req.params["who"])
    return "spoken"


@app.event_grid_trigger(arg_name="event")
def on_event(event) -> None:
    kind = type(event).__name__
    name = event.type if isinstance(event, func.CloudEvent) else event.event_type
    data = event.get_json()
    saw("event", kind=kind, type=name, data=data)
    if data.get("fail"):
        raise RuntimeError("asked to fail")


@app.queue_trigger(arg_name="message", queue_name="%WORK_QUEUE%", connection="SampleStorage")
def on_work(message: func.QueueMessage) -> None:
    body = json.loads(message.get_body() or "{}")
    saw("work", id=body.get("id"), count=message.dequeue_count)
    time.sleep(body.get("seconds", 0))
    saw("worked", id=body.get("id"))
    if body.get("fail", 0) >= message.dequeue_count:
        raise RuntimeError("asked to fail")


@app.timer_trigger(arg_name="timer", schedule="%SWEEP%")
def sweep(timer: func.TimerRequest) -> None:
    saw("sweep", past_due=timer.past_due, now=datetime.now(UTC).isoformat())
    time.sleep(float(os.environ.get("SWEEP_SECONDS", 0)))


@app.timer_trigger(arg_name="timer", schedule="0 0 0 1 1 *", run_on_startup=True)
@app.retry(strategy="fixed_delay", max_retry_count="1", delay_interval="00:00:00")
def at_start(timer: func.TimerRequest, context: func.Context) -> None:
    saw("start", attempt=context.retry_context.retry_count)
    if context.retry_context.retry_count == 0:
        raise RuntimeError("the first try fails")


@app.event_hub_message_trigger(arg_name="events", event_hub_name="logs", connection="NoHub", cardinality="many")
@app.retry(strategy="exponential_backoff", max_retry_count="2", minimum_interval="00:00:00", maximum_interval="00:00:01")
def on_batch(events: List[func.EventHubEvent], context: func.Context) -> None:
    bodies = [json.loads(event.get_body()) for event in events]
    saw("batch", bodies=bodies, attempt=context.retry_context.retry_count)
    if any(body.get("fail") for body in bodies):
        raise RuntimeError("asked to fail")


@app.event_hub_message_trigger(arg_name="event", event_hub_name="%ONE_HUB%", connection="NoHub", cardinality="one")
def on_one(event: func.EventHubEvent) -> None:
    body = json.loads(event.get_body())
    saw("one", body=body)
    if body.get("fail"):
        raise RuntimeError("asked to fail")

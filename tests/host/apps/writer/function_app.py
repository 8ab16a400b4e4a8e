"""Writes to the server at TARGET, the way the SDKs do: through requests."""

import atexit
import json
import os
import time

import azure.functions as func
import requests
from azure.core import PipelineClient
from azure.core.exceptions import AzureError
from azure.core.rest import HttpRequest

app = func.FunctionApp(http_auth_level=func.AuthLevel.ANONYMOUS)


@app.route(route="write")
def write(req: func.HttpRequest) -> str:
    """Calls the methods of ?calls=PUT,GET,... in turn; answers with what came of each."""
    results = []
    for number, call in enumerate(req.params["calls"].split(","), 1):
        method, _, path = call.partition(":")
        try:
            answer = requests.request(method, f"{os.environ['TARGET']}/{path or number}?secret=1", timeout=5)
            results.append(answer.status_code)
        except requests.ConnectionError as error:
            results.append(type(error).__name__)
    return json.dumps(results)


@app.route(route="through-the-sdk")
def through_the_sdk(req: func.HttpRequest) -> str:
    try:
        PipelineClient(os.environ["TARGET"]).send_request(HttpRequest("POST", f"{os.environ['TARGET']}/sdk"))
    except AzureError as error:
        return type(error).__name__
    return "answered"


@app.route(route="slow")
def slow(req: func.HttpRequest) -> str:
    # Stands for native parts that complain when the interpreter is torn down around them, as uamqp does.
    atexit.register(print, "torn down")
    time.sleep(float(req.params["seconds"]))
    return "done"


@app.queue_trigger(arg_name="message", queue_name="%QUEUE%", connection="SampleStorage")
def kills(message: func.QueueMessage) -> None:
    answer = requests.put(f"{os.environ['TARGET']}/{message.get_body().decode()}", timeout=5)
    answer.raise_for_status()

"""How do programs talk to a scheduler? `Client`: HTTP, typed by the models of the API.

from zquant_flow.client import Client

with Client.find() as client:
    execution = client.wait_for_execution(client.trigger_task("nightly").execution_id)
"""

from zquant_flow.client.calls import Client, Task
from zquant_flow.client.connection import ApiError, NoServer, Unreachable
from zquant_flow.client.streams import Event, LogEvent

__all__ = ["ApiError", "Client", "Event", "LogEvent", "NoServer", "Task", "Unreachable"]

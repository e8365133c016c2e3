"""What does a command say of an execution that it has made?"""

from __future__ import annotations

import sys

from zquant_flow.api.models import TriggeredOut
from zquant_flow.cli.following import see_through
from zquant_flow.cli.language import t
from zquant_flow.cli.tables import print_ids, print_json
from zquant_flow.client import Client


def started(
    client: Client,
    answer: TriggeredOut,
    name: str,
    *,
    wait: bool,
    with_log: bool,
    as_json: bool,
    quiet: bool,
) -> int:
    """Say its id; with `wait` see it through. 0, or 1 where it ended otherwise than as a success."""
    if wait and not quiet:
        return see_through(client, answer.execution_id, name, as_json=as_json, with_log=with_log)
    if quiet:
        print_ids([answer.execution_id])
    elif as_json:
        print_json(answer)
    else:
        sys.stdout.write(
            t(
                "execution {id} of {name} has begun; `zquant-flow executions logs {id} -f` follows it",
                id=answer.execution_id,
                name=name,
            )
            + "\n"
        )
    if not wait:
        return 0
    return 0 if client.wait_for_execution(answer.execution_id).status == "success" else 1

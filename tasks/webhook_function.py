"""The same for a function: what the request says of a branch is its argument."""

from zquant_flow import current, task


@task(webhook={"name": "pushed", "params": {"branch": "{{ event.body.ref }}"}})
def on_push(branch: str = "main") -> dict[str, str]:
    return {"branch": branch.removeprefix("refs/heads/"), "started_by": current().event["kind"]}

"""Which tasks could be meant? For the shell's completion: from the live server, quickly, or not at all."""

from __future__ import annotations

TIMEOUT_SECONDS = 0.3


def task_names(incomplete: str) -> list[str]:
    """Names of tasks that begin so. Never raises: there is nobody to read it."""
    try:
        from zquant_flow.client import Client

        with Client.find(timeout=TIMEOUT_SECONDS) as client:
            page = client.list_tasks(q=incomplete or None, limit=100)
    except Exception:
        return []
    return [task.name for task in page.tasks if task.name.startswith(incomplete)]

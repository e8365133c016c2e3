"""What can be asked about webhooks?"""

from __future__ import annotations

from zquant_flow.api.models import HookOut
from zquant_flow.client.waiting import Waiting


class HookCalls(Waiting):
    """Webhooks of tasks."""

    def get_hook(self, task_id: int) -> HookOut:
        """The address of a task's webhook, and its secret. Raises ApiError `hook_not_found`."""
        return self._ask(HookOut, "GET", f"/tasks/{task_id}/hook")

    def rotate_hook(self, task_id: int) -> HookOut:
        """Give it another secret; the one before is refused from now on. Raises ApiError `hook_not_found`."""
        return self._ask(HookOut, "POST", f"/tasks/{task_id}/hook/rotate")

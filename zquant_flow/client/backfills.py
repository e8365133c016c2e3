"""What can be asked about backfills?"""

from __future__ import annotations

from zquant_flow.api.models import BackfillPage, BackfillStateOut, CancelledOut
from zquant_flow.client.waiting import Waiting


class BackfillCalls(Waiting):
    """Backfills; `backfill_task` begins one."""

    def list_backfills(self, task_id: int | None = None, *, limit: int = 100) -> BackfillPage:
        """The newest backfills, of one task or of all, and how far each is."""
        return self._ask(BackfillPage, "GET", "/backfills", query={"task_id": task_id, "limit": limit})

    def get_backfill(self, backfill_id: int) -> BackfillStateOut:
        """One backfill, and how far it is. Raises ApiError `backfill_not_found`."""
        return self._ask(BackfillStateOut, "GET", f"/backfills/{backfill_id}")

    def cancel_backfill(self, backfill_id: int, *, terminate: bool = False) -> CancelledOut:
        """Begin nothing more of it; with `terminate` end what runs too. Raises ApiError `wrong_state` where it has ended."""
        query = {"terminate": terminate or None}
        return self._ask(CancelledOut, "POST", f"/backfills/{backfill_id}/cancel", query=query)

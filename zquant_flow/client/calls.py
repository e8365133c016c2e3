"""What can be asked of a scheduler? One method for each operation of the API, named as there (docs/rest.md)."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import quote

import httpx
from pydantic import Field

from zquant_flow.api.models import (
    BackfillIn,
    BackfillOut,
    BulkAction,
    BulkIn,
    BulkOut,
    ChannelPage,
    ExecutionExplainOut,
    ExecutionOut,
    ExecutionPage,
    ExecutorPage,
    ExplainOut,
    FirePage,
    LoadErrorPage,
    PanelOut,
    PanelPage,
    PluginPage,
    PoolOut,
    PoolPage,
    PruneOut,
    SeriesOut,
    ServerOut,
    SimulationOut,
    StatsOut,
    TaskOut,
    TaskPage,
    TaskStatsPage,
    TokenOut,
    TokenPage,
    TrialOut,
    TriggeredOut,
    UpcomingPage,
    ValidationOut,
    VersionOut,
    VersionPage,
    WorkflowOut,
)
from zquant_flow.client.backfills import BackfillCalls
from zquant_flow.client.connection import ApiError, NoServer, checked_url, is_loopback
from zquant_flow.client.decisions import DecisionCalls
from zquant_flow.client.hooks import HookCalls
from zquant_flow.client.waiting import Waiting
from zquant_flow.errors import BadRequest
from zquant_flow.wording import say

if TYPE_CHECKING:
    from zquant_flow.config import Settings

_FIND_SECONDS = 2.0
SIMULATION_SECONDS = 330.0
"""A simulation may take so long."""


class Task(TaskOut):
    """A task, and the `etag` of the state it was read in, which `if_match` takes."""

    etag: str | None = Field(default=None, exclude=True)


TaskRef = int | str | TaskOut
"""Which task: its id, its name, or itself."""


class TaskCalls(Waiting):
    """Tasks."""

    def list_tasks(self, **filters: Any) -> TaskPage:
        """A page of tasks. Filters: `skip, limit, cursor, name, task_type, enabled, paused, status, order_by, order, q, tag, source, archived, include_nodes`."""
        return self._ask(TaskPage, "GET", "/tasks", query=filters)

    def iter_tasks(self, **filters: Any) -> Iterator[TaskOut]:
        """All tasks that match, page by page."""
        filters = {"limit": 1000, **filters}
        while True:
            page = self.list_tasks(**filters)
            yield from page.tasks
            if page.next_cursor is None:
                return
            filters = _of_next_page(filters, page.next_cursor)

    def create_task(
        self, definition: Mapping[str, Any], *, idempotency_key: str | None = None, new_id: bool = False
    ) -> Task:
        """Make a task. With `new_id` the name of an archived one starts afresh. Raises ApiError, with `errors` by field."""
        return self._task(
            "POST",
            "/tasks",
            query={"new_id": new_id or None},
            body=dict(definition),
            headers={"Idempotency-Key": idempotency_key},
        )

    def get_task(self, task: TaskRef) -> Task:
        """One task, by id or by name. Raises ApiError `task_not_found`."""
        return self._task("GET", f"/tasks/{self._id(task)}")

    def change_task(self, task: TaskRef, changes: Mapping[str, Any], *, if_match: str | None = None) -> Task:
        """Change the given fields; with `if_match` only if nobody else has since that `etag`."""
        return self._task(
            "PUT", f"/tasks/{self._id(task)}", body=dict(changes), headers={"If-Match": if_match}
        )

    def delete_task(
        self, task: TaskRef, *, force: bool = False, terminate: bool = False, if_match: str | None = None
    ) -> None:
        """Archive a task; with `force` also where workflows refer to it, with `terminate` what runs of it is ended."""
        query = {"force": force or None, "terminate": terminate or None}
        self._send("DELETE", f"/tasks/{self._id(task)}", query=query, headers={"If-Match": if_match})

    def trigger_task(
        self,
        task: TaskRef,
        params: Mapping[str, Any] | None = None,
        *,
        logical_time: datetime | None = None,
        rerun: bool = False,
        idempotency_key: str | None = None,
    ) -> TriggeredOut:
        """Run a task now. Raises ApiError `already_running`, `already_fired`."""
        body = {"params": params, "logical_time": logical_time, "rerun": rerun}
        path = f"/tasks/{self._id(task)}/trigger"
        return self._ask(TriggeredOut, "POST", path, body=body, headers={"Idempotency-Key": idempotency_key})

    def enable_task(self, task: TaskRef) -> Task:
        """Let its schedule fire, from now on."""
        return self._task("POST", f"/tasks/{self._id(task)}/enable")

    def disable_task(self, task: TaskRef) -> Task:
        """Skip its fires; what is pending goes on."""
        return self._task("POST", f"/tasks/{self._id(task)}/disable")

    def pause_task(self, task: TaskRef) -> Task:
        """Skip its fires and hold what is pending."""
        return self._task("POST", f"/tasks/{self._id(task)}/pause")

    def resume_task(self, task: TaskRef) -> Task:
        """Undo a pause."""
        return self._task("POST", f"/tasks/{self._id(task)}/resume")

    def prune_tasks(self) -> PruneOut:
        """Believe that what is missing from the tasks folder is gone; the files whose tasks are archived now."""
        return self._ask(PruneOut, "POST", "/tasks/prune")

    def bulk(
        self,
        action: BulkAction,
        task_ids: Iterable[int],
        *,
        params: Mapping[str, Any] | None = None,
        force: bool = False,
    ) -> BulkOut:
        """One action on up to 1000 tasks; each has its own result."""
        body = BulkIn(
            action=action,
            task_ids=list(task_ids),
            params=None if params is None else dict(params),
            force=force,
        )
        return self._ask(BulkOut, "POST", "/tasks/bulk", body=body.model_dump(mode="json", exclude_none=True))

    def backfill_task(
        self,
        task: TaskRef,
        start: datetime,
        end: datetime,
        *,
        parallel: int = 1,
        params: Mapping[str, Any] | None = None,
        dry_run: bool = False,
    ) -> BackfillOut:
        """One execution for each logical time of its schedule in [start, end], none twice; a `dry_run` makes nothing."""
        body = BackfillIn(
            from_=start,
            to=end,
            parallel=parallel,
            params=None if params is None else dict(params),
            dry_run=dry_run,
        )
        return self._ask(
            BackfillOut,
            "POST",
            f"/tasks/{self._id(task)}/backfill",
            body=body.model_dump(mode="json", by_alias=True, exclude_none=True),
        )

    def list_fires(
        self, task: TaskRef, *, start: datetime | None = None, end: datetime | None = None
    ) -> FirePage:
        """The ledger of a task: what fired, what was skipped, and why."""
        return self._ask(FirePage, "GET", f"/tasks/{self._id(task)}/fires", query={"from": start, "to": end})

    def explain_task(self, task: TaskRef) -> ExplainOut:
        """Why it is, or is not, running now; when it will next."""
        return self._ask(ExplainOut, "GET", f"/tasks/{self._id(task)}/explain")

    def get_workflow(self, task: TaskRef, *, execution_id: int | None = None) -> WorkflowOut:
        """The graph of a workflow; with an execution, the states of its nodes."""
        query = {"execution_id": execution_id}
        return self._ask(WorkflowOut, "GET", f"/tasks/{self._id(task)}/workflow", query=query)

    def validate_workflow(self, definition: Mapping[str, Any], task: TaskRef | None = None) -> ValidationOut:
        """Whether a definition could be registered; with a task, as a change of that one."""
        path = "/workflow/validate" if task is None else f"/tasks/{self._id(task)}/workflow/validate"
        return self._ask(ValidationOut, "POST", path, body=dict(definition))

    def list_versions(self, task: TaskRef) -> VersionPage:
        """The versions of its definition, the newest first."""
        return self._ask(VersionPage, "GET", f"/tasks/{self._id(task)}/versions")

    def get_version(self, task: TaskRef, version: int) -> VersionOut:
        """One version, with its definition."""
        return self._ask(VersionOut, "GET", f"/tasks/{self._id(task)}/versions/{version}")

    def list_task_executions(self, task: TaskRef, **filters: Any) -> ExecutionPage:
        """A page of its executions; filters as for `list_executions`."""
        return self._ask(ExecutionPage, "GET", f"/tasks/{self._id(task)}/executions", query=filters)

    def _id(self, task: TaskRef) -> int:
        if isinstance(task, TaskOut):
            return task.id
        if isinstance(task, int):
            return task
        for found in self.list_tasks(name=task, limit=1000).tasks:
            if found.name == task:
                return found.id
        raise ApiError(404, "task_not_found", say("no task is named {name!r}", name=task))

    def _task(self, method: str, path: str, **more: Any) -> Task:
        answer = self._send(method, path, **more)
        task = self._parsed(Task, answer)
        task.etag = answer.headers.get("ETag")
        return task


class ExecutionCalls(Waiting):
    """Executions."""

    def list_executions(self, **filters: Any) -> ExecutionPage:
        """A page of executions, newest first. Filters: `skip, limit, cursor, status, trigger_type, waiting_for, since, until, q, tag, source, include`."""
        return self._ask(ExecutionPage, "GET", "/executions", query=filters)

    def iter_executions(self, **filters: Any) -> Iterator[ExecutionOut]:
        """All executions that match, newest first, page by page."""
        filters = {"limit": 1000, **filters}
        while True:
            page = self.list_executions(**filters)
            yield from page.executions
            if page.next_cursor is None:
                return
            filters = _of_next_page(filters, page.next_cursor)

    def run_definition(
        self,
        definition: Mapping[str, Any],
        params: Mapping[str, Any] | None = None,
        *,
        idempotency_key: str | None = None,
    ) -> TriggeredOut:
        """Run a definition that is no task of the server, once."""
        body = {"definition": definition, "params": params or {}}
        headers = {"Idempotency-Key": idempotency_key}
        return self._ask(TriggeredOut, "POST", "/executions", body=body, headers=headers)

    def pause_execution(self, execution_id: int) -> ExecutionOut:
        """Let it stand still."""
        return self._ask(ExecutionOut, "POST", f"/executions/{execution_id}/pause")

    def resume_execution(self, execution_id: int, *, original: bool = False) -> ExecutionOut:
        """Let a paused one go on; of a failed one, the new execution that takes over what had succeeded.

        That one is of the task's current version, or with `original` of the old one's.
        """
        query = {"version": "original" if original else None}
        return self._ask(ExecutionOut, "POST", f"/executions/{execution_id}/resume", query=query)

    def explain_execution(self, execution_id: int, *, node: str | None = None) -> ExecutionExplainOut:
        """Why it runs, waits, or ended so; or why a node of it does. Raises ApiError `node_not_found`."""
        path = f"/executions/{execution_id}/explain"
        return self._ask(ExecutionExplainOut, "GET", path, query={"node": node})

    def terminate_execution(self, execution_id: int) -> ExecutionOut:
        """End it and all below it."""
        return self._ask(ExecutionOut, "POST", f"/executions/{execution_id}/terminate")

    def read_result(self, execution_id: int) -> Any:
        """What it returned, however large. Raises ApiError `result_not_found` where there is nothing."""
        return json.loads(self.read_result_text(execution_id))

    def read_result_text(self, execution_id: int) -> bytes:
        """The same as JSON."""
        return self._send("GET", f"/executions/{execution_id}/result").content

    def read_log(
        self, execution_id: int, *, attempt: int | None = None, offset: int = 0, tail: int | None = None
    ) -> bytes:
        """The log of an attempt, the latest if none is named, from a byte on, or its last `tail` lines; to its present end."""
        query = {"attempt": attempt, "tail": tail, "offset": offset or None}
        pieces = []
        while True:
            answer = self._send("GET", f"/executions/{execution_id}/log", query=query)
            pieces.append(answer.content)
            following = int(answer.headers.get("X-Next-Offset", 0))
            if tail is not None or not answer.content or following <= offset:
                return b"".join(pieces)
            offset = following
            query["offset"] = offset


class SystemCalls(Waiting):
    """The server and what it knows beside tasks and executions."""

    def get_stats(
        self, task_id: int | None = None, *, since: datetime | None = None, until: datetime | None = None
    ) -> StatsOut:
        """Statistics of executions made in a span, of one task or of all."""
        return self._ask(
            StatsOut, "GET", "/stats", query={"task_id": task_id, "since": since, "until": until}
        )

    def get_series(
        self,
        task_id: int | None = None,
        *,
        since: datetime | None = None,
        until: datetime | None = None,
        step_seconds: int | None = None,
    ) -> SeriesOut:
        """The same by steps of time."""
        query = {"task_id": task_id, "since": since, "until": until, "step_seconds": step_seconds}
        return self._ask(SeriesOut, "GET", "/stats/series", query=query)

    def list_task_stats(self, **filters: Any) -> TaskStatsPage:
        """Statistics by task. Filters: `since, until, order_by, skip, limit`."""
        return self._ask(TaskStatsPage, "GET", "/stats/tasks", query=filters)

    def list_upcoming(
        self, *, start: datetime | None = None, end: datetime | None = None, limit: int | None = None
    ) -> UpcomingPage:
        """The fires that are ahead."""
        return self._ask(UpcomingPage, "GET", "/upcoming", query={"from": start, "to": end, "limit": limit})

    def simulate(
        self,
        *,
        start: datetime | None = None,
        end: datetime | None = None,
        task_id: int | None = None,
        timeout: float = SIMULATION_SECONDS,
    ) -> SimulationOut:
        """What would fire and run in a span, from past durations; takes seconds. Raises ApiError `busy`."""
        query = {"from": start, "to": end, "task_id": task_id}
        return self._ask(SimulationOut, "GET", "/simulate", query=query, timeout=timeout)

    def list_load_errors(self) -> LoadErrorPage:
        """What is wrong with which file."""
        return self._ask(LoadErrorPage, "GET", "/load-errors")

    def list_executors(self) -> ExecutorPage:
        """The kinds of work that tasks can name."""
        return self._ask(ExecutorPage, "GET", "/executors")

    def get_executor_schema(self, name: str) -> dict[str, Any]:
        """The JSON Schema of an executor's config."""
        found: dict[str, Any] = self._send("GET", f"/executors/{name}/schema").json()
        return found

    def get_definition_schema(self) -> dict[str, Any]:
        """The JSON Schema of task files."""
        found: dict[str, Any] = self._send("GET", "/schema").json()
        return found

    def list_plugins(self) -> PluginPage:
        """The plugins that are registered."""
        return self._ask(PluginPage, "GET", "/plugins")

    def list_panels(self) -> PanelPage:
        """The panels that plugins show."""
        return self._ask(PanelPage, "GET", "/panels")

    def get_panel(self, plugin: str, name: str) -> PanelOut:
        """What a panel shows now."""
        return self._ask(PanelOut, "GET", f"/panels/{quote(plugin, safe='')}/{quote(name, safe='')}")

    def list_channels(self) -> ChannelPage:
        """The channels of the server's settings, and how sending went."""
        return self._ask(ChannelPage, "GET", "/channels")

    def test_channel(self, name: str) -> TrialOut:
        """Send a test by a channel; the answer says whether it got there."""
        return self._ask(TrialOut, "POST", f"/channels/{quote(name, safe='')}/test")

    def create_token(self, name: str, *, expires_time: datetime | None = None) -> TokenOut:
        """Make a bearer token; this answer alone has it in clear."""
        body = {"name": name, **({"expires_time": expires_time} if expires_time else {})}
        return self._ask(TokenOut, "POST", "/tokens", body=body)

    def list_tokens(self) -> TokenPage:
        """The tokens that are valid, without their secrets."""
        return self._ask(TokenPage, "GET", "/tokens")

    def revoke_token(self, token_id: int) -> None:
        """End a token at once."""
        self._send("DELETE", f"/tokens/{token_id}")

    def list_pools(self) -> PoolPage:
        """All pools, with who holds their places."""
        return self._ask(PoolPage, "GET", "/pools")

    def put_pool(self, name: str, slots: int, *, description: str | None = None) -> PoolOut:
        """Make a pool, or change how many places it has. Raises ApiError `pool_in_settings`."""
        body = {"slots": slots, **({} if description is None else {"description": description})}
        return self._ask(PoolOut, "PUT", f"/pools/{quote(name, safe='')}", body=body)

    def delete_pool(self, name: str) -> None:
        """Delete a pool that no task names. Raises ApiError `pool_in_use`."""
        self._send("DELETE", f"/pools/{quote(name, safe='')}")

    def get_server(self) -> ServerOut:
        """What serves there."""
        return self._ask(ServerOut, "GET", "/server")


class Client(TaskCalls, BackfillCalls, HookCalls, ExecutionCalls, DecisionCalls, SystemCalls):
    """A scheduler, over HTTP. A context manager; any thread may use it.

    Raises ApiError for the server's errors, Unreachable where there is no answer.
    """

    @classmethod
    def find(
        cls,
        where: Settings | str | os.PathLike[str] | None = None,
        *,
        timeout: float = 30.0,
        language: str | None = None,
    ) -> Self:
        """The server that the settings name, else the one of the data folder, looked for upwards from here.

        Settings: `ZQUANT_FLOW_SERVER_URL`, `ZQUANT_FLOW_TOKEN`. `where` may name the data folder. Raises NoServer.
        """
        from zquant_flow.config import Settings, data_folder_around, load_settings

        settings = where if isinstance(where, Settings) else load_settings(data_dir=where)
        if settings.server_url and (where is None or isinstance(where, Settings)):
            url = checked_url(settings.server_url)
            kept = settings.kept_token() if is_loopback(url) else None  # it is told to no other machine
        else:
            folder = data_folder_around(settings) if where is None else settings.data_dir
            kept = settings.model_copy(update={"data_dir": folder}).kept_token()
            url = _address(folder, timeout=min(timeout, _FIND_SECONDS))
        token = settings.token or kept
        if token is None:
            raise BadRequest(
                say(
                    "{url} asks for a token; set ZQUANT_FLOW_TOKEN (`zquant-flow tokens create` makes one)",
                    url=url,
                )
            )
        return cls(url, token, timeout=timeout, language=language)


def _of_next_page(filters: Mapping[str, Any], cursor: str) -> dict[str, Any]:
    """The cursor stands behind what was skipped: skipping once more would lose rows of every page."""
    return {**{name: value for name, value in filters.items() if name != "skip"}, "cursor": cursor}


def _address(folder: Path, *, timeout: float) -> str:
    """Where the server of a data folder answers. Raises NoServer."""
    try:
        url = str(json.loads((folder / "server.json").read_text())["url"])
    except (OSError, ValueError, LookupError, TypeError):
        raise NoServer(
            say(
                "no server runs on {folder}; start one with `zquant-flow serve`, or set ZQUANT_FLOW_SERVER_URL",
                folder=str(folder),
            )
        ) from None
    try:
        httpx.get(f"{url}/healthz", timeout=timeout, trust_env=False).raise_for_status()
    except httpx.HTTPError as exc:
        raise NoServer(
            say(
                "the server of {folder} does not answer at {url}; start it with `zquant-flow serve`",
                folder=str(folder),
                url=url,
            )
        ) from exc
    return url

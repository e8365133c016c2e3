"""What can go wrong, and what does a client see of it?

Every error names the thing and the way out. `code` is for machines (docs/errors.md lists them), `status` is the HTTP
answer it becomes at the edge.
"""

from __future__ import annotations

from typing import Any, ClassVar


class ZquantFlowError(Exception):
    """The root of all errors that a user can cause or meet."""

    code: ClassVar[str] = "internal_error"
    status: ClassVar[int] = 500

    def __init__(self, detail: str, **facts: Any) -> None:
        super().__init__(detail)
        self.detail = detail
        self.facts = facts


class BadRequest(ZquantFlowError):
    """The words are well-formed and mean nothing that can be done."""

    code = "bad_request"
    status = 400


class DefinitionError(BadRequest):
    """A definition that can't be registered; `field` is a dotted path such as `tasks.1.dependencies.0`."""

    code = "invalid_definition"

    def __init__(self, detail: str, *, field: str = "", **facts: Any) -> None:
        super().__init__(detail, field=field, **facts)
        self.field = field


class ScheduleError(DefinitionError):
    """A schedule that can't be read, or that never fires."""

    code = "invalid_schedule"


class GraphError(DefinitionError):
    """A workflow whose nodes can't be ordered: an unknown dependency, a double name, a cycle."""

    code = "invalid_workflow"


class ParamsError(BadRequest):
    """Params that the task does not take."""

    code = "invalid_params"


class ExpressionError(BadRequest):
    """An expression or template that can't be read, may not do what it does, or leads nowhere."""

    code = "invalid_expression"


class NotFound(ZquantFlowError):
    """Nothing has that id or name."""

    code = "not_found"
    status = 404


class TaskNotFound(NotFound):
    code = "task_not_found"


class ExecutionNotFound(NotFound):
    code = "execution_not_found"


class HookNotFound(NotFound):
    """No task has a webhook of that name."""

    code = "hook_not_found"


class BadSignature(ZquantFlowError):
    """A request to a webhook without a signature by its secret."""

    code = "bad_signature"
    status = 401


class BackfillNotFound(NotFound):
    code = "backfill_not_found"


class Conflict(ZquantFlowError):
    """The state of the thing does not allow this now."""

    code = "conflict"
    status = 409


class NameInUse(Conflict):
    code = "name_in_use"


class AlreadyRunning(Conflict):
    """`overlap: skip` and an execution is active."""

    code = "already_running"


class AlreadyFired(Conflict):
    """That logical time has its execution."""

    code = "already_fired"


class DefinedInFile(Conflict):
    """The definition is owned by a file that can't be changed over REST."""

    code = "defined_in_file"


class TaskReferenced(Conflict):
    """Workflows refer to this task."""

    code = "task_referenced"


class Outdated(ZquantFlowError):
    """The thing has changed since it was read: `If-Match` names another state of it."""

    code = "precondition_failed"
    status = 412


class KeyReused(ZquantFlowError):
    """An Idempotency-Key that stood for another request."""

    code = "idempotency_key_reused"
    status = 422


class ServerNeeded(Conflict):
    """No server runs here, and this takes one."""

    code = "server_needed"


class NodeNotFound(NotFound):
    """The workflow has no node of that name."""

    code = "node_not_found"


class TokenNotFound(NotFound):
    code = "token_not_found"


class ResultNotFound(NotFound):
    """The execution has given none, or its file has gone with its logs."""

    code = "result_not_found"


class PoolNotFound(NotFound):
    code = "pool_not_found"


class PoolInUse(Conflict):
    """Tasks name this pool, or executions hold it."""

    code = "pool_in_use"


class PoolInSettings(Conflict):
    """The pool is owned by `zquant-flow.toml`."""

    code = "pool_in_settings"


class NotApprover(ZquantFlowError):
    """This node waits for somebody else's answer."""

    code = "not_approver"
    status = 403


class WrongState(Conflict):
    """The execution or task is not in a state that allows this."""

    code = "wrong_state"


class Unavailable(ZquantFlowError):
    """Not now: starting, stopping, or something below is away."""

    code = "unavailable"
    status = 503


class PluginFailed(Unavailable):
    """A plugin was asked for something, and its own code failed."""

    code = "plugin_failed"


class Elsewhere(Unavailable):
    """Another process on this database knows, or decides, that; `engine_id` says which, 0 is whoever leads."""

    code = "elsewhere"
    engine_id = 0


class NotLeading(Elsewhere):
    """This scheduler decides nothing: another one leads."""

    code = "not_leading"


class LogElsewhere(Elsewhere):
    """The log lies in the data folder of another scheduler."""

    def __init__(self, detail: str, engine_id: int) -> None:
        super().__init__(detail)
        self.engine_id = engine_id


class TasksFolderUnavailable(Unavailable):
    code = "tasks_folder_unavailable"


class DataFolderInUse(Unavailable):
    """Another process holds the lock of the data folder."""

    code = "data_folder_in_use"


class RunnerUnavailable(Unavailable):
    """The runner process can't be started or reached."""

    code = "runner_unavailable"


class Busy(ZquantFlowError):
    """One of these is under way, and there is room for no other."""

    code = "busy"
    status = 429

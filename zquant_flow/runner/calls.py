"""What does a Python attempt call, and what came of it?

Loads a function or an executor's class, gives it what it takes, and turns its return or exception into the facts of an
outcome. Runs inside the worker.
"""

from __future__ import annotations

import importlib
import logging
import os
import sys
import threading
from collections.abc import Callable, Mapping
from types import FunctionType, ModuleType, TracebackType
from typing import Any

from zquant_flow.errors import ParamsError
from zquant_flow.executors.context import Context, Deferred, Terminated
from zquant_flow.executors.failure import Failure
from zquant_flow.plugin.namespace import open_folder
from zquant_flow.runner.protocol import Frame
from zquant_flow.runner.results import clean, success, tell

_OUR_FOLDER = os.path.dirname(os.path.abspath(__file__))
_IMPORTLIB = os.path.dirname(importlib.__file__)
_VAR_KEYWORDS = 0x08


Call = Callable[[Frame, Context], Any]


class Calls:
    """The functions and executors of one bundle, loaded once."""

    def __init__(self) -> None:
        self._known: dict[tuple[Any, ...], Call] = {}
        self._folders: list[str] = []
        self._loading = threading.Lock()

    def outcome(self, order: Frame, context: Context) -> Frame:
        """Carry the order out and return kind, code, error, result, exit_code; never raises."""
        try:
            if "filed" in order:
                context.params = _with_results(order, context.params)
            return success(self._call_of(order)(order, context), order)
        except Failure as exc:
            return _failed(exc)
        except Deferred as exc:
            return {"kind": "deferred", "after": exc.seconds}
        except Terminated:
            if context.stopping:
                return {"kind": "terminated"}
            return {"kind": "failed", "code": "exception", "error": "Terminated, but nobody asked for it"}
        except SystemExit as exc:
            return _exited(exc.code)
        except BaseException as exc:
            return _raised(exc)
        finally:
            context.clean_up()

    def _call_of(self, order: Frame) -> Call:
        config = order["config"]
        entry = order.get("entry")
        key = (entry,) if entry else (config.get("module"), config.get("function"))
        call = self._known.get(key)
        return self._load(key, order) if call is None else call

    def _load(self, key: tuple[Any, ...], order: Frame) -> Call:
        config, entry = order["config"], order.get("entry")
        with self._loading:  # a second thread must not meet a half-imported module
            if entry:
                call = _executor(entry, order.get("bundle"))
            else:
                self._extend_path(order)
                call = _function(config.get("module"), config.get("function"), self._folders)
            self._known[key] = call
            return call

    def _extend_path(self, order: Frame) -> None:
        if self._folders or not order.get("bundle"):
            return
        bundle = order["bundle"]
        folder = os.path.normpath(os.path.join(bundle, order["config"].get("folder") or ""))
        self._folders = [folder] if folder == os.path.normpath(bundle) else [folder, bundle]
        sys.path[:0] = self._folders


def _with_results(order: Frame, params: dict[str, Any]) -> dict[str, Any]:
    """The params, with the large results that some of them refer to: these lie in files, and only this attempt reads them."""
    import json

    from zquant_flow.core.references import resolve
    from zquant_flow.result_files import open_first

    nodes: dict[str, Any] = {}
    for name, paths in order["filed"].items():
        try:
            with open_first(paths) as file:
                nodes[name] = {"result": json.load(file)}
        except (OSError, ValueError) as exc:
            raise Failure("result_missing", f"the result of {name!r} can't be read: {exc}") from exc
    try:
        taken = {key: resolve(params[key], {"nodes": nodes}) for key in order["taken"]}
    except ParamsError as exc:
        raise Failure("invalid_params", exc.detail) from exc
    return {**params, **taken}


def folder_missing(folder: str, exc: OSError) -> Frame:
    error = f"the working directory {folder} can't be entered: {exc.strerror}"
    return {"kind": "failed", "code": "working_dir_missing", "error": error}


def _executor(entry: str, plugins: str | None) -> Call:
    """How an executor's class is called; `plugins`: the folder of plugin files that it is from."""
    if plugins:
        open_folder(plugins)
    module_name, _, names = entry.partition(":")
    kind: Any = importlib.import_module(module_name)
    for name in names.split("."):
        kind = getattr(kind, name)

    def call(order: Frame, context: Context) -> Any:
        executor, config = kind(), _config(kind, order["config"])
        if order.get("ending"):
            executor.terminate(context, config)
            return None
        try:
            return _result(executor.run(context, config), context)
        finally:
            if context.is_to_be_ended_elsewhere():
                _terminate(executor, context, config)

    return call


def _result(value: Any, context: Context) -> Any:
    """What `run` has returned; that of an `async` one, once it is run. Ended, it may clean up in its loop."""
    if not hasattr(value, "cr_frame"):
        return value
    from zquant_flow.executors import ending

    return ending.run(context, value)


def _terminate(executor: Any, context: Context, config: Any) -> None:
    """What it has begun elsewhere ends too; if that fails, the log says so."""
    try:
        executor.terminate(context, config)
    except Exception as exc:
        _raised(exc)


def _config(kind: Any, said: Mapping[str, Any]) -> Any:
    """The executor's config; what its templates have become may be anything."""
    from pydantic import ValidationError  # the executor has imported it already

    try:
        return kind.Config.model_validate(said)
    except ValidationError as exc:
        faults = [f"{'.'.join(map(str, error['loc'])) or 'config'}: {error['msg']}" for error in exc.errors()]
        raise Failure("invalid_config", f"the config of {kind.name}: {'; '.join(faults)}") from None


def _function(module_name: str | None, name: str | None, folders: list[str]) -> Call:
    if not module_name or not name:
        raise Failure("nothing_to_run", "this task names no function")
    module = _import(module_name, folders)
    found: Any = module
    for part in name.split("."):
        found = getattr(found, part, None)
    found = getattr(found, "__wrapped_task__", found)
    if not callable(found):
        raise Failure("function_missing", f"{module_name}.py has no function {name!r}")
    arguments = _arguments_of(found, f"{module_name}:{name}")

    def call(order: Frame, context: Context) -> Any:
        args, kwargs = arguments(context.params)
        return _awaited(found(*args, **kwargs))

    return call


def _import(name: str, folders: list[str]) -> ModuleType:
    """The task's module, also where a module of Python itself has its name (tasks/logging.py)."""
    known = sys.modules.get(name)
    if known is None or not folders:
        return importlib.import_module(name)
    for folder in folders:
        path = os.path.join(folder, *name.split(".")) + ".py"
        if os.path.exists(path) and getattr(known, "__file__", None) != path:
            from importlib import util

            spec = util.spec_from_file_location(name, path)
            if spec is not None and spec.loader is not None:
                module = util.module_from_spec(spec)
                spec.loader.exec_module(module)
                return module
    return known


Arguments = Callable[[Mapping[str, Any]], tuple[list[Any], dict[str, Any]]]


def _arguments_of(function: Callable[..., Any], name: str) -> Arguments:
    """How params become arguments: those that the signature takes, all of them for **kwargs."""
    positional, names, required, takes_all = _signature(function)

    def arguments(params: Mapping[str, Any]) -> tuple[list[Any], dict[str, Any]]:
        if required and not required <= params.keys():
            missing = ", ".join(sorted(required - params.keys()))
            raise Failure("params_missing", f"{name} needs params that were not given: {missing}")
        if not params:
            return [], {}
        args = []
        for parameter in positional:
            if parameter not in params:
                break
            args.append(params[parameter])
        if takes_all:
            return args, {key: value for key, value in params.items() if key not in positional}
        return args, {key: value for key, value in params.items() if key in names}

    return arguments


def _signature(function: Callable[..., Any]) -> tuple[list[str], set[str], set[str], bool]:
    """Names that go by position only, names that go by keyword, names without default, and whether all are taken."""
    if isinstance(function, FunctionType) and not hasattr(function, "__wrapped__"):
        return _plain_signature(function)
    import inspect  # 15 ms, for decorated functions and other callables only

    positional, names, required, takes_all = [], set(), set(), False
    for parameter in inspect.signature(function).parameters.values():
        if parameter.kind is parameter.VAR_KEYWORD:
            takes_all = True
        elif parameter.kind is not parameter.VAR_POSITIONAL:
            if parameter.kind is parameter.POSITIONAL_ONLY:
                positional.append(parameter.name)
            else:
                names.add(parameter.name)
            if parameter.default is parameter.empty:
                required.add(parameter.name)
    return positional, names, required, takes_all


def _plain_signature(function: FunctionType) -> tuple[list[str], set[str], set[str], bool]:
    code = function.__code__
    ordered = code.co_varnames[: code.co_argcount]
    keyword_only = code.co_varnames[code.co_argcount : code.co_argcount + code.co_kwonlyargcount]
    without_default = ordered[: len(ordered) - len(function.__defaults__ or ())]
    required = {*without_default, *(set(keyword_only) - set(function.__kwdefaults__ or ()))}
    positional = list(ordered[: code.co_posonlyargcount])
    names = {*ordered[code.co_posonlyargcount :], *keyword_only}
    return positional, names, required, bool(code.co_flags & _VAR_KEYWORDS)


def _awaited(value: Any) -> Any:
    if hasattr(value, "__await__") and hasattr(value, "cr_frame"):
        import asyncio

        return asyncio.run(value)
    return value


def _failed(exc: Failure) -> Frame:
    error = clean(str(exc))
    tell(f"{error}\n")
    facts = {"kind": "failed", "code": exc.code, "error": error}
    return facts if exc.exit_code is None else {**facts, "exit_code": exc.exit_code}


def _exited(code: object) -> Frame:
    if code is None or code == 0:
        return {"kind": "success", "exit_code": 0}
    if isinstance(code, int):
        return {"kind": "failed", "code": "exit_code", "exit_code": code, "error": f"exit code {code}"}
    tell(f"{code}\n")
    return {"kind": "failed", "code": "exit_code", "exit_code": 1, "error": clean(str(code))}


def _raised(exc: BaseException) -> Frame:
    import traceback

    try:
        tell("".join(traceback.format_exception(type(exc), exc, _their_frames(exc.__traceback__))))
        error = traceback.format_exception_only(type(exc), exc)[-1].strip()
        text = str(exc)
        error = f"{type(exc).__name__}: {text}" if text else type(exc).__name__
    except Exception as fault:  # an exception whose own str() raises
        error = f"{type(exc).__name__} (its text can't be shown: {type(fault).__name__})"
    if isinstance(exc, ModuleNotFoundError) and exc.name:
        package = exc.name.partition(".")[0]
        error += f" (in {sys.executable}; install it there: {sys.executable} -m pip install {package})"
        tell(f"{error}\n")
    return {"kind": "failed", "code": "exception", "error": clean(error)}


def _their_frames(trace: TracebackType | None) -> TracebackType | None:
    """The traceback from the first frame on that is neither ours nor the import machinery's."""
    first = trace
    while trace is not None:
        name = trace.tb_frame.f_code.co_filename
        if not name.startswith((_OUR_FOLDER, "<frozen importlib", _IMPORTLIB)):
            return trace
        trace = trace.tb_next
    return first


def set_up_logging() -> None:
    """`logging` goes where stderr goes, from INFO on; a task may set it up anew."""
    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s: %(message)s", level=logging.INFO)

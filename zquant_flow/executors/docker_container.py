"""How does an attempt run in a container, and the container end with it? Runs in a worker.

A container has the name of its attempt, so that a second start of the same attempt finds it and follows it.
"""

from __future__ import annotations

import codecs
import contextvars
import hashlib
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from zquant_flow.executors.context import Context, Terminated
from zquant_flow.executors.docker_config import DockerConfig
from zquant_flow.executors.failure import Failure, library

TAIL = 4000
"""Characters of output that are kept for the result."""
LOOK_SECONDS = 0.1
"""How often it looks whether the attempt is to end."""
EXECUTION, FOLDER = "zquant-flow.execution", "zquant-flow.data"
"""Labels: whose attempt a container is, by execution and data folder."""


class Job:
    """One container of one attempt."""

    def __init__(self, context: Context, config: DockerConfig) -> None:
        self._docker: Any = library("docker", "docker")
        self._context = context
        self._config = config
        folder = os.environ.get("ZQUANT_FLOW_RUNNER", "")
        self._folder = hashlib.sha256(folder.encode()).hexdigest()[:8]
        self._name = f"zqf-{context.execution_id}-{context.attempt}-{self._folder}"
        self._tail = ""

    def carry_out(self) -> dict[str, Any]:
        """The result of the attempt; raises Failure."""
        with self._engine() as client:
            try:
                self._end_earlier(client)
                container = self._found(client) or self._made(client)
                return self._followed(container)
            except Terminated:
                self._end(client, self._name)
                raise
            except self._docker.errors.ImageNotFound:
                detail = f"there is no image {self._config.image!r}, neither here nor where it is pulled from"
                raise Failure("docker_failed", detail) from None
            except (self._docker.errors.DockerException, OSError) as exc:
                raise Failure("docker_failed", _said(exc)) from None

    @contextmanager
    def _engine(self) -> Iterator[Any]:
        host = self._config.host
        try:
            client = self._docker.DockerClient(base_url=host) if host else self._docker.from_env()
            client.ping()
        except (self._docker.errors.DockerException, OSError, ValueError) as exc:
            where = host or os.environ.get("DOCKER_HOST") or "the usual socket"
            raise Failure("docker_failed", f"no container engine answers at {where}: {_said(exc)}") from None
        try:
            yield client
        finally:
            client.close()

    def _end_earlier(self, client: Any) -> None:
        """What an attempt before has left, whose worker was killed, ends before this one begins."""
        labels = [f"{EXECUTION}={self._context.execution_id}", f"{FOLDER}={self._folder}"]
        for container in client.containers.list(all=True, filters={"label": labels}):
            if container.name != self._name:
                print(f"{container.name} is left by an attempt before: it is ended")  # noqa: T201  (this is its log)
                self._end(client, container.name)

    def _found(self, client: Any) -> Any:
        try:
            container = client.containers.get(self._name)
        except self._docker.errors.NotFound:
            return None
        print(f"{self._name} is there already, {container.status}: it is followed")  # noqa: T201
        return container

    def _made(self, client: Any) -> Any:
        config = self._config
        self._pull(client)
        return client.containers.create(
            config.image,
            config.command,
            name=self._name,
            entrypoint=config.entrypoint,
            environment=config.environment,
            volumes=[_bound(volume) for volume in config.volumes],
            working_dir=config.workdir,
            user=config.user,
            network=config.network,
            mem_limit=config.memory,
            nano_cpus=None if config.cpus is None else int(config.cpus * 1e9),
            labels={
                **config.labels,
                EXECUTION: str(self._context.execution_id),
                FOLDER: self._folder,
            },
        )

    def _pull(self, client: Any) -> None:
        config = self._config
        if config.pull == "missing":
            with suppress(self._docker.errors.ImageNotFound):
                client.images.get(config.image)
                return
        if config.pull != "never":
            print(f"pulling {config.image}")  # noqa: T201
            client.images.pull(config.image)

    def _followed(self, container: Any) -> dict[str, Any]:
        """Its output in our log as it comes, then its end. Owns the thread that reads; that ends with the container."""
        if container.status == "created":
            container.start()
        faults: list[Exception] = []
        ended: list[int] = []

        def follow() -> None:
            try:
                self._copy(container)
                ended.append(container.wait()["StatusCode"])
            except Exception as exc:  # told by who waits
                faults.append(exc)

        thread = threading.Thread(target=contextvars.copy_context().run, args=(follow,), daemon=True)
        thread.start()
        try:
            while thread.is_alive():
                thread.join(LOOK_SECONDS)
                if self._context.stopping:
                    raise Terminated("the attempt is to end")
        except Terminated:
            self._stop(container)
            thread.join(LOOK_SECONDS)
            raise
        if faults:
            raise faults[0]
        return self._result(container, ended[0])

    def _copy(self, container: Any) -> None:
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        for data in container.logs(stream=True, follow=True):
            text = decoder.decode(data)
            sys.stdout.write(text)
            sys.stdout.flush()
            self._tail = (self._tail + text)[-TAIL:]

    def _result(self, container: Any, code: int) -> dict[str, Any]:
        container.reload()
        state = container.attrs.get("State") or {}
        if self._config.auto_remove:
            container.remove(force=True)
        if state.get("OOMKilled"):
            limit = self._config.memory or "all there is"
            raise Failure("exit_code", f"killed: out of memory (memory: {limit})", exit_code=code)
        if code != 0:
            why = f": {state['Error']}" if state.get("Error") else ""
            raise Failure("exit_code", f"exit code {code}{why}", exit_code=code)
        return {"exit_code": 0, "output": self._tail}

    def _end(self, client: Any, name: str) -> None:
        """Stop the container of that name, if there is one, and remove it."""
        with suppress(self._docker.errors.NotFound):
            container = client.containers.get(name)
            self._stop(container)
            if self._config.auto_remove:
                container.remove(force=True)

    def _stop(self, container: Any) -> None:
        with suppress(self._docker.errors.NotFound):
            container.stop(timeout=self._config.stop_seconds)


def _bound(volume: str) -> str:
    """A source that looks like a path is one from the working folder; any other is the name of a volume."""
    source, _, rest = volume.partition(":")
    if source.startswith((".", "/", "~")):
        source = os.path.abspath(os.path.expanduser(source))
    return f"{source}:{rest}"


def _said(exc: Exception) -> str:
    return str(getattr(exc, "explanation", None) or exc) or type(exc).__name__

"""Which executors and notifiers come with zquant-flow? They register like anyone's."""

from __future__ import annotations

from collections.abc import Sequence

from zquant_flow.executors.command import CommandExecutor
from zquant_flow.executors.docker import DockerExecutor
from zquant_flow.executors.example import ExampleExecutor
from zquant_flow.executors.http import HttpExecutor
from zquant_flow.executors.python import PythonExecutor
from zquant_flow.executors.script import ScriptExecutor
from zquant_flow.executors.sql import SqlExecutor
from zquant_flow.executors.ssh import SshExecutor
from zquant_flow.executors.wait import WaitExecutor
from zquant_flow.notifiers.by_apprise import AppriseNotifier
from zquant_flow.notifiers.mail import EmailNotifier
from zquant_flow.notifiers.webhook import WebhookNotifier
from zquant_flow.plugin.contract import Executor
from zquant_flow.plugin.hookspecs import hookimpl
from zquant_flow.plugin.notifiers import Notifier


@hookimpl
def register_executors() -> Sequence[type[Executor]]:
    return [
        CommandExecutor,
        PythonExecutor,
        ExampleExecutor,
        DockerExecutor,
        HttpExecutor,
        ScriptExecutor,
        SqlExecutor,
        SshExecutor,
        WaitExecutor,
    ]


@hookimpl
def register_notifiers() -> Sequence[type[Notifier]]:
    return [WebhookNotifier, EmailNotifier, AppriseNotifier]

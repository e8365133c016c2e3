"""What stands in a file that somebody begins with? Each is commented, and loads as it is."""

from __future__ import annotations

import keyword
import re
import zlib

SETTINGS = """\
# Settings of this project (docs/settings.md). A flag wins over the environment, and the environment over this file.
# tasks_dir = "tasks"            # the watched folder
# data_dir = ".zquant-flow"      # database, logs, token
# host = "127.0.0.1"
# port = 8000
# timezone = "Asia/Shanghai"     # of schedules that name none; the machine's where this is left out
# thread_pool_size = 10          # attempts at once
"""

HELLO = """\
# A task is a name and what it runs; with a time it runs by itself. Save this file, and a running server has taken it.
# `zquant-flow run hello` runs it once, here and now.
name: hello
cron: "0 9 * * 1-5"              # minute hour day month weekday: 09:00, Monday to Friday
command: echo Hello from zquant-flow
"""

TASK_YAML = """\
# The keys of a task are in docs/files.md; `zquant-flow schema` prints them as JSON Schema for editors.
name: {name}
description: What it does, in a sentence
# cron: "0 9 * * 1-5"            # minute hour day month weekday; or `interval: 10m`. Without, it runs when triggered
# timezone: Asia/Shanghai        # the server's where this is left out
command: echo hello              # words; a list is taken exactly: [python, job.py, --all]
# timeout: 30m                   # of one attempt; 1h where this is left out
# max_retries: 3
# retry_interval: 60
# params: {{symbol: ALL}}          # in the environment as ZQF_PARAM_SYMBOL; `-p symbol=600519` gives another
"""

WORKFLOW_YAML = """\
# The keys of a workflow and its nodes are in docs/files.md; docs/states.md says how one ends.
name: {name}
description: What it does, in a sentence
# cron: "30 18 * * 1-5"          # without a time it runs when triggered
workflow_type: parallel          # each node starts once its own dependencies allow; or serial
on_failure: stop                 # or continue: what does not depend on the failed node goes on
tasks:
  - name: extract
    command: echo extract
  - name: load
    command: echo load
    dependencies: [extract]
    # max_retries: 3
  # - task: report               # a task that is registered, by name
  #   dependencies: [load]
"""

TASK_PYTHON = '''\
"""What it does, in a sentence."""

from zquant_flow import current, task


@task(name={name})  # also cron="0 9 * * 1-5", timezone="Asia/Shanghai", timeout="30m", max_retries=3
def {function}(limit: int = 10):
    """The parameters are its params: `zquant-flow run {file} -p limit=20`."""
    for number in current().track(range(limit), "rows"):  # progress, and points where it can be paused or ended
        print("row", number)
    return {{"rows": limit}}  # the result, as JSON
'''

WORKFLOW_PYTHON = '''\
"""What it does, in a sentence."""

from zquant_flow import task, workflow


@task
def extract_{function}(symbol: str = "ALL"):
    print("extracting", symbol)
    return {{"rows": 3}}


@task(max_retries=3, retry_interval=60)
def load_{function}(rows: int):
    print("loading", rows)


@workflow(name={name}, workflow_type="parallel")  # also cron="30 18 * * 1-5", on_failure="continue"
def {function}(symbol: str = "ALL"):
    """This runs once, when the file is read, and only says what depends on what."""
    extracted = extract_{function}(symbol=symbol)
    load_{function}(extracted.result["rows"])
'''


def yaml_text(kind: str, name: str) -> str:
    """A YAML file of a `task` or `workflow`."""
    text = WORKFLOW_YAML if kind == "workflow" else TASK_YAML
    plain = re.fullmatch(r"[A-Za-z][A-Za-z0-9_-]*", name) and name.lower() not in ("true", "false", "null")
    return text.format(name=name if plain else '"' + name.replace("\\", "\\\\").replace('"', '\\"') + '"')


def python_text(kind: str, name: str, file: str) -> str:
    """A Python file of a `task` or `workflow`."""
    text = WORKFLOW_PYTHON if kind == "workflow" else TASK_PYTHON
    return text.format(
        name='"' + name.replace("\\", "\\\\").replace('"', '\\"') + '"', function=identifier(name), file=file
    )


def identifier(name: str) -> str:
    """A name of Python as near to it as can be."""
    words = re.sub(r"\W+", "_", name).strip("_").lower()
    if not words.isidentifier():
        words = f"task_{words}".rstrip("_")
    taken = keyword.iskeyword(words) or words in ("task", "workflow", "current", "range", "print")
    return f"{words}_" if taken else words


def module(kind: str, name: str) -> str:
    """A name of a module, in ASCII, because not every place that a file goes to keeps others."""
    found = identifier(name)
    return found if found.isascii() else f"{kind}_{zlib.crc32(name.encode()):08x}"


def slug(name: str) -> str:
    """A name of a file as near to it as can be: letters of any script, digits and dashes."""
    return re.sub(r"[^\w]+", "-", name).strip("-_.").lower() or "task"

"""What stands in the package that somebody begins a plugin with? It can be built, installed and tested as it is."""

from __future__ import annotations

from collections.abc import Iterator

PROJECT = """\
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"

[project]
name = "{name}"
version = "0.1.0"
description = "An executor for zquant-flow: what it does, in a sentence."
readme = "README.md"
requires-python = ">=3.11"
dependencies = ["zquant-flow>=0.1"]

[project.optional-dependencies]
test = ["pytest>=8.3"]

# This is how zquant-flow finds it: every executor class of the module is one.
[project.entry-points.zquant_flow]
{executor} = "{module}"

[tool.hatch.build.targets.wheel]
packages = ["{module}"]

[tool.pytest.ini_options]
testpaths = ["tests"]
"""

MODULE = '''\
"""An executor for zquant-flow: what it does, in a sentence."""

from __future__ import annotations

from pydantic import Field
from zquant_flow import Context
from zquant_flow.executors.failure import Failure
from zquant_flow.plugin import Config, Executor


class {cls}Config(Config):
    """What a task says under `config:`. It is checked when the file is loaded; the fields make a form."""

    who: str = "world"
    times: int = Field(default=1, ge=1)
    pause_seconds: float = Field(default=0, ge=0)


class {cls}(Executor):
    name = "{executor}"
    Config = {cls}Config

    def run(self, context: Context, config: {cls}Config) -> dict[str, object]:
        """Called in a worker. What it prints is the log, what it returns the result as JSON, what it raises the failure."""
        if not config.who:
            raise Failure("nobody", "there is nobody to greet: `who` is empty")
        for _ in context.track(range(config.times), "greetings"):  # progress; here it can be paused and ended
            print(f"Hello, {{config.who}}!")
            context.cancelled.wait(config.pause_seconds)
        return {{"greeted": config.who, "times": config.times}}
'''

TESTS = '''\
"""Run it: pip install -e ".[test]" && pytest"""

from __future__ import annotations

from zquant_flow.testing import Flow, conformance

from {module} import {cls}

# What tasks expect of any executor. A check that can't be passed is skipped with a reason: skip={{"pause": "why"}}
Test{cls} = conformance(
    {cls},
    config={{"who": "世界"}},
    long={{"times": 6000, "pause_seconds": 0.01}},
    failing={{"who": ""}},
    loud={{"who": "x" * 100_000, "times": 1000}},
)


def test_a_task_greets(zqf: Flow) -> None:
    run = zqf.run({{"executor": "{executor}", "config": {{"who": "{{{{ params.who }}}}"}}, "params": {{"who": "you"}}}})
    assert run.result == {{"greeted": "you", "times": 1}}
    assert run.log == "Hello, you!\\n"
'''

README = """\
# {name}

An executor for [zquant-flow](https://pypi.org/project/zquant-flow/): what it does, in a sentence.

```sh
pip install {name}        # into the environment of the server, which finds it at its next start
zqf plugins list
```

```yaml
# tasks/hello.yaml
name: hello
executor: {executor}
config: {{who: 世界, times: 3}}
```

| field | type | default | means |
|---|---|---|---|
| `who` | text | `"world"` | who is greeted |
| `times` | number | `1` | how often |
| `pause_seconds` | seconds | `0` | between two greetings |

To work on it:

```sh
pip install -e ".[test]"
pytest
```
"""

IGNORED = """\
__pycache__/
*.egg-info/
.pytest_cache/
.venv/
dist/
"""


def files_of(*, name: str, module: str, executor: str, cls: str) -> Iterator[tuple[str, str]]:
    """The files of a package, with their text: `name` is its own, `module` what is imported, `executor` what tasks say."""
    words = {"name": name, "module": module, "executor": executor, "cls": cls}
    yield "pyproject.toml", PROJECT.format(**words)
    yield "README.md", README.format(**words)
    yield ".gitignore", IGNORED
    yield f"{module}/__init__.py", MODULE.format(**words)
    yield f"{module}/py.typed", ""
    yield f"tests/test_{module}.py", TESTS.format(**words)

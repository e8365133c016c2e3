"""What does the environment say that has to be known before there are settings?

Beside `config`, which is too heavy for the first line of a command, the only reader of the environment.
"""

from __future__ import annotations

import os
import re

from zquant_flow.wording import Language

RUNNER_MARK = "ZQUANT_FLOW_RUNNER"
"""Whose attempt a process is: the data folder. A runner that follows a killed one finds what that left by it."""


def terminal_language() -> Language:
    """The language of the terminal, found as gettext finds it: LC_ALL, LC_MESSAGES, LANG, and before them LANGUAGE.

    LANGUAGE is a list, such as `zh_CN:en`, and does not count where the locale is C (gettext's manual, "The LANGUAGE
    variable").
    """
    names = ("LC_ALL", "LC_MESSAGES", "LANG")
    locale = next((value for name in names if (value := os.environ.get(name))), "")
    if locale.partition(".")[0] in ("C", "POSIX"):
        return "en"
    for word in [*os.environ.get("LANGUAGE", "").split(":"), locale]:
        if word.lower().startswith("zh"):
            return "zh"
        if word.lower().startswith("en"):
            return "en"
    return "en"


def failpoint() -> str:
    """Where a fault test wants this process to die; empty for everyone else (`failpoints`)."""
    return os.environ.get("ZQUANT_FLOW_FAILPOINT", "")


def secret_variable(name: str) -> str:
    """The variable that may hold a secret: `db-password` -> `ZQF_SECRET_DB_PASSWORD`."""
    return f"ZQF_SECRET_{re.sub('[^0-9A-Z]', '_', name.upper())}"


def secret_in_environment(name: str) -> str | None:
    """The secret of that name, as the environment has it."""
    return os.environ.get(secret_variable(name))

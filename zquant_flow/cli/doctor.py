"""Is this machine, and this project, as a scheduler needs it? Each finding with its way out."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path

from zquant_flow.cli.findings import Finding, State
from zquant_flow.cli.language import t
from zquant_flow.cli.tables import print_table, status


def doctor(*, data: Path | None, as_json: bool, repair: bool = False) -> int:
    """Look at everything; only with `repair` something is changed. 0, or 1 where there is a problem still."""
    from zquant_flow.cli import machine_checks, project_checks
    from zquant_flow.config import settings_around

    settings = settings_around(data_dir=data)
    findings = [*machine_checks.findings(settings), *project_checks.findings(settings, mend=repair)]
    if as_json:
        sys.stdout.write(
            json.dumps({"findings": [asdict(one) for one in findings]}, ensure_ascii=False) + "\n"
        )
    else:
        _print(findings)
    return 1 if any(one.state is State.PROBLEM for one in findings) else 0


def _print(findings: Iterable[Finding]) -> None:
    findings = list(findings)
    print_table(
        [t("check"), t("state"), t("found")],
        [(one.check, status(one.state), one.detail) for one in findings],
    )
    advice = [(one.check, one.way_out) for one in findings if one.way_out and one.state is not State.OK]
    if advice:
        sys.stdout.write("\n")
        print_table([t("check"), t("way out")], advice)
    count = Counter(one.state for one in findings)
    sys.stdout.write(
        "\n"
        + t(
            "{problems} problems, {warnings} warnings",
            problems=count[State.PROBLEM],
            warnings=count[State.WARNING],
        )
        + "\n"
    )

"""How long does it take to simulate a year?"""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from tests.bench.harness import Figure, bench
from zquant_flow.core.instants import to_micros
from zquant_flow.core.model import Rule, Schedule
from zquant_flow.core.schedule import Times
from zquant_flow.core.workload import Work
from zquant_flow.engine.simulations import Facts, Simulations

BEGIN, END = datetime(2026, 1, 1, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC)


@bench
def simulated_year() -> Sequence[Figure]:
    """180 daily, 15 hourly and 5 five-minute tasks over a year, a quarter of them in a pool; the child process included."""
    times = Times(zone=ZoneInfo("Asia/Shanghai"))
    crons = [f"{number % 60} {number % 24} * * *" for number in range(180)]
    crons += [f"{number % 60} * * * *" for number in range(15)] + ["*/5 * * * *"] * 5
    works = [
        Work(
            task_id=number,
            name=f"t{number}",
            table=times.table(Schedule(rules=(Rule(cron=cron),)), BEGIN),
            usual=(60 + number) * 1_000_000,
            slow=(90 + number) * 1_000_000,
            pools=(("api", 1),) if number % 4 == 0 else (),
        )
        for number, cron in enumerate(crons)
    ]
    facts = Facts(works=works, assumed=(), idle=(), unknown=(), horizon={})
    begin = time.perf_counter()
    report = Simulations().run(facts, to_micros(BEGIN), to_micros(END) - 1, slots=10, pools={"api": 4})
    seconds = time.perf_counter() - begin
    assert sum(report.fires) == 180 * 365 + 15 * 8_760 + 5 * 105_120
    return [
        Figure(f"a year of {len(works)} tasks, {sum(report.fires):,} fires, simulated twice", seconds, "s", 5)
    ]

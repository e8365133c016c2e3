"""Estimate pi by throwing darts: one node splits the work, eight do it at the same time, one collects.

Results flow as arguments: passing what a call returned makes the later node wait for the earlier one.
"""

import random
from statistics import mean, stdev

from zquant_flow import task, workflow

PARTS = 8


@task
def split(points: int, seed: int):
    """How many darts each part throws, and its own seed."""
    return {"points": max(1, points // PARTS), "seeds": [seed + part for part in range(PARTS)]}


@task(timeout="5m", max_retries=1, retry_interval=5)
def throw(seed: int, points: int):
    """Pi, as these darts see it."""
    dice = random.Random(seed)
    inside = sum(dice.random() ** 2 + dice.random() ** 2 <= 1 for _ in range(points))
    return 4 * inside / points


@task
def collect(estimates: list):
    """The mean of all parts, and how far they are apart."""
    pi = mean(estimates)
    print(f"pi is about {pi:.4f}, from {len(estimates)} estimates")
    return {"pi": pi, "spread": stdev(estimates), "estimates": estimates}


@workflow(workflow_type="parallel", tags=["example"])
def estimate_pi(points: int = 400_000, seed: int = 1):
    """Monte Carlo in eight parallel parts."""
    work = split(points=points, seed=seed)
    parts = [
        throw(seed=work.result["seeds"][part], points=work.result["points"]).named(f"throw-{part + 1}")
        for part in range(PARTS)
    ]
    collect(estimates=parts)

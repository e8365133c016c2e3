"""The same pool from Python: whatever names `downloads` shares its two places."""

import time

from zquant_flow import task, workflow


@task(pool="downloads")
def download(what: str):
    """Stands for a call to a service that takes two at a time."""
    time.sleep(0.2)
    return what


@task
def collect(parts: list):
    return {"parts": parts}


@workflow(workflow_type="parallel", tags=["example"])
def downloads_in_a_pool():
    """Four downloads, two at a time, then what they brought."""
    names = ["bonds", "funds", "indexes", "stocks"]
    return collect([download(name).named(f"download {name}") for name in names])

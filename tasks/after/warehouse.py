"""The same by names of data: whoever produces them, this runs when all are new."""

from zquant_flow import task


@task(name="quotes-warehouse", consumes=["demo-quotes", "demo-calendar"])
def load() -> dict[str, int]:
    return {"tables": 2}

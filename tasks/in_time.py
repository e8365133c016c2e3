"""A function that starts a little later than its logical time, and is expected to end within ten minutes of it."""

from zquant_flow import current, task


@task(cron="30 3 * * *", jitter="90s", expected_within="10m")
def in_time():
    """Says for which instant it stands, whenever it starts."""
    return {"logical_time": str(current().logical_time)}

"""The same in Python: a short form for failures and recoveries."""

from zquant_flow import task


@task(notify="ops", expected_within="10m")
def told_when_this_fails():
    return "all is well"

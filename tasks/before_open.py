"""A quarter of an hour before New York opens, on its trading days; summer time and half days included."""

import os

from zquant_flow import task


@task(calendar="XNYS", at="open-15m")
def before_open():
    """Names the sessions around the one that is about to open."""
    session = os.environ.get("ZQUANT_FLOW_SESSION")
    print(f"{session or 'no session'}, before it {os.environ['ZQUANT_FLOW_PREVIOUS_SESSION']}")
    return {"session": session}

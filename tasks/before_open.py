"""A quarter of an hour before New York opens, on its trading days; summer time and half days included."""

from zquant_flow import current, task


@task(calendar="XNYS", at="open-15m")
def before_open():
    """Names the sessions around the one that is about to open."""
    session, before = current().session, current().previous_session
    print(f"{session or 'no session'}, before it {before}")
    return {"session": session and session.isoformat()}

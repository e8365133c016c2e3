"""A task that goes on where its attempt before has stopped."""

from zquant_flow import current, task


@task(max_retries=1, retry_interval=0, tags=["example"])
def checkpoint(pages: int = 10):
    """Read pages one by one. Its first attempt fails half way; the second reads only what is left."""
    state = current().state or {"read": 0, "total": 0}
    began = state["read"]
    for page in current().track(range(began, pages), "pages"):
        if current().attempt == 1 and page == pages // 2:
            raise ConnectionError(f"page {page} can't be read now")
        state = {"read": page + 1, "total": state["total"] + page}
        current().checkpoint(state)
    return {"total": state["total"], "began_at": began}

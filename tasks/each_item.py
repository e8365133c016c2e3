"""`.for_each` runs a node once for each item; its result is the list of theirs. The same in YAML: for_each.yaml"""

from zquant_flow import item, task, workflow


@task
def list_codes():
    return [{"code": "600000", "rows": 3}, {"code": "600004", "rows": 5}, {"code": "600006", "rows": 7}]


@task(isolation="thread")
def load_code(code: str, rows: int, exchange: str):
    print(f"{code}.{exchange} {rows}")
    return {"loaded": rows}


@task
def count_up(loaded: list):
    print(f"{len(loaded)} codes, the last with {loaded[-1]['loaded']} rows")


@workflow(workflow_type="parallel")
def each_item(exchange: str = "SH"):
    codes = list_codes()
    loaded = load_code(code=item["code"], rows=item["rows"], exchange=exchange).for_each(
        codes, max_parallel=2
    )
    count_up(loaded)

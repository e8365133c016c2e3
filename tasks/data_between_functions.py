"""What one function returns, others take as arguments. The same as commands: data_between_nodes.yaml"""

from zquant_flow import task, workflow


@task
def pull(limit: int):
    return {"rows": limit, "days": ["2026-01-05", "2026-01-06"]}


@task
def push(symbol: str, rows: int, days: list):
    print(f"load {rows} rows of {symbol} {', '.join(days)}")


@task
def sum_up(days: list, half: float, file: str):
    return {"half": half, "days": days, "file": file}


@workflow
def data_between_functions(symbol: str = "SYN001", limit: int = 3):
    pulled = pull(limit)
    push(symbol, pulled.result["rows"], pulled.result["days"])
    sum_up(
        days=pulled.result["days"],
        half="{{ nodes.pull.result.rows / 2 }}",  # what is worked out is written as an expression
        file="{{ params.symbol }}-{{ nodes.pull.result.days[0]|date('%Y%m%d') }}.csv",
    ).after(pulled)

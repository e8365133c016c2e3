"""Results of up to 64 MiB go from function to function: zqf tasks trigger large_results_in_python --wait"""

from zquant_flow import task, workflow


@task
def make_prices(days: int):
    return {f"day-{day:05d}": [100 + day / 10, 101 + day / 10] for day in range(days)}


@task
def highest(prices: dict):  # a worker reads the file; neither the database nor the server carries it
    return max(high for _, high in prices.values())


@task
def first(bar: list):
    return bar


@workflow(workflow_type="parallel")
def large_results_in_python(days: int = 20_000):
    prices = make_prices(days=days)
    highest(prices)
    first(prices.result["day-00000"])

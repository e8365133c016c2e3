"""A node with `.when` runs only if that is true once its turn has come. The same in YAML: conditions.yaml"""

from zquant_flow import task, workflow


@task
def new_rows(rows: int):
    return {"rows": rows}


@task
def load_rows(rows: int):
    print(f"load {rows} rows")


@task
def load_all():
    print("load all")


@task(trigger_rule="none_failed")
def tell():
    print("done")


@workflow(workflow_type="parallel")
def conditional_functions(rows: int = 3, full: bool = False):
    found = new_rows(rows)
    some = load_rows(found.result["rows"]).when("nodes.new_rows.result.rows > 0")
    everything = load_all().when(full).after(found)
    tell().after(some, everything)

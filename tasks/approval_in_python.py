"""`approval()` makes a node that waits until somebody says yes or no. The same in YAML: approval.yaml"""

from zquant_flow import approval, task, workflow


@task
def check_rows():
    return {"rows": 3}


@task
def publish_rows(answer: dict):
    print(f"published, as {answer['by']} has said")


@task(trigger_rule="any_failed")
def keep_rows():
    print("not published")


@workflow
def approval_in_python():
    checked = check_rows()
    release = approval(
        "{{ nodes.check_rows.result.rows }} rows are ready: publish them?", timeout="2d", on_timeout="reject"
    ).named("release")
    release.after(checked)
    publish_rows(release)
    keep_rows().after(release)

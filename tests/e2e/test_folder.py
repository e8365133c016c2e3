"""What happens to files that come, change and go while a server runs?"""

from __future__ import annotations

import unicodedata

from tests.e2e.serving import drop, until

SECOND = 1.0
SYNC_DAILY = """\
# tasks/daily.yaml — the smallest useful file
name: sync-daily
cron: "0 18 * * 1-5"
command: python sync_daily.py
"""
SCRIPT = """\
from pathlib import Path
Path("synced.txt").write_text("同步完成")
print("同步完成")
"""


def version_is(client, name, version):
    return until(lambda: (client.find(name) or {}).get("version") == version, f"version {version} of {name}")


def test_the_smallest_file_is_listed_and_run_within_a_second_each(server, client):
    (server.tasks / "sync_daily.py").write_text(SCRIPT, encoding="utf-8")
    drop(server.tasks / "daily.yaml", SYNC_DAILY)
    task = until(lambda: client.find("sync-daily"), "sync-daily in the list", SECOND)
    assert (task["task_type"], task["cron_expression"]) == ("common_task", "0 18 * * 1-5")
    assert (task["source"], task["version"], task["schedule_status"]) == ("daily.yaml", 1, "pending")

    found = client.ended(client.trigger("sync-daily"), SECOND)
    assert found["status"] == "success"
    assert client.log(found["id"]) == "同步完成\n"
    assert (server.tasks / "synced.txt").read_text(encoding="utf-8") == "同步完成"


def test_an_edit_is_a_new_version_and_going_back_reuses_the_old_one(server, client):
    path = server.tasks / "edited.yaml"
    one, two = ("name: edited\ncommand: echo one\n", "name: edited\ncommand: echo two\n")
    drop(path, one)
    version_is(client, "edited", 1)
    drop(path, two)
    version_is(client, "edited", 2)
    found = client.succeeded("edited")
    assert (client.log(found["id"]), found["version"]) == ("two\n", 2)
    drop(path, one)
    version_is(client, "edited", 1)
    assert client.log(client.succeeded("edited")["id"]) == "one\n"


def test_a_broken_edit_shows_its_line_and_keeps_the_last_good_version(server, client):
    path = server.tasks / "broken.yaml"
    drop(path, "name: broken\ncommand: echo good\n")
    version_is(client, "broken", 1)
    drop(path, "name: broken\ncommand: echo bad\ncron: 61 * * * *\nretires: 3\n")
    errors = until(lambda: client.load_errors("broken.yaml"), "the load errors of broken.yaml")
    assert {(error["line"], error["field"]) for error in errors} == {(3, "cron"), (4, "retires")}
    assert any("did you mean" in error["message"] for error in errors)
    assert client.find("broken")["version"] == 1
    assert client.log(client.succeeded("broken")["id"]) == "good\n"

    drop(path, "name: broken\ncommand: echo mended\n")
    until(lambda: not client.load_errors("broken.yaml"), "the errors of broken.yaml gone")
    assert client.log(client.succeeded("broken")["id"]) == "mended\n"


def test_a_python_file_that_does_not_compile_shows_its_line(server, client):
    drop(server.tasks / "no_python.py", "from zquant_flow import task\n\n@task\ndef broken(:\n    pass\n")
    (error,) = until(lambda: client.load_errors("no_python.py"), "the load error of no_python.py")
    assert (error["line"], error["code"]) == (4, "python_syntax")
    (server.tasks / "no_python.py").unlink()
    until(lambda: not client.load_errors("no_python.py"), "the error gone with its file")


def test_a_deleted_file_archives_its_task_and_the_name_brings_back_id_and_history(server, client):
    path = server.tasks / "gone.yaml"
    text = "name: gone\ncommand: echo here\n"
    drop(path, text)
    task = until(lambda: client.find("gone"), "gone in the list")
    execution = client.succeeded("gone")

    path.unlink()
    until(lambda: client.find("gone") is None, "gone out of the list")
    assert client.get(f"/tasks/{task['id']}")["archived_time"] is not None
    assert client.log(execution["id"]) == "here\n"
    client.post(f"/tasks/{task['id']}/trigger", expect=404)

    drop(path, text)
    back = until(lambda: client.find("gone"), "gone back in the list")
    assert (back["id"], back["version"], back["archived_time"]) == (task["id"], 1, None)
    history = client.get(f"/tasks/{task['id']}/executions")
    assert [found["id"] for found in history["executions"]] == [execution["id"]]


def test_an_edited_helper_reloads_the_python_task_that_imports_it(server, client):
    helper = server.tasks / "greetings" / "phrases.py"
    drop(helper, "GREETING = '早上好'\n")
    drop(
        server.tasks / "greetings" / "greet.py",
        "from phrases import GREETING\nfrom zquant_flow import task\n\n"
        "@task\ndef greet(who: str = '世界'):\n    return f'{GREETING}，{who}'\n",
    )
    version_is(client, "greet", 1)
    assert client.succeeded("greet")["result"] == "早上好，世界"
    drop(helper, "GREETING = '晚上好'\n")
    version_is(client, "greet", 2)
    assert client.succeeded("greet", who="小明")["result"] == "晚上好，小明"


def test_two_files_with_one_name_leave_the_first_and_tell_the_second(server, client):
    drop(server.tasks / "first.yaml", "name: twice\ncommand: echo first\n")
    until(lambda: client.find("twice"), "twice in the list")
    drop(server.tasks / "a-second.yaml", "name: twice\ncommand: echo second\n")
    (error,) = until(lambda: client.load_errors("a-second.yaml"), "the load error of a-second.yaml")
    assert "first.yaml" in error["message"]
    assert client.find("twice")["source"] == "first.yaml"
    assert client.log(client.succeeded("twice")["id"]) == "first\n"


def test_names_differ_by_case_and_not_by_how_an_accent_is_made(server, client):
    drop(server.tasks / "case-1.yaml", "name: Café\ncommand: echo upper\n")
    drop(server.tasks / "case-2.yaml", "name: café\ncommand: echo lower\n")
    until(lambda: client.find("Café") and client.find("café"), "both in the list")
    drop(server.tasks / "case-3.yaml", f"name: {unicodedata.normalize('NFD', 'café')}\ncommand: echo\n")
    (error,) = until(lambda: client.load_errors("case-3.yaml"), "the load error of case-3.yaml")
    assert "case-2.yaml" in error["message"]
    assert client.log(client.succeeded("café")["id"]) == "lower\n"
    assert client.log(client.succeeded("Café")["id"]) == "upper\n"


def test_the_second_file_of_a_name_is_loaded_as_soon_as_the_first_is_gone(server, client):
    drop(server.tasks / "heir-1.yaml", "name: heir\ncommand: echo first\n")
    until(lambda: client.find("heir"), "heir in the list")
    drop(server.tasks / "heir-2.yaml", "name: heir\ncommand: echo second\n")
    until(lambda: client.load_errors("heir-2.yaml"), "the load error of heir-2.yaml")
    (server.tasks / "heir-1.yaml").unlink()
    until(lambda: (client.find("heir") or {}).get("source") == "heir-2.yaml", "the name taken over", 3)
    assert client.load_errors("heir-2.yaml") == []


def test_a_template_in_a_command_stays_one_argument_whatever_is_in_it(server, client):
    drop(
        server.tasks / "template.yaml",
        "name: template\nparams: {who: 小 明}\ncommand: printf '[%s]' {{ params.who }} \"{{params.who}}!\"\n",
    )
    until(lambda: client.find("template"), "template in the list")
    assert client.log(client.succeeded("template", who="a b; $c")["id"]) == "[a b; $c][a b; $c!]"

import string
import time
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import jsonschema_rs
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, SecretStr, field_validator

from zquant_flow.core.model import (
    Action,
    Backoff,
    Catchup,
    Isolation,
    Overlap,
    RetryPolicy,
    Rule,
    TaskType,
    decode,
    encode,
)
from zquant_flow.definitions.forms import NodeForm, TaskForm
from zquant_flow.definitions.schema import DefinitionErrors, json_schema, parse_definition
from zquant_flow.executors.installed import built_in


class Http(BaseModel):
    model_config = ConfigDict(extra="forbid")
    url: str
    retries: int = 1
    token: SecretStr | None = None
    timeout_seconds: int | None = None

    @field_validator("url")
    @classmethod
    def _known(cls, value: str) -> str:
        if value == "boom":
            raise RuntimeError("the plugin is broken")
        if not value.startswith("http"):
            raise ValueError("a url starts with http")
        return value


EXECUTORS = {"command": None, "python": None, "example": None, "http": Http}


def parse(origin="file", **raw):
    return parse_definition(raw, origin=origin, executors=EXECUTORS, default_zone=ZoneInfo("UTC"))


def task(origin="file", **raw):
    return parse(origin, **raw).task


def faults(origin="file", **raw):
    with pytest.raises(DefinitionErrors) as caught:
        parse(origin, **raw)
    return {error.field: (error.code, error.message) for error in caught.value.errors}


def test_the_smallest_useful_task():
    made = task(name="sync-daily", cron="0 18 * * 1-5", command="python sync_daily.py")
    assert made.name == "sync-daily"
    assert made.task_type is TaskType.COMMON
    assert made.schedule.rules == (Rule(cron="0 18 * * 1-5"),)
    assert made.action == Action(
        executor="command", config={"command": "python sync_daily.py", "shell": None}
    )
    assert made.action.timeout == timedelta(hours=1)


def test_every_word_of_a_task_arrives():
    made = task(
        name="t",
        description="d",
        tags=["a", "b", "a"],
        interval="5m",
        timezone="Asia/Shanghai",
        start_at="2026-01-01 09:30",
        end_at="2027-01-01T00:00:00Z",
        catchup="all",
        catchup_limit=5,
        misfire_grace_time="10m",
        overlap="queue",
        enabled=False,
        params={"symbol": "ALL", "nothing": None},
        command=["echo", 1, True],
        env={"PORT": 8080, "DEBUG": True},
        working_dir="/data",
        timeout="none",
        max_retries=2,
        retry_interval="30s",
        retry_backoff={"factor": 3, "cap": "1h", "jitter": 0.1},
        priority=-3,
        isolation="thread",
    )
    assert made.tags == ("a", "b")
    assert made.schedule.start_at == datetime(2026, 1, 1, 1, 30, tzinfo=UTC)
    assert made.schedule.end_at == datetime(2027, 1, 1, tzinfo=UTC)
    assert made.schedule.catchup is Catchup.ALL
    assert made.schedule.catchup_limit == 5
    assert made.schedule.misfire_grace == timedelta(minutes=10)
    assert made.overlap is Overlap.QUEUE
    assert not made.enabled
    assert made.params == {"symbol": "ALL", "nothing": None}
    assert made.action == Action(
        executor="command",
        config={"command": ["echo", "1", "true"], "shell": None},
        env={"PORT": "8080", "DEBUG": "true"},
        working_dir="/data",
        timeout=None,
        retry=RetryPolicy(
            max_retries=2,
            interval=timedelta(seconds=30),
            backoff=Backoff(factor=3.0, cap=timedelta(hours=1), jitter=0.1),
        ),
        priority=-3,
        isolation=Isolation.THREAD,
    )
    assert decode(encode(made)) == made


def test_the_task_type_is_inferred():
    assert task(name="a", command="x").task_type is TaskType.MANUAL
    assert task(name="a", command="x", interval=60).task_type is TaskType.COMMON
    assert task(name="a", tasks=[{"name": "n", "command": "x"}]).task_type is TaskType.WORKFLOW


def test_all_faults_are_told_at_once():
    found = faults(cronn="x", command=5, timeout="5 parsecs", cron="61 * * * *", max_retries=-1, name="")
    assert {field: code for field, (code, _) in found.items()} == {
        "name": "invalid_value",
        "cronn": "unknown_key",
        "command": "invalid_value",
        "timeout": "invalid_value",
        "cron": "invalid_schedule",
        "max_retries": "invalid_value",
    }


def test_a_mapping_with_more_keys_than_anyone_writes_is_one_fault():
    keys = {f"k{number}": 1 for number in range(300)}
    assert faults(**keys)[""][0] == "too_many_keys"
    assert faults(name="a", tasks=[{"name": "n"}, keys])["tasks.1"][0] == "too_many_keys"
    assert task(name="a", command="x", params=keys).params == keys


def test_an_unknown_key_is_refused_with_the_nearest_known_one():
    assert faults(name="a", command="x", dependancies=[])["dependancies"][0] == "unknown_key"
    assert (
        "did you mean 'retry_interval'?"
        in faults(name="a", command="x", retry_intervall=5)["retry_intervall"][1]
    )


@pytest.mark.parametrize(
    ("words", "field"),
    [
        ({"cron": "* * * * *", "interval": 5}, "interval"),
        ({"interval": 5, "run_at": "2026-01-01"}, "run_at"),
        ({"cron": "* * * * *", "schedules": [{"interval": 5}]}, "schedules"),
        ({"cron": "* * * * *", "cron_expression": "* * * * *"}, "cron_expression"),
        ({"schedules": [{"cron": "* * * * *", "interval": 5}]}, "schedules.0"),
    ],
)
def test_a_task_has_one_kind_of_schedule(words, field):
    assert faults(name="a", command="x", **words)[field][0] == "conflict"


def test_several_rules_stand_in_schedules():
    made = task(
        name="a", command="x", schedules=[{"cron": "0 9 * * *"}, {"interval": "1h"}, {"run_at": "2026-01-01"}]
    )
    assert made.schedule.rules == (
        Rule(cron="0 9 * * *"),
        Rule(interval=timedelta(hours=1)),
        Rule(run_at=datetime(2026, 1, 1, tzinfo=UTC)),
    )


@pytest.mark.parametrize(
    ("words", "field", "said"),
    [
        ({"cron": "0 0 30 2 *"}, "cron", "never fires"),
        ({"cron": "nonsense"}, "cron", "cron"),
        ({"schedules": [{"interval": 60}, {"cron": "99 * * * *"}]}, "schedules.1.cron", "99"),
        ({"cron": "* * * * *", "timezone": "Asia/Shangai"}, "timezone", "did you mean 'Asia/Shanghai'?"),
        ({"cron": "* * * * *", "timezone": "America"}, "timezone", "unknown time zone"),
        ({"cron": "* * * * *", "timezone": "../../etc/passwd"}, "timezone", "unknown time zone"),
        ({"cron": 5}, "cron", "must be text"),
        ({"interval": 0}, "interval", "at least 1 second"),
        ({"interval": "0.5s"}, "interval", "at least 1 second"),
        ({"run_at": "tomorrow"}, "run_at", "no instant"),
        ({"run_at": "0001-01-01T00:00+14:00"}, "run_at", "out of range"),
        ({"interval": 5, "start_at": "2027-01-01", "end_at": "2026-01-01"}, "end_at", "before start_at"),
        ({"catchup": "all"}, "catchup", "this task has none"),
        ({"schedules": []}, "schedules", "must not be empty"),
        ({"schedules": [{}]}, "schedules.0", "exactly one"),
    ],
)
def test_a_schedule_that_can_not_be_meant_is_refused(words, field, said):
    assert said in faults(name="a", command="x", **words)[field][1]


def test_a_manual_task_has_no_schedule():
    assert faults(name="a", command="x", task_type="manual_task", cron="* * * * *")["cron"][0] == "conflict"
    assert (
        faults("rest", name="a", task_type="manual_task", interval_seconds=5)["interval_seconds"][0]
        == "conflict"
    )


def test_an_instant_without_offset_is_in_the_zone_of_the_task_or_of_the_installation():
    here = parse_definition(
        {"name": "a", "command": "x", "run_at": "2026-01-01 08:00"},
        origin="file",
        executors=EXECUTORS,
        default_zone=ZoneInfo("Asia/Shanghai"),
    ).task
    assert here.schedule.rules[0].run_at == datetime(2026, 1, 1, tzinfo=UTC)


def test_names_are_normalised_and_may_hold_anything_but_control_characters():
    assert task(name="cafe\u0301", command="x").name == "caf\u00e9"
    name = "STEP1-同步交易日历（当日）-命令执行 <b>\u202e🚀"
    assert task(name=name, command="x").name == name
    assert task(name="x" * 100, command="x")
    for bad in ("", "x" * 101, "a\nb", "a\x7f", "\x00", "a\u0085", 5, None, ["a"]):
        assert "name" in faults(name=bad, command="x")


def test_the_name_can_come_from_the_file():
    made = parse_definition({"command": "x"}, origin="file", executors=EXECUTORS, default_name="daily").task
    assert made.name == "daily"
    assert faults(command="x")["name"] == ("missing", "'name' is missing")


@pytest.mark.parametrize(
    "command",
    [
        "echo {{ params.symbol }} | cat",
        'sh -c "echo $HOME {{ params.symbol }}"',
        "cat {{ params.symbol }} > out",
        "a {{ params.symbol }}\nb",
    ],
)
def test_a_template_in_a_shell_command_is_refused_and_the_way_out_is_named(command):
    code, message = faults(name="a", command=command)["command"]
    assert code == "template_in_shell"
    assert '"$ZQF_PARAM_SYMBOL"' in message


@pytest.mark.parametrize(
    "command",
    ["echo {{ params.x | upper }}", "echo '{{ params.a }}' \"|\"", ["sh", "-c", "echo {{ params.x }} | cat"]],
)
def test_a_template_where_no_shell_reads_it_is_fine(command):
    made = task(name="a", command=command, params={"x": "X", "a": "A"})
    assert made.action.config["command"] == command


def test_commands_that_can_not_run_are_refused():
    assert "No closing quotation" in faults(name="a", command="echo 'a")["command"][1]
    assert "`shell` is false" in faults(name="a", command="a | b", shell=False)["command"][1]
    assert task(name="a", command="a | b", shell="/bin/bash").action.config["shell"] == "/bin/bash"
    assert "shell" in faults(name="a", command="a", shell="bash")
    assert "command" in faults(name="a", command=[])
    assert "command" in faults(name="a", command="  ")


def test_python_names_a_module_and_a_function_beside_the_file():
    made = parse_definition(
        {"name": "a", "python": "reports.daily:run"}, origin="file", executors=EXECUTORS, folder="cn"
    ).task
    assert made.action.executor == "python"
    assert made.action.config == {"module": "reports.daily", "function": "run", "folder": "cn"}
    for bad in ("reports", "a:b:c", ":f", "m:", "../m:f", "m:f()", 5):
        assert "python" in faults(name="a", python=bad)
    assert faults(name="a", python="a:b", command="x")["python"][0] == "conflict"


def test_a_plugins_config_is_checked_by_its_model_and_kept_as_written():
    made = task(name="a", executor="http", config={"url": "http://x", "token": "s3cret"})
    assert made.action.config == {"url": "http://x", "token": "s3cret"}
    found = faults(name="a", executor="http", config={"ur": 1, "retries": "x"})
    assert found["config.url"][0] == "missing"
    assert found["config.retries"][1] == "'retries' must be a whole number"
    assert "did you mean 'url'?" in found["config.ur"][1]
    assert found.keys() == {"config.url", "config.retries", "config.ur"}
    assert "a url starts with http" in faults(name="a", executor="http", config={"url": "x"})["config.url"][1]
    assert "the plugin is broken" in faults(name="a", executor="http", config={"url": "boom"})["config"][1]
    assert "did you mean 'http'?" in faults(name="a", executor="htp")["executor"][1]
    assert "known are command, example, http, python" in faults(name="a", executor="zzz")["executor"][1]


def test_nothing_to_run_is_an_error_in_a_file():
    assert faults(name="a", cron="* * * * *")[""][0] == "nothing_to_run"
    assert faults(name="a", tasks=[])["tasks"][0] == "nothing_to_run"


def test_a_key_without_a_value_is_asked_about_in_a_file():
    found = faults(name="a", command="x", cron=None, timeout=None)
    assert found["cron"] == ("empty", "'cron' has no value: give it one, or leave it out")
    assert "`none` lifts it" in found["timeout"][1]


def test_values_that_json_can_not_hold_are_refused_where_they_stand():
    found = faults(
        name="a",
        command="x",
        description="a\x00b",
        params={"nan": float("nan"), "set": {1}, "half": "\ud800", "deep": {1: 2}, "list": [1, float("inf")]},
    )
    assert {field for field, (code, _) in found.items() if code == "not_json"} == {
        *("description", "params.nan", "params.set", "params.half", "params.deep.1", "params.list.1"),
    }


def test_what_python_authors_write_becomes_plain():
    made = task(
        name="a",
        command=("echo", "x"),
        run_at=datetime(2026, 1, 1, tzinfo=UTC),
        timeout=timedelta(minutes=5),
        params={"day": date(2026, 1, 2), "pair": (1, 2), "overlap": Overlap.SKIP},
    )
    assert made.action.timeout == timedelta(minutes=5)
    assert made.schedule.rules[0].run_at == datetime(2026, 1, 1, tzinfo=UTC)
    assert made.params == {"day": "2026-01-02", "pair": [1, 2], "overlap": "skip"}


def test_a_value_that_is_too_deep_is_refused():
    deep = []
    for _ in range(5_000):
        deep = [deep]
    assert (
        "levels deep" in next(iter(faults("rest", name="a", command="x", params={"deep": deep}).values()))[1]
    )


# The origin's REST bodies


def test_the_bodies_of_the_origin_are_the_same_schema_in_other_clothes():
    made = task(
        "rest",
        name="任务名称",
        task_type="common_task",
        cron_expression="0 18 * * *",
        interval_seconds=None,
        description="任务描述",
        config={"command": "python script.py", "timeout_seconds": 60},
        max_retries=None,
        retry_interval=60,
        enabled=True,
    )
    assert made.schedule.rules == (Rule(cron="0 18 * * *"),)
    assert made.action.config["command"] == "python script.py"
    assert made.action.timeout == timedelta(seconds=60)
    assert made.action.retry.max_retries == 3


def test_an_empty_config_is_accepted_over_rest_with_a_warning():
    parsed = parse("rest", name="a", task_type="common_task", cron_expression="0 18 * * *", config={})
    assert parsed.warnings == ("nothing_to_run",)
    assert parsed.task.action is None
    parsed = parse("rest", name="a", task_type="common_task", config={"command": "x"})
    assert parsed.warnings == ("schedule_missing",)
    assert parse("rest", name="a", task_type="workflow", config={}).warnings == ("nothing_to_run",)


def test_the_file_that_rest_writes_of_an_empty_config_is_read_again():
    parsed = parse(name="a", task_type="common_task", cron="0 18 * * *", config={})
    assert parsed.warnings == ("nothing_to_run",)


def test_a_task_action_is_an_executors_name():
    made = task("rest", name="a", config={"task_action": "http", "url": "http://x", "timeout_seconds": 5})
    assert made.action.executor == "http"
    assert made.action.config == {
        "url": "http://x",
        "timeout_seconds": 5,
    }  # the plugin has a field of that name
    made = task("rest", name="a", config={"task_action": "example", "timeout_seconds": 5, "steps": 3})
    assert made.action.config == {"steps": 3}
    assert made.action.timeout == timedelta(seconds=5)


def test_errors_speak_of_the_body_as_it_was_written():
    found = faults(
        "rest",
        name="a",
        cron_expression="99 * * * *",
        config={"command": "echo {{ params.a }} > x", "timeout_seconds": -1, "comand": "x"},
    )
    assert found.keys() == {"cron_expression", "config.command", "config.timeout_seconds", "config.comand"}
    assert (
        faults("rest", name="a", config={"task_action": "nope"})["config.task_action"][0]
        == "unknown_executor"
    )


# Speed, and any input


def test_a_small_task_is_parsed_in_microseconds():
    raw = {"name": "sync-daily", "cron": "0 18 * * 1-5", "command": "python sync_daily.py"}
    best = min(_seconds_for(raw) for _ in range(5))
    assert best < 500e-6  # 36 µs alone on the machine; a loose bound, as tests share it


def _seconds_for(raw):
    start = time.perf_counter()
    for _ in range(100):
        parse_definition(raw, origin="file", executors=EXECUTORS)
    return (time.perf_counter() - start) / 100


anything = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=20)
    | st.sampled_from(["5m", "x", "none", "a:b"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(list(NodeForm.model_fields)), inner, max_size=4)
    ),
    max_leaves=10,
)
keys = st.sampled_from([*TaskForm.model_fields, "cron_expression", "interval_seconds", "id"])


@settings(max_examples=300, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(st.dictionaries(keys, anything, max_size=8), st.sampled_from(["file", "rest"]))
def test_any_mapping_gives_a_definition_or_its_faults(raw, origin):
    found = outcome(raw, origin)
    if isinstance(found, DefinitionErrors):
        assert found.errors
        assert all(error.message and error.code for error in found.errors)
    else:
        assert decode(encode(found.task)) == found.task


def outcome(raw, origin):
    try:
        return parse_definition(raw, origin=origin, executors=EXECUTORS)
    except DefinitionErrors as exc:
        return exc


good = st.fixed_dictionaries(
    {
        "name": st.text(alphabet=string.printable[:95] + "日历", min_size=1, max_size=100),
        "command": st.just("python x.py"),
    },
    optional={
        "description": st.text(alphabet=st.characters(codec="utf-8", exclude_characters="\0"), max_size=50),
        "tags": st.lists(st.sampled_from(["a", "b", "日"]), max_size=3),
        "interval": st.integers(1, 10**6),
        "catchup_limit": st.integers(1, 10_000),
        "overlap": st.sampled_from(list(Overlap)).map(str),
        "params": st.dictionaries(
            st.sampled_from(["a", "b"]), st.integers() | st.text(alphabet="ab日", max_size=5)
        ),
        "timeout": st.sampled_from(["none", "5m", 7, 0.5]),
        "max_retries": st.integers(0, 10_000),
        "retry_backoff": st.sampled_from([1, 2.5, {"cap": "1h"}]),
        "priority": st.integers(-100, 100),
    },
)


@given(good.filter(lambda raw: "catchup_limit" not in raw or "interval" in raw))
def test_a_valid_definition_survives_the_database(raw):
    made = parse_definition(raw, origin="file", executors=EXECUTORS).task
    assert decode(encode(made)) == made


def test_the_schema_for_editors_knows_every_word_of_a_file():
    schema = json_schema()
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert schema["properties"].keys() == TaskForm.model_fields.keys()
    assert schema["additionalProperties"] is False
    assert schema["required"] == ["name"]
    assert '"null"' not in str(schema)


def test_the_schema_for_editors_knows_what_each_executor_takes():
    schema = json_schema(built_in().configs)
    check = jsonschema_rs.Draft202012Validator(schema).is_valid
    for form in ({"name": "a"}, {"name": "a", "tasks": [{"name": "b"}]}):
        where = form["tasks"][0] if "tasks" in form else form
        where |= {"executor": "example", "config": {"steps": 3}}
        assert check(form)
        where["config"] = {"steps": "{{ params.n }}"}
        assert check(form)
        where["config"] = {"steps": "many"}
        assert not check(form)
        where["config"] = {"unknown": 1}
        assert not check(form)
        where |= {"executor": "of-a-plugin-that-is-not-here"}
        assert check(form)
    assert '"null"' not in str(schema)


def test_max_active_runs_has_no_meaning_where_overlap_allows_all():
    assert task(name="a", command="x", max_active_runs=3).max_active_runs == 3
    assert (
        faults(name="a", command="x", max_active_runs=3, overlap="allow")["max_active_runs"][0] == "conflict"
    )
    assert faults(name="a", command="x", max_active_runs=0)["max_active_runs"][0] == "invalid_value"

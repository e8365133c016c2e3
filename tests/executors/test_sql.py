"""Statements on real databases: what comes back, what is checked, what is taken back."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from pydantic import ValidationError

from tests.databases import KINDS, fresh_database
from tests.runner.client import Runner
from tests.runner.waiting import until
from zquant_flow.executors.context import Context
from zquant_flow.executors.failure import Failure
from zquant_flow.executors.sql import SqlExecutor
from zquant_flow.executors.sql_config import SqlConfig
from zquant_flow.executors.sql_values import plain

THREE = "SELECT 1 AS n, 'a' AS word UNION ALL SELECT 2, 'b' UNION ALL SELECT 3, '中'"
FOREVER = "WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r) SELECT max(n) FROM r"


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'market.db'}"


def sql(url: str | None, *statements: str, **config: Any) -> Any:
    made = SqlConfig.model_validate({"url": url, "statements": list(statements), **config})
    return SqlExecutor().run(Context({}), made)


def failure(url: str | None, *statements: str, **config: Any) -> tuple[str, str]:
    with pytest.raises(Failure) as caught:
        sql(url, *statements, **config)
    return caught.value.code, str(caught.value)


@pytest.mark.parametrize("kind", KINDS)
def test_statements_run_in_one_transaction_and_the_last_rows_are_the_result(
    tmp_path: Path, kind: str
) -> None:
    with fresh_database(kind, tmp_path) as url:
        found = sql(
            url,
            "CREATE TABLE bars (symbol TEXT, close NUMERIC(10, 2), day DATE)",
            "INSERT INTO bars VALUES (:symbol, 12.5, :day)",
            "SELECT symbol, count(*) AS n FROM bars WHERE symbol IN :symbols GROUP BY symbol",
            parameters={"symbol": "SH'; DROP", "day": "2026-01-05", "symbols": ["SH'; DROP", "x"]},
        )
        assert found == {"columns": ["symbol", "n"], "rows": [["SH'; DROP", 1]], "row_count": 1}
        assert sql(url, "UPDATE bars SET close = 1") == {"row_count": 1}
        code, text = failure(url, "DELETE FROM bars", "SELECT * FROM nothing_there")
        assert code == "sql_failed"
        assert text.startswith("statement 2: ")
        assert "nothing_there" in text
        file = tmp_path / "bars.csv"
        assert sql(url, "SELECT symbol FROM bars", to=str(file))["row_count"] == 1
        assert file.read_text() == "symbol\nSH'; DROP\n"


def test_what_is_beyond_the_limit_is_not_read(url: str) -> None:
    assert sql(url, THREE, limit=2) == {
        "columns": ["n", "word"],
        "rows": [[1, "a"], [2, "b"]],
        "row_count": 3,
        "more": True,
    }
    assert sql(url, THREE, limit=3)["rows"][-1] == [3, "中"]
    assert sql(url, THREE, limit=0, max_rows=3) == {
        "columns": ["n", "word"],
        "rows": [],
        "row_count": 3,
        "more": True,
    }
    assert "more" not in sql(url, THREE, limit=3)


def test_checks_fail_with_what_was_found_and_take_back_what_was_done(url: str) -> None:
    sql(url, "CREATE TABLE t (n INTEGER)", "INSERT INTO t VALUES (1)")
    assert failure(url, THREE, min_rows=4) == ("check_failed", "3 rows, at least 4 are expected")
    assert failure(url, THREE, max_rows=2) == ("check_failed", "over 2 rows, at most 2 are expected")
    assert failure(url, "DELETE FROM t", "SELECT count(*) FROM t", expect=1) == (
        "check_failed",
        "0 was found, 1 is expected",
    )
    assert sql(url, "SELECT n FROM t", expect=1, min_rows=1, max_rows=1)["row_count"] == 1
    assert sql(url, THREE, expect=[[1, "a"], [2, "b"], [3, "中"]])["row_count"] == 3
    assert failure(url, "SELECT n FROM t WHERE n > 1", expect=1)[1] == "None was found, 1 is expected"


def test_with_autocommit_what_came_before_a_failure_stays(url: str) -> None:
    assert failure(url, "CREATE TABLE t (n INTEGER)", "SELECT x", autocommit=True)[0] == "sql_failed"
    assert sql(url, "SELECT count(*) FROM t")["rows"] == [[0]]


def test_rows_go_into_a_file_that_is_whole_or_not_there(url: str, tmp_path: Path) -> None:
    file = tmp_path / "out" / "rows.csv"
    assert sql(url, THREE, to=str(file)) == {"columns": ["n", "word"], "file": str(file), "row_count": 3}
    assert file.read_text(encoding="utf-8") == "n,word\n1,a\n2,b\n3,中\n"
    assert failure(url, "SELECT 5 AS n", to=str(file), min_rows=9)[0] == "check_failed"
    assert file.read_text(encoding="utf-8").startswith("n,word\n1,a\n")
    assert [path.name for path in file.parent.iterdir()] == ["rows.csv"]
    (tmp_path / "plain").write_text("")
    assert "can't be written: " in failure(url, THREE, to=str(tmp_path / "plain" / "rows.csv"))[1]


def test_rows_go_into_parquet_with_their_types(url: str, tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet", reason="pyarrow is not installed (extra parquet)")
    file = tmp_path / "rows.parquet"
    assert sql(url, "SELECT 1 AS n, 'a' AS word, NULL AS empty", to=str(file))["row_count"] == 1
    assert parquet.read_table(file).to_pylist() == [{"n": 1, "word": "a", "empty": None}]
    assert sql(url, "SELECT 1 AS n WHERE 1 = 0", to=str(file))["row_count"] == 0
    assert parquet.read_table(file).column_names == ["n"]
    mixed = "SELECT 1 AS n UNION ALL SELECT 'a'"
    assert failure(url, mixed, to=str(file))[1].startswith("column 'n' has values of several types")
    assert "different names" in failure(url, "SELECT 1 AS n, 2 AS n", to=str(file))[1]


def test_without_pyarrow_the_line_that_installs_it_is_told(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    code, text = failure(url, THREE, to=str(tmp_path / "rows.parquet"))
    assert (code, text.partition(": ")[2]) == ("extra_missing", 'pip install "zquant-flow[parquet]"')


def test_values_have_a_form_in_json() -> None:
    values = [
        (Decimal("12.50"), "12.50"),
        (Decimal("1E+3"), "1000"),
        (date(2026, 1, 5), "2026-01-05"),
        (datetime(2026, 1, 5, 9, tzinfo=UTC), "2026-01-05T09:00:00+00:00"),
        (time(9, 30), "09:30:00"),
        (timedelta(minutes=1), 60.0),
        (b"\x00\xff", "AP8="),
        (float("nan"), None),
        (UUID(int=5), "00000000-0000-0000-0000-000000000005"),
        ({"a": [Decimal(1), None]}, {"a": ["1", None]}),
        (True, True),
    ]
    assert [plain(value) for value, _ in values] == [told for _, told in values]


def test_the_url_comes_from_a_variable_and_its_password_is_told_to_nobody(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MARKET_URL", url)
    config = {"url_env": "MARKET_URL"}
    assert sql(None, "SELECT 1 AS n", **config)["rows"] == [[1]]
    monkeypatch.setenv(
        "MARKET_URL", "postgresql+psycopg://me:geheim@127.0.0.1:1/market?application_name=geheim"
    )
    code, text = failure(None, "SELECT 1", **config)
    assert (code, "geheim" in text) == ("sql_failed", False)
    assert text.startswith("postgresql+psycopg://127.0.0.1:1/market: ")
    monkeypatch.delenv("MARKET_URL")
    assert failure(None, "SELECT 1", **config) == ("sql_failed", "the variable MARKET_URL is not set")


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("no url geheim", "the url is none of a database"),
        ("nosuch://me:geheim@host/x", "there is no database 'nosuch'"),
        ("mysql+pymysql://me:geheim@host/x", "the driver pymysql of mysql+pymysql is not installed"),
    ],
)
def test_a_database_that_nobody_knows_is_named(url: str, words: str) -> None:
    text = failure(url, "SELECT 1")[1]
    assert words in text
    assert "geheim" not in text


def test_a_parameter_that_is_missing_is_named_and_its_value_told_to_nobody(url: str) -> None:
    assert "'day'" in failure(url, "SELECT :day", parameters={"other": 1})[1]
    assert "geheim" not in failure(url, "SELECT :a FROM nowhere", parameters={"a": "geheim"})[1]


@pytest.mark.parametrize("isolation", ["process", "thread"])
def test_terminate_ends_a_statement_that_runs(url: str, tmp_path: Path, isolation: str) -> None:
    sql(url, "CREATE TABLE t (n INTEGER)")
    statements = ["INSERT INTO t VALUES (1)", FOREVER]
    runner = Runner(tmp_path)
    client = runner.client()
    try:
        client.start(
            1,
            executor="sql",
            entry=SqlExecutor.entry(),
            config={"url": url, "statements": statements},
            isolation=isolation,
        )
        until((tmp_path / "market.db-journal").exists, what="the insert")
        client.send(op="terminate", id=1, attempt=1, kind="terminated", grace=30)
        outcome = client.wait(1)
    finally:
        client.close()
        runner.end()
    assert (outcome["kind"], outcome.get("signal")) == ("terminated", None)
    assert sql(url, "SELECT count(*) FROM t")["rows"] == [[0]]


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"statements": "SELECT 1"}, "one of url and url_env"),
        ({"url": "x", "url_env": "X", "statements": "SELECT 1"}, "one of url and url_env"),
        ({"url": "x", "statements": []}, "statements"),
        ({"url": "x", "statements": "SELECT 1", "to": "rows.xls"}, "ends in .csv or .parquet"),
        ({"url": "x", "statements": "SELECT 1", "to": "r.csv", "expect": 1}, "expect goes without to"),
    ],
)
def test_what_can_not_be_is_refused_when_the_file_is_loaded(config: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        SqlConfig.model_validate(config)


def test_results_are_json(url: str) -> None:
    json.dumps(sql(url, "SELECT x'00ff' AS raw, 1.5 AS half, NULL AS empty"))

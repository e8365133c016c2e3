"""The six steps of nightly.yaml. Each takes the params of the workflow that it names, and returns what it did."""

import csv
import math
from datetime import date
from itertools import pairwise
from pathlib import Path
from statistics import fmean, stdev

from warehouse import open_warehouse, replace, symbols

from zquant_flow import current

SESSIONS_A_YEAR = 244
PRICES = ("open", "high", "low", "close")
DATA = Path("data")  # a task runs in the folder of its file


def sync_calendar(output: str, start: str, end: str):
    """STEP1: the trading sessions of the Shanghai exchange."""
    import exchange_calendars  # half a second, paid by this step only

    calendar = exchange_calendars.get_calendar("XSHG", start=start, end=end)
    days = [session.date().isoformat() for session in calendar.sessions]
    with open_warehouse(output) as database:
        database.execute("DELETE FROM sessions WHERE day BETWEEN ? AND ?", (start, end))
        replace(database, "sessions", [(day,) for day in days])
    print(f"XSHG: {len(days)} sessions, {days[0]} to {days[-1]}")
    return {"sessions": len(days), "first": days[0], "last": days[-1]}


def load_stocks(output: str):
    """STEP2: the list of stocks."""
    with open(DATA / "stocks.csv", encoding="utf-8", newline="") as file:
        rows = [(row["symbol"], row["name"], row["industry"]) for row in csv.DictReader(file)]
    with open_warehouse(output) as database:
        return {"stocks": replace(database, "stocks", rows)}


def load_daily_bars(output: str, start: str, end: str):
    """STEP3: daily bars, of listed stocks and trading sessions only."""
    with open(DATA / "daily_bars.csv", encoding="utf-8", newline="") as file:
        lines = [line for line in csv.DictReader(file) if start <= line["day"] <= end]
    with open_warehouse(output) as database:
        sessions = {day for (day,) in database.execute("SELECT day FROM sessions")}
        listed = set(symbols(database))
        bars = [
            (line["symbol"], line["day"], *(float(line[key]) for key in PRICES), int(line["volume"]))
            for line in current().track(lines, "bars")
            if line["day"] in sessions and line["symbol"] in listed
        ]
        loaded = replace(database, "bars", bars)
    print(f"{loaded} bars loaded, {len(lines) - loaded} passed over: no session that day")
    return {"rows": loaded, "passed_over": len(lines) - loaded}


def compute_daily_basics(output: str):
    """STEP4: each day's change and amplitude, as a share of the close before."""
    with open_warehouse(output) as database:
        rows = []
        for symbol in current().track(symbols(database), "stocks"):
            bars = database.execute(
                "SELECT day, high, low, close FROM bars WHERE symbol = ? ORDER BY day", (symbol,)
            ).fetchall()
            for (*_, before), (day, high, low, close) in pairwise(bars):
                rows.append((symbol, day, close / before - 1, (high - low) / before))
        return {"rows": replace(database, "basics", rows)}


def compute_factors(output: str):
    """STEP5: moving averages of 5 and 20 sessions, momentum and yearly volatility over 20."""
    with open_warehouse(output) as database:
        rows = []
        for symbol in current().track(symbols(database), "stocks"):
            found = database.execute(
                "SELECT day, close, change FROM bars JOIN basics USING (symbol, day) WHERE symbol = ? ORDER BY day",
                (symbol,),
            ).fetchall()
            for last in range(20, len(found)):
                window = found[last - 19 : last + 1]
                closes, changes = [row[1] for row in window], [row[2] for row in window]
                momentum = closes[-1] / found[last - 20][1] - 1
                volatility = stdev(changes) * math.sqrt(SESSIONS_A_YEAR)
                rows.append((symbol, found[last][0], fmean(closes[-5:]), fmean(closes), momentum, volatility))
        return {"rows": replace(database, "factors", rows)}


def write_report(output: str, start: str, end: str):
    """STEP6: one line for each stock, as Markdown for people and CSV for programs."""
    with open_warehouse(output) as database:
        lines = [line for symbol in symbols(database) if (line := _statistics(database, symbol, start, end))]
    if not lines:
        raise ValueError(f"there are no bars between {start} and {end}")
    lines.sort(key=lambda line: line["return"], reverse=True)
    folder = Path(output)
    with open(folder / "report.csv", "w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, lines[0].keys())
        writer.writeheader()
        writer.writerows(lines)
    (folder / "report.md").write_text(_markdown(lines, start, end), encoding="utf-8")
    print(f"report of {len(lines)} stocks in {folder.resolve()}")
    return {"stocks": len(lines), "best": lines[0]["symbol"], "report": str(folder.resolve() / "report.md")}


def _statistics(database, symbol: str, start: str, end: str):
    bars = database.execute(
        "SELECT name, industry, close, change FROM bars JOIN stocks USING (symbol) LEFT JOIN basics USING (symbol, day) "
        "WHERE symbol = ? AND day BETWEEN ? AND ? ORDER BY day",
        (symbol, start, end),
    ).fetchall()
    if len(bars) < 3:
        return None
    closes = [bar[2] for bar in bars]
    changes = [bar[3] for bar in bars if bar[3] is not None]
    ma20 = database.execute(
        "SELECT ma20 FROM factors WHERE symbol = ? AND day <= ? ORDER BY day DESC LIMIT 1", (symbol, end)
    ).fetchone()
    return {
        "symbol": symbol,
        "name": bars[0][0],
        "industry": bars[0][1],
        "sessions": len(bars),
        "return": round(closes[-1] / closes[0] - 1, 4),
        "volatility": round(stdev(changes) * math.sqrt(SESSIONS_A_YEAR), 4),
        "max_drawdown": round(_max_drawdown(closes), 4),
        "above_ma20": bool(ma20 and closes[-1] > ma20[0]),
    }


def _max_drawdown(closes: list[float]) -> float:
    """The deepest fall from a high before it, as a share of that high."""
    peak, deepest = closes[0], 0.0
    for close in closes:
        peak = max(peak, close)
        deepest = max(deepest, 1 - close / peak)
    return deepest


def _markdown(lines: list, start: str, end: str) -> str:
    rows = [
        f"| {line['symbol']} | {line['name']} | {line['industry']} | {line['return']:+.1%} | {line['volatility']:.1%} "
        f"| {line['max_drawdown']:.1%} | {'是' if line['above_ma20'] else '否'} |"
        for line in lines
    ]
    return "\n".join(
        [
            f"# 行情统计 {date.fromisoformat(start):%Y-%m-%d} — {date.fromisoformat(end):%Y-%m-%d}",
            "",
            f"{len(lines)} 只股票，{max(line['sessions'] for line in lines)} 个交易日。样例数据，并非真实行情。",
            "",
            "| 代码 | 名称 | 行业 | 区间涨跌 | 年化波动 | 最大回撤 | 高于 MA20 |",
            "|---|---|---|---:|---:|---:|---|",
            *rows,
            "",
        ]
    )

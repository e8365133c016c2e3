"""How stocks.csv and daily_bars.csv beside this script were made: a random walk from a fixed seed, no real market data.

Bars stand on every weekday of 2025, holidays too: the pipeline is to leave those out. Run it again, the files stay the same.
"""

import csv
import random
from datetime import date, timedelta
from pathlib import Path

HERE = Path(__file__).parent
INDUSTRIES = ["银行", "钢铁", "电力", "医药", "软件", "食品"]
STOCKS = [
    (f"SYN{number + 1:03}", f"样例{INDUSTRIES[number % 6]}{'甲乙'[number // 6]}", INDUSTRIES[number % 6])
    for number in range(12)
]


def weekdays(year: int) -> list[date]:
    first = date(year, 1, 1)
    days = [first + timedelta(days=number) for number in range((date(year + 1, 1, 1) - first).days)]
    return [day for day in days if day.weekday() < 5]


def bars(symbol: str, dice: random.Random) -> list[list[object]]:
    rows: list[list[object]] = []
    close = dice.uniform(5, 60)
    for day in weekdays(2025):
        opened = close * (1 + dice.gauss(0, 0.004))
        close = opened * (1 + dice.gauss(0.0003, 0.016))
        high = max(opened, close) * (1 + abs(dice.gauss(0, 0.005)))
        low = min(opened, close) * (1 - abs(dice.gauss(0, 0.005)))
        prices = [f"{price:.2f}" for price in (opened, high, low, close)]
        rows.append([symbol, day.isoformat(), *prices, dice.randrange(100_000, 5_000_000, 100)])
    return rows


def write(name: str, header: list[str], rows: list) -> None:
    with open(HERE / name, "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)


if __name__ == "__main__":
    dice = random.Random(20250101)
    write("stocks.csv", ["symbol", "name", "industry"], STOCKS)
    header = ["symbol", "day", "open", "high", "low", "close", "volume"]
    write("daily_bars.csv", header, [row for symbol, *_ in STOCKS for row in bars(symbol, dice)])

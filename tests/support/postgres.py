"""A real PostgreSQL server on loopback, made for a test run and gone after it."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


def programs() -> Path | None:
    """Return the folder of the server's programs, if they are installed."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if found:
        return found[-1].parent
    on_path = shutil.which("initdb")
    return Path(on_path).parent if on_path else None


@contextmanager
def server() -> Iterator[str]:
    """Run a server on a free loopback port while the block runs; gives a connection string without a database."""
    folder = programs()
    if folder is None:
        pytest.skip("PostgreSQL's server programs are not installed: apt-get install postgresql")
    # The server refuses to run as root.
    become = (
        ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"] if os.geteuid() == 0 else []
    )
    home = Path(tempfile.mkdtemp(prefix="placet-pg-"))
    if become:
        shutil.chown(home, "postgres", "postgres")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    data, log = home / "data", home / "log"
    options = f"-c listen_addresses=127.0.0.1 -p {port} -k {home} -c max_connections=60"

    def run(*command: str) -> None:
        done = subprocess.run([*become, *command], capture_output=True, text=True, check=False, cwd=home)
        assert done.returncode == 0, done.stderr + (log.read_text() if log.exists() else "")

    try:
        run(
            str(folder / "initdb"), "-D", str(data), "-U", "placet", "-A", "trust", "-E", "UTF8", "--locale=C"
        )
        run(str(folder / "pg_ctl"), "-D", str(data), "-l", str(log), "-o", options, "-w", "start")
        try:
            yield f"host=127.0.0.1 port={port} user=placet"
        finally:
            run(str(folder / "pg_ctl"), "-D", str(data), "-m", "immediate", "-w", "stop")
    finally:
        shutil.rmtree(home, ignore_errors=True)


def new_database(base: str) -> str:
    """Return the connection string of a fresh database on the server."""
    import psycopg

    name = "t" + os.urandom(6).hex()
    with psycopg.connect(base + " dbname=postgres", autocommit=True) as db:
        db.execute(f"CREATE DATABASE {name}")
    return f"{base} dbname={name}"

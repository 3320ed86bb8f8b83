"""`placet ui`: serve the review app on this machine."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any

import typer

from placet.cli.session import DEFAULT_HOME, HOME_VARIABLE, HomeOption, JsonOption, Session, add_command
from placet.domain.errors import Error, UsageError

ADDRESS = "127.0.0.1"
USUAL_PORT = 8501
START_LIMIT_S = 90.0
END_LIMIT_S = 10.0


class AppError(Error):
    """The review app did not start, or ended by itself."""


def register(app: typer.Typer) -> None:
    """Add the command."""
    add_command(app, "ui", ui, "placet ui", "placet ui --port 8600")


def ui(
    port: Annotated[
        int | None,
        typer.Option(
            "--port", metavar="N", min=1, max=65535, help="Port to serve on; else 8501 or a free one."
        ),
    ] = None,
    home: HomeOption = DEFAULT_HOME,
    json: JsonOption = False,
) -> None:
    """Serve the review app to this machine alone, until Ctrl-C."""
    from placet.resources import app_dir

    session = Session(home, json)
    session.office()
    script = app_dir() / "app.py"
    if find_spec("streamlit") is None:
        raise ModuleNotFoundError("streamlit", name="streamlit")
    chosen = _port(port)
    url = f"http://{ADDRESS}:{chosen}"
    environment = {**os.environ, HOME_VARIABLE: str(home.resolve())}
    with _served(streamlit_command(script, chosen), environment) as server:
        _wait_until_up(server, url)
        try:
            session.result(
                {"url": url, "pid": server.pid},
                lambda console: console.print(f"Review app: {url}   (Ctrl-C ends it)", soft_wrap=True),
            )
            code = server.wait()
        except KeyboardInterrupt:
            session.say("The review app was ended.")
            return
    raise AppError(f"the review app ended by itself (exit code {code})", hint="its last words stand above")


def streamlit_command(script: Path, port: int) -> list[str]:
    """Return the command that serves `script`: to this machine only, no browser opened, nothing reported home."""
    from placet.report.app import STREAMLIT_FLAGS

    return [sys.executable, "-m", "streamlit", "run", str(script), f"--server.port={port}", *STREAMLIT_FLAGS]


def _port(wanted: int | None) -> int:
    if wanted is not None:
        if not _free(wanted):
            raise UsageError(f"port {wanted} is taken", hint="name another, or leave --port out")
        return wanted
    if _free(USUAL_PORT):
        return USUAL_PORT
    with socket.socket() as probe:
        probe.bind((ADDRESS, 0))
        return int(probe.getsockname()[1])


def _free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((ADDRESS, port))
        except OSError:
            return False
        return True


@contextmanager
def _served(command: list[str], environment: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    """Run the server while the block runs; however the block is left, the server is ended with it."""

    def end(_signal: int, _frame: Any) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, end)
    # Its words go to stderr: stdout carries our own.
    server = subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, stdout=sys.__stderr__)
    try:
        yield server
    finally:
        signal.signal(signal.SIGTERM, before)
        server.terminate()
        try:
            server.wait(END_LIMIT_S)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


def _wait_until_up(server: subprocess.Popen[bytes], url: str) -> None:
    # Imported here: it takes a while, and every other command does without it.
    import urllib.error
    import urllib.request

    deadline = time.monotonic() + START_LIMIT_S
    # A proxy set for the outside world has no business between this machine and itself.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    while time.monotonic() < deadline:
        if server.poll() is not None:
            raise AppError(
                f"the review app did not start (exit code {server.returncode})",
                hint="its last words stand above",
            )
        try:
            with opener.open(f"{url}/_stcore/health", timeout=2.0):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.2)
    raise AppError(
        f"the review app did not answer within {START_LIMIT_S:.0f} s", hint="is the machine very busy?"
    )

"""The words by which libpq names a database, as they are kept in an office's settings."""

from __future__ import annotations

import psycopg
from psycopg.conninfo import conninfo_to_dict

from placet.domain.errors import UsageError

# Each is a secret itself. What only names a file or a service that holds one (passfile, sslkey, service) may be kept.
_SECRET = ("password", "sslpassword", "oauth_client_secret", "scram_client_key", "scram_server_key")


def check_connection(dsn: str) -> None:
    """Return if `dsn` names a database in a form that libpq reads, and holds no secret.

    Raises:
        UsageError: It does not.
    """
    try:
        parts = conninfo_to_dict(dsn)
    except psycopg.ProgrammingError as error:
        # libpq repeats a whole address in its words, with the password that may be in it.
        words = "" if "://" in dsn else f": {str(error).strip()}"
        raise UsageError(
            f"this names no database{words}",
            hint="name it as libpq does: 'host=db.example.org dbname=placet user=placet', or postgresql://…",
        ) from error
    secret = next((name for name in _SECRET if parts.get(name)), None)
    if secret is not None:
        raise UsageError(
            f"a connection with a {secret} would stand in office.json for all to read",
            hint="leave it out: set $PGPASSWORD, write ~/.pgpass, or name its file (passfile=…)",
        )

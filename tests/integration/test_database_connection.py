"""The words that name a database are held to their form, and no secret in them gets into office.json."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from placet.cli.errors import missing_extra
from placet.cli.program import make_app
from placet.domain.errors import UsageError
from placet.ledger.store.postgres_connection import check_connection
from placet.office import migrate_ledger
from tests.support.offices import released_office


@pytest.mark.parametrize(
    ("dsn", "secret"),
    [
        ("postgresql://placet:hunter2@127.0.0.1:1/t", "password"),
        ("postgres://placet:hunter2@127.0.0.1:1/t", "password"),
        ("postgresql://127.0.0.1:1/t?password=hunter2", "password"),
        ("host=127.0.0.1 port=1 password = 'hunter2'", "password"),
        ("postgresql://127.0.0.1:1/t?sslpassword=hunter2", "sslpassword"),
        ("postgresql://placet:hunter%32@127.0.0.1:1/t", "password"),
    ],
)
def test_a_connection_with_a_secret_is_refused_before_anything_is_written_or_asked(
    tmp_path: Path, dsn: str, secret: str
) -> None:
    made = released_office(tmp_path / "office")
    before = (made.office.home / "office.json").read_bytes()

    with pytest.raises(
        UsageError, match=f"a connection with a {secret} would stand in office.json"
    ) as caught:
        migrate_ledger(made.office, dsn)
    assert "PGPASSWORD" in caught.value.hint
    assert "hunter" not in caught.value.message + caught.value.hint
    done = CliRunner().invoke(make_app(), ["ledger", "migrate", "--to", dsn, "--home", str(made.office.home)])
    assert done.exit_code == 2
    assert "hunter" not in done.output
    assert (made.office.home / "office.json").read_bytes() == before


@pytest.mark.parametrize("dsn", ["!!", "host='x", "host=x nosuch=1", "postgresql://[::1"])
def test_words_that_name_no_database_are_a_mistake_of_use(tmp_path: Path, dsn: str) -> None:
    made = released_office(tmp_path / "office")

    with pytest.raises(UsageError, match="this names no database") as caught:
        migrate_ledger(made.office, dsn)
    assert "host=" in caught.value.hint
    done = CliRunner().invoke(make_app(), ["ledger", "migrate", "--to", dsn, "--home", str(made.office.home)])
    assert done.exit_code == 2
    assert "server running" not in done.output


@pytest.mark.parametrize(
    "dsn",
    [
        "host=db.example.org dbname=placet user=placet",
        "postgresql://placet@db.example.org/placet?sslmode=verify-full",
        "host=x passfile=/etc/placet/pgpass sslkey=/etc/placet/key.pem",
        "service=placet-password",
        "host=passwords.example.org dbname=password",
        "",
    ],
)
def test_what_only_names_a_place_is_a_connection(dsn: str) -> None:
    check_connection(dsn)


def test_a_machine_without_the_client_says_which_part_brings_it() -> None:
    error = missing_extra(ModuleNotFoundError("No module named 'psycopg'", name="psycopg"))

    assert error is not None
    assert "placet[postgres]" in error.hint

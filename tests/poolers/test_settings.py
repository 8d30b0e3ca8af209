"""Where `{role}` may stand in a URL, and what the URLs of a pooler and of a replica may be."""

import pytest

from tallyframe.db import ADMIN_ROLE, API_ROLE
from tallyframe.servers.postgres_url import DATABASE, POOLER, REPLICA, Address, parse_postgres_url
from tallyframe.settings import SettingsError, load_settings

STRAIGHT = "postgresql://app:secret@db.example/tallyframe"
POOLED = "postgresql://{role}_pooled:secret@pooler.example:6432/tallyframe"


@pytest.mark.parametrize(
    ("url", "user", "database"),
    [
        (POOLED, "tallyframe_api_pooled", "tallyframe"),
        ("postgresql://{role}.project:secret@h/tallyframe", "tallyframe_api.project", "tallyframe"),
        ("postgresql://app:secret@h/{role}", "app", "tallyframe_api"),
    ],
)
def test_the_role_is_put_where_the_url_has_it(url: str, user: str, database: str) -> None:
    read = parse_postgres_url(url, API_ROLE)
    assert (read.user, read.database, read.is_pooled, read.must_write) == (user, database, True, False)


def test_a_url_without_it_is_told_the_role() -> None:
    read = parse_postgres_url(STRAIGHT, API_ROLE)
    assert (read.user, read.is_pooled, read.must_write) == ("app", False, True)
    assert not parse_postgres_url(Address(STRAIGHT, REPLICA), ADMIN_ROLE).must_write


@pytest.mark.parametrize(
    ("name", "url", "words"),
    [
        ("pooler_url", STRAIGHT, f"{POOLER}: needs {{role}} in it"),
        ("pooler_url", "mysql://{role}@h/d", f"{POOLER}: must start with postgresql://"),
        ("replica_url", "postgresql://h", f"{REPLICA}: names no database"),
        ("database_url", POOLED, f"{DATABASE}: has {{role}} in it, which only"),
    ],
)
def test_a_url_that_is_of_no_use_stops_the_start(name: str, url: str, words: str) -> None:
    with pytest.raises(SettingsError) as caught:
        load_settings(**{name: url})
    assert words in str(caught.value)
    assert "secret" not in str(caught.value)


def test_what_is_frequent_goes_through_the_pooler_where_there_is_one() -> None:
    assert load_settings(database_url=STRAIGHT).server.traffic == Address(STRAIGHT, DATABASE)
    assert load_settings(database_url=STRAIGHT, pooler_url=POOLED).server.traffic == Address(POOLED, POOLER)
    assert "secret" in load_settings(replica_url=POOLED).secrets()

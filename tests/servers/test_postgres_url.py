"""What TALLYFRAME_DATABASE_URL may say: every form that libpq knows, and one line about each that can't be kept."""

from pathlib import Path

import pytest

from tallyframe.servers.postgres_url import parse_postgres_url
from tallyframe.servers.redis_url import check_redis_url
from tallyframe.settings import SettingsError, load_settings
from tests.support.certificates import certificates

PASSWORD = "geheim-4711"


@pytest.mark.parametrize(
    ("url", "hosts", "login"),
    [
        ("postgresql://u:p@h/d", [("h", 5432)], ("u", "p", "d")),
        ("postgres://u:p@h:1/d", [("h", 1)], ("u", "p", "d")),
        ("postgresql+asyncpg://u:p@h/d", [("h", 5432)], ("u", "p", "d")),
        ("POSTGRESQL://h/d", [("h", 5432)], ("", "", "d")),
        ("postgresql://u:p%40%23%25%2F%3F%3A%20w@h/d", [("h", 5432)], ("u", "p@#%/?: w", "d")),
        ("postgresql://u:a:b@h/d%2Fe", [("h", 5432)], ("u", "a:b", "d/e")),
        ("postgresql://u@[::1]:5433/d", [("::1", 5433)], ("u", "", "d")),
        ("postgresql://u@/d?host=::1", [("::1", 5432)], ("u", "", "d")),
        ("postgresql://u@one,two:7/d", [("one", 5432), ("two", 7)], ("u", "", "d")),
        ("postgresql:///d?host=/run/pg&port=5433", [("/run/pg", 5433)], ("", "", "d")),
        ("postgresql://u@%2Frun%2F..%2Fpg/d", [("/run/../pg", 5432)], ("u", "", "d")),
        ("postgresql://h?dbname=d&user=u&password=a+b", [("h", 5432)], ("u", "a+b", "d")),
    ],
)
def test_every_form_of_it(url: str, hosts: list[tuple[str, int]], login: tuple[str, str, str]) -> None:
    read = parse_postgres_url(url)
    assert list(zip(read.hosts, read.ports, strict=True)) == hosts
    assert (read.user, read.password, read.database) == login


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("h/d", "must start with postgresql://"),
        ("mysql://u:geheim-4711@h/d", "must start with postgresql://"),
        ("postgresql:u:geheim-4711@h/d", "must start with postgresql://"),
        ("postgresql://u:geheim-4711@h", "names no database"),
        ("postgresql://u:geheim-4711@h:5x/d", "has a port that is no number"),
        ("postgresql://u:geheim-4711@h:65536/d", "has a port that is no number"),
        ("postgresql://u:geheim-4711@h:0/d", "has a port that is no number"),
        ("postgresql://u:geheim-4711@::1/d", "has a port that is no number"),
        ("postgresql://u:geheim-4711@h..x/d", "has a host that is no name"),
        (" postgresql://u:geheim-4711@h/d", "has a space or a line break"),
        ("postgresql://u:geheim-4711@h/d\n", "has a space or a line break"),
        ("postgresql://u:geheim -4711@h/d", "has a space or a line break"),
        ("postgresql://u:geheim@-4711@h/d", "has an '@' in the wrong place"),
        ("postgresql://u:geheim/-4711@h/d", "has an '@' in the wrong place"),
        ("postgresql://u:1/geheim-4711@h/d", "has an '@' in the wrong place"),
        ("postgresql://u:geheim?-4711@h/d", "has an '@' in the wrong place"),
        ("postgresql://u:a@b?geheim=4711@h/d", "has an '@' in the wrong place"),
        ("postgresql://u:geheim#-4711@h/d", "has a '#' in it"),
        ("postgresql://u:geheim%-4711@h/d", "has a '%' without two hexadecimal digits"),
        ("postgresql://u:geheim-4711@h/d?x", "that is no name=value"),
        ("postgresql://u@h/d?pgbouncer=true", "has the parameter 'pgbouncer', which is not known"),
        ("postgresql://u@h/d?sslmode=on", "has an sslmode that is not known"),
        ("postgresql://u@h/d?sslmode=verify-ca&sslrootcert=/none/ca.pem", "'/none/ca.pem', and there is no such file"),
        ("postgresql://u@h/d?connect_timeout=soon", "has a connect_timeout that is no whole number"),
        ("postgresql://u@h/d?target_session_attrs=read-only", "asks for target_session_attrs=read-only"),
        ("postgresql://u@h/d?gssencmode=require", "asks for gssencmode=require"),
        ("postgresql://u@h/d?client_encoding=latin1", "asks for client_encoding=latin1"),
        ("postgresql://u@h/d?require_auth=scram-sha-256", "asks for require_auth"),
        ("postgresql://u@h/d?requirepeer=postgres", "asks for requirepeer"),
        ("postgresql://u@h/d?replication=database", "asks for replication"),
        ("postgresql://u@h/d?application_name=%00", "has a %00 in it"),
        ("postgresql://u:geheim%004711@h/d", "has a %00 in it"),
        ("postgresql://u@h/d?sslmode=require&sslnegotiation=foo", "asks for sslnegotiation=foo"),
        ("postgresql://u@h/d?sslmode=require&sslnegotiation=Direct", "use postgres, direct, or remove it"),
        ("postgresql://u@h/d?sslnegotiation=direct", "which needs sslmode=require"),
        ("postgresql://u@h/d?gsslib=foo", "asks for gsslib=foo"),
        ("postgresql://u@h/d?ssl_min_protocol_version=TLSv9", "known are: TLSv1, TLSv1.1, TLSv1.2, TLSv1.3"),
        ("postgresql://u@h/d?ssl_max_protocol_version=SSLv3", "known are: TLSv1, TLSv1.1, TLSv1.2, TLSv1.3"),
        ("postgresql://u@h/d?ssl_max_protocol_version=TLSv1.1", "which is TLSv1.2 if unset"),
        ("postgresql://u@h/d?hostaddr=10.0.0.1", "'hostaddr', which is not supported; name the address as the host"),
        ("postgresql://u@h/d?service=books", "'service', which is not supported"),
        ("postgresql://u@h/d?sslcrldir=/etc/crl", "'sslcrldir', which is not supported; name one file with sslcrl"),
        ("postgresql://u@h/d?min_protocol_version=3.2", "asks for min_protocol_version=3.2, which can't be kept"),
        ("postgresql://u@h/d?max_protocol_version=3.2", "asks for max_protocol_version=3.2, which can't be kept"),
        *(
            (f"postgresql://u@h/d?sslmode=require&{name}={__file__}", f"{kind} in PEM; correct the file")
            for kind, names in (("certificate", ("sslrootcert", "sslcert", "sslcrl")), ("private key", ("sslkey",)))
            for name in names
        ),
        ("postgresql://u@h/d?sslmode=prefer&channel_binding=require", "which needs sslmode=require"),
    ],
)
def test_one_line_that_names_the_variable_and_nothing_secret(url: str, said: str) -> None:
    with pytest.raises(SettingsError) as error:
        load_settings(database_url=url)
    line = str(error.value)
    assert line.startswith("TALLYFRAME_DATABASE_URL: ")
    assert said in line
    assert "\n" not in line
    assert "geheim" not in line
    assert "4711" not in line


def test_what_libpq_knows_and_does_no_harm_is_accepted(tmp_path: Path) -> None:
    quiet = (
        "keepalives=1&keepalives_idle=30&keepalives_interval=10&keepalives_count=3&tcp_user_timeout=1000&sslsni=1"
        "&gssencmode=prefer&channel_binding=prefer&client_encoding=UTF8&target_session_attrs=read-write"
    )
    arguments = parse_postgres_url(f"postgresql://u@h/d?{quiet}").arguments({"role": "x"})
    assert arguments["server_settings"] == {"application_name": "tallyframe", "role": "x"}
    assert arguments["target_session_attrs"] == "read-write"


@pytest.mark.parametrize(("given", "seconds"), [("10", 10), ("1", 2), ("0", None), ("-1", None)])
def test_connect_timeout_is_as_libpq_has_it(given: str, seconds: int | None) -> None:
    url = parse_postgres_url(f"postgresql://h/d?connect_timeout={given}")
    assert url.arguments({}).get("timeout") == seconds


def test_a_bound_login_asks_for_a_certificate_that_is_verified() -> None:
    url = "postgresql://u@h/d?sslmode=require&channel_binding=require"
    context = parse_postgres_url(url).arguments({})["ssl"]
    assert context.check_hostname
    assert context.verify_mode.name == "CERT_REQUIRED"


def test_the_decoded_password_is_hidden_in_logs_as_well() -> None:
    settings = load_settings(database_url="postgresql://u:gehe%40im-4711@h/d")
    assert "gehe" not in repr(parse_postgres_url(settings.server.database_url.get_secret_value()))
    assert {"gehe%40im-4711", "gehe@im-4711"} <= set(settings.secrets())


def test_a_certificate_and_a_key_must_belong_together(tmp_path: Path) -> None:
    made = certificates(tmp_path, "localhost", "127.0.0.1")
    query = "sslmode=verify-full&sslrootcert={0}&sslcert={1}&sslkey={2}"
    parse_postgres_url(f"postgresql://u@h/d?{query.format(made.authority, made.certificate, made.key)}")
    with pytest.raises(ValueError, match="a certificate and a key that don't fit"):
        parse_postgres_url(f"postgresql://u@h/d?{query.format(made.authority, made.other_authority, made.key)}")
    check_redis_url(f"rediss://h?ssl_certfile={made.certificate}&ssl_keyfile={made.key}")
    with pytest.raises(ValueError, match="a certificate and a key that don't fit"):
        check_redis_url(f"rediss://h?ssl_certfile={made.other_authority}&ssl_keyfile={made.key}")

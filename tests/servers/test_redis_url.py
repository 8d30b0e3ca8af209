"""What TALLYFRAME_REDIS_URL may say: redis-py overlooks mistakes that would lead it to another database, or nowhere."""

import pytest
from redis.asyncio.connection import parse_url

from tallyframe.servers.redis_url import redis_address
from tallyframe.settings import SettingsError, load_settings


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("h:6379", "must start with redis://"),
        ("http://:geheim-4711@h", "must start with redis://"),
        ("redis://:geheim-4711@h:x/0", "has a port that is no number"),
        ("redis://:geheim-4711@h:70000/0", "has a port that is no number"),
        ("redis://:geheim@-4711@h/0", "has an '@' in the wrong place"),
        ("redis://:geheim/-4711@h/0", "has an '@' in the wrong place"),
        ("redis://:geheim#-4711@h/0", "has a '#' in it"),
        ("redis://:geheim%-4711@h/0", "has a '%' without"),
        ("redis://:geheim -4711@h/0", "has a space"),
        ("redis://:geheim-4711@h/abc", "has a database that is no number"),
        ("redis://h?db=x", "has a value of 'db' that can't be read"),
        ("redis://h?foo=1", "has the parameter 'foo', which is not known"),
        ("redis://h?ssl_cert_reqs=none", "which needs rediss:// at the beginning"),
        ("rediss://h?ssl_cert_reqs=never", "has a value of 'ssl_cert_reqs' that can't be read"),
        ("rediss://h?ssl_ca_certs=/none/ca.pem", "'/none/ca.pem', and there is no such file"),
        ("unix://", "names no socket"),
        ("redis://h?client_name=a%20b", "has a value of 'client_name' that can't be read"),
        ("redis://h?client_name=%C3%A4", "has a value of 'client_name' that can't be read"),
        ("redis://h?socket_timeout=0", "has a value of 'socket_timeout' that can't be read"),
        ("redis://h?socket_connect_timeout=0.000", "has a value of 'socket_connect_timeout' that can't be read"),
        ("rediss://h?ssl_check_hostname=true&ssl_cert_reqs=none", "needs ssl_cert_reqs=required"),
        *(
            (f"rediss://h?{name}={__file__}", f"{kind} in PEM; correct the file")
            for kind, names in (("certificate", ("ssl_ca_certs", "ssl_certfile")), ("private key", ("ssl_keyfile",)))
            for name in names
        ),
    ],
)
def test_one_line_that_names_the_variable_and_nothing_secret(url: str, said: str) -> None:
    with pytest.raises(SettingsError) as error:
        load_settings(redis_url=url)
    line = str(error.value)
    assert line.startswith("TALLYFRAME_REDIS_URL: ")
    assert said in line
    assert "\n" not in line
    assert "geheim" not in line
    assert "4711" not in line


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("redis://h", "h:6379/0"),
        ("redis://:p%40@h:1/2", "h:1/2"),
        ("rediss://default:p@h:6380?ssl_cert_reqs=none&db=3", "h:6380/3"),
        ("redis://[::1]:6380/2", "[::1]:6380/2"),
        ("redis://h/0?client_name=ours&socket_timeout=0.5&health_check_interval=0&protocol=3", "h:6379/0"),
        ("unix://:p@/run/redis.sock?db=1", "/run/redis.sock"),
    ],
)
def test_what_is_fine_is_read_by_the_client_as_it_is_shown(url: str, address: str) -> None:
    load_settings(redis_url=url)
    assert redis_address(url) == address
    read = parse_url(url)
    shown = read.get("path") or f"{read['host']}:{read.get('port', 6379)}/{read.get('db', 0)}"
    assert shown == address.replace("[", "").replace("]", "")

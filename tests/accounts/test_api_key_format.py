"""The form of API keys."""

import hashlib
import random
import string
import zlib
from collections.abc import Callable

import pytest

from tallyframe.accounts.keys import last_four, looks_valid, new_api_key, secret_hash

ALPHABET = string.digits + string.ascii_uppercase + string.ascii_lowercase


def test_a_new_key_looks_valid() -> None:
    for _ in range(200):
        key = new_api_key()
        assert key.startswith("tf_")
        assert len(key) == 41
        assert set(key[3:]) <= set(ALPHABET)
        assert looks_valid(key)


def test_keys_are_all_different() -> None:
    assert len({new_api_key() for _ in range(1000)}) == 1000


def test_the_checksum_is_crc32_in_base62() -> None:
    key = new_api_key()
    value = 0
    for digit in key[-6:]:
        value = value * 62 + ALPHABET.index(digit)
    assert value == zlib.crc32(key[:-6].encode())


def test_every_typing_error_in_one_place_is_seen() -> None:
    key = new_api_key()
    for place in range(3, len(key)):
        for other in set(ALPHABET) - {key[place]}:
            assert not looks_valid(key[:place] + other + key[place + 1 :])


def test_neighbours_that_changed_places_are_seen() -> None:
    key = new_api_key()
    for i in range(3, len(key) - 1):
        swapped = key[:i] + key[i + 1] + key[i] + key[i + 2 :]
        assert looks_valid(swapped) == (swapped == key)


@pytest.mark.parametrize("change", [str.upper, str.lower, lambda key: key[3:], lambda key: key[:-1]])
def test_other_forms_are_refused(change: Callable[[str], str]) -> None:
    assert not looks_valid(change("tf_aZ" + new_api_key()[5:]))


@pytest.mark.parametrize("tail", ["\n", " ", "0", "\x00", "é", "\ud800"])
def test_nothing_may_follow_or_stand_in_a_key(tail: str) -> None:
    key = new_api_key()
    while key.endswith(tail):
        key = new_api_key()
    assert not looks_valid(key + tail)
    assert not looks_valid(key[:-1] + tail)
    assert not looks_valid(tail + key)


def test_any_text_can_be_asked_about() -> None:
    rng = random.Random(7)
    for _ in range(500):
        assert not looks_valid("tf_" + "".join(chr(rng.randrange(0x11000)) for _ in range(rng.randrange(60))))


def test_what_is_stored_is_a_hash_and_four_characters() -> None:
    key = new_api_key()
    assert secret_hash(key) == hashlib.sha256(key.encode()).digest()
    assert last_four(key) == key[-4:]

"""docs/vendors.md against the code: settings, defaults, models, offers, failures, events, limits."""

import re
from pathlib import Path

import pytest

from tallyframe.api.admin.ai_operations import AiOperation, AiOperationSums, Asked
from tallyframe.calls import gate, tables
from tallyframe.catalog import BY_NAME, CATALOG, Capability
from tallyframe.errors import FAILURE_POLICY, FailureCode
from tallyframe.generations.end import withdraw
from tallyframe.generations.steps import decide, results
from tallyframe.operations.registry import OPERATIONS
from tallyframe.providers import received, transport
from tallyframe.providers.base import Offer
from tallyframe.providers.fitting import FIRST_FRAME, INPUT_PICTURE, ONE_OF_TEN, room_for
from tallyframe.providers.google import candidates, gemini_text, veo
from tallyframe.providers.google.offers import offer_of
from tallyframe.providers.offline.provider import OFFERS
from tallyframe.providers.openai import client, failures, provider
from tallyframe.providers.openai.offers import MOST_PICTURES
from tallyframe.settings.model import places
from tallyframe.storages import cloudinary, s3
from tests.support.google_asking import first_try, gemini, looking
from tests.support.google_text import FakeGeminiText
from tests.support.variables import shown, variables

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "vendors.md").read_text()
FLAT = " ".join(PAGE.split())
SOURCE = "".join(path.read_text() for path in (ROOT / "src").rglob("*.py"))
EVENTS = set(re.findall(r"log\.(?:info|warning|error|exception)\(\s*\"(\w+)\"", SOURCE))
DEFAULTS = variables()


def section(title: str) -> str:
    return re.split(r"\n##+ ", PAGE.split(f"# {title}\n", maxsplit=1)[1], maxsplit=1)[0]


def rows(text: str) -> list[list[str]]:
    """The cells of all tables in it, without their heads."""
    table = r"(?:^\|.*\|\n)+"
    lines = [line for found in re.findall(table, text, re.MULTILINE) for line in found.splitlines()[2:]]
    return [[cell.strip() for cell in line[1:-1].split("|")] for line in lines]


def test_every_setting_it_names_exists() -> None:
    named = set(re.findall(r"\b(?:TALLYFRAME|GEMINI|GOOGLE_CLOUD|OPENAI|CLOUDINARY|AWS|CLERK)_[A-Z0-9_]+\b", PAGE))
    # the first is of the README's walk, the second is said to have no effect
    assert named - {"TALLYFRAME_URL", "OPENAI_BASE_URL"} <= set(DEFAULTS)


def test_every_setting_about_vendors_is_explained() -> None:
    wanted = {variable for variable, place in places().items() if place[0] in {"providers", "storage", "auth"}}
    wanted |= {
        f"TALLYFRAME_{name}" for name in ("RETRY_MAX_WAIT", "MAX_RETRIES", "MAX_MEDIA_BYTES", "AI_OPERATIONS_DAYS")
    }
    assert {variable for variable in wanted if f"`{variable}" not in PAGE} == set()


def test_every_default_it_states_is_that_of_the_code() -> None:
    stated = [(row[0].strip("`"), row[1]) for row in rows(PAGE) if row[0].strip("`") in DEFAULTS]
    assert len(stated) > 35
    wrong = {name for name, value in stated if value != shown(DEFAULTS[name])}
    assert wrong == set()
    prices = {operation.name: operation.default_price for operation in OPERATIONS}
    assert f"{prices['image']} for an image and {prices['video']} for a video" in FLAT


MEDIA = [entry for entry in CATALOG if {"image", "video"} & set(entry.models)]


def test_the_models_are_those_of_the_code() -> None:
    table = PAGE.split("\n| provider | makes | with a key | in Vertex mode |\n")[1].split("\n\n")[0]
    assert rows(f"| |\n{table}\n") == [
        [f"`{entry.name}`", capability, f"`{model}`", f"`{entry.vertex_models.get(capability, model)}`"]
        for entry in CATALOG
        if entry.folder == "google"
        for capability, model in entry.models.items()
    ]


def test_who_writes_has_the_models_of_the_code() -> None:
    models = BY_NAME["openai"].models
    expected = ["`openai`", *(f"`{models[each]}`" for each in ("text", "vision")), f"1 to {MOST_PICTURES}"]
    assert expected in rows(section("OpenAI"))


def test_the_offers_are_those_of_the_code() -> None:
    found = {row[0].strip("`"): row[1:] for row in rows(section("Gemini, Omni and Veo")) if "`9:16`" in row[1]}
    assert set(found) == {entry.name for entry in MEDIA}
    for name, (shapes, seconds) in found.items():
        kind: Capability = "video" if "video" in BY_NAME[name].models else "image"
        made = OFFERS[kind] if name == "offline" else offer_of(kind, BY_NAME[name].models[kind])
        assert tuple(re.findall(r"\d+:\d+", shapes)) == made.aspect_ratios
        usual, _, longer = seconds.partition("; models named `gemini-omni-1.2…`: ")
        assert usual == lengths(made)
        assert longer == (lengths(offer_of("video", "gemini-omni-1.2-flash")) if name == "omni" else "")


async def test_a_request_for_text_or_vision_holds_what_it_says() -> None:
    said = section("Text and vision")
    async with gemini(FakeGeminiText()) as (provider, server):
        await provider.start(looking(), first_try())
        sent = server.requests[0].json
    config = sent.pop("generationConfig")
    assert {row[0].strip("`") for row in rows(said)} == {*sent, *config}
    assert f"level `{config['thinkingConfig']['thinking_level']}`" in said
    assert f"Models named `{gemini_text._WITHOUT_LEVELS}…` have no levels" in said
    assert f"`{config['responseMimeType']}`" in said
    most = offer_of("vision", "a-model").max_images
    assert f"(vision only, 1 to {most})" in said
    assert (room_for(4), room_for(5), room_for(most)) == (INPUT_PICTURE, ONE_OF_TEN, ONE_OF_TEN)
    flat = " ".join(said.split())
    assert "Up to 4 pictures go along like an image's. From 5 on, each" in flat
    assert f"above {ONE_OF_TEN.max_bytes:,} bytes is reduced to a JPEG with at most {ONE_OF_TEN.longest_side:,}" in flat


def lengths(made: Offer) -> str:
    if len(made.seconds) > 3:
        assert list(made.seconds) == list(range(made.seconds[0], made.seconds[-1] + 1))
        return f"{made.seconds[0]} to {made.seconds[-1]}"
    return ", ".join(map(str, made.seconds))


@pytest.mark.parametrize(("vendor", "others"), [("Google", set()), ("OpenAI", {FailureCode.EXPIRED})])
def test_the_failures_have_the_published_codes_and_faults(vendor: str, others: set[FailureCode]) -> None:
    listed = [row[1:4] for row in rows(section(f"When {vendor} fails")) if len(row) == 6]
    codes = [re.findall(r"\w+", code)[0] for code, *_ in listed]
    assert set(codes) == set(FailureCode) - {FailureCode.CANCELED, FailureCode.STORAGE_UNAVAILABLE} - others
    assert listed == [[f"`{code}`", FAILURE_POLICY[FailureCode(code)][0], "yes"] for code in codes]


def test_openai_s_codes_mean_what_it_says() -> None:
    told = {row[1]: set(re.findall(r"`([a-z]+(?:_[a-z]+)+)`", row[0])) for row in rows(section("When OpenAI fails"))}
    assert told["`content_policy`"] <= failures._POLICY
    assert told["`internal`"] <= failures._UNSUITABLE
    assert "insufficient_quota" in failures._BILLING
    assert f"an answer above {client.MOST_BYTES // 2**20} MiB or" in PAGE
    room = provider.SEEN_PICTURE
    assert f"above {room.max_bytes:,} bytes is sent as a JPEG with at most {room.longest_side:,} pixels" in FLAT
    assert f"Empty: `{client.OPENAI}`" in PAGE


def test_google_s_reasons_and_codes_mean_what_it_says() -> None:
    table = [row for row in rows(section("When Google fails")) if len(row) == 6]
    refusals = next(row[0] for row in table if row[1] == "`content_policy`")
    assert set(re.findall(r"`([A-Z_]+)`", refusals)) <= candidates._POLICY_REASONS
    assert f"stops at `{candidates._OUT_OF_TOKENS}`" in PAGE
    for number, code in veo._CODES.items():
        said = " ".join(row[0] for row in table if row[1] == f"`{code}`")
        assert re.search(rf"Veo's codes? (?:\d+ and )?{number}\b", said), (number, code)


def test_every_event_code_and_state_it_names_is_there() -> None:
    named = set(re.findall(r"`([a-z]+(?:_[a-z]+)+)`", PAGE))
    fields = {*AiOperation.model_fields, *AiOperationSums.model_fields, *Asked.model_fields, "operator_message"}
    openai = {*failures._POLICY, *failures._UNSUITABLE, *failures._BILLING}
    known = {
        *EVENTS,
        *FailureCode,
        *openai,
        *tables.STATUSES,
        *fields,
        "download_url",
        "generation_steps",
        "ai_operations",
    }
    assert '"fell_back"' in SOURCE
    assert named - known <= {"fell_back", "budget_exceeded"}
    assert {"provider_failed", "provider_alarm", "call_not_recorded", "withdraw_failed", "store_failed"} <= named


def test_every_status_and_filter_of_the_log_is_explained() -> None:
    log = section("The log of calls")
    assert [row[0] for row in rows(log)] == [f"`{status}`" for status in tables.STATUSES]
    filters = {field.alias or name for name, field in Asked.model_fields.items()}
    assert {name for name in filters if f"`{name}`" not in log} == set()


def test_the_limits_are_those_of_the_code() -> None:
    policy = decide.RetryPolicy(max_retries=0, max_wait=0)
    assert f"after {policy.base:g}, 2, 4 … {policy.longest:g} seconds" in FLAT
    assert f"at most {transport.CONNECT_SECONDS:g} of them for the connection" in FLAT
    assert f"waits for {gate.SLOT_WAIT:g} seconds" in FLAT
    assert f"free again {gate.SLOT_GRACE:g} seconds after the longest" in FLAT
    assert f"{withdraw.MOST_ASKED} times in all" in FLAT
    assert f'"{withdraw.STOPPED}"' in FLAT
    assert f'"{withdraw.NOT_STOPPED}"' in FLAT
    *most, last = (f"{seconds:g}" for seconds in results.STORE_RETRIES)
    assert f"again after {', '.join(most)} and {last} seconds" in FLAT


def test_the_sizes_are_those_of_the_code() -> None:
    room = f"above {INPUT_PICTURE.max_bytes:,} bytes with at most {INPUT_PICTURE.longest_side:,} pixels a side"
    assert f"an image's pictures {room}" in FLAT
    assert (
        f"first frame above {FIRST_FRAME.max_bytes:,} bytes, or a WebP, with at most {FIRST_FRAME.longest_side:,}."
        in FLAT
    )
    assert INPUT_PICTURE.taken - FIRST_FRAME.taken == {"image/webp"}
    assert (received.received_image.__kwdefaults__ or {})["max_pixels"] == 40_000_000
    assert "at most 40 million pixels" in FLAT
    assert (cloudinary.CloudinaryStorage.__init__.__kwdefaults__ or {})["chunk_bytes"] == 20_000_000
    assert "Files above 20 MB go up in chunks" in FLAT
    assert f"Files above {s3._PART_BYTES // 2**20} MiB go up in parts" in FLAT

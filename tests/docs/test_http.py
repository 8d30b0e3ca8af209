"""docs/http.md against the OpenAPI document, the error tree and the limits in the code."""

import re
from collections.abc import Iterator
from pathlib import Path

from tallyframe.api import dependencies, incoming, orders
from tallyframe.assets import fetch
from tallyframe.errors import TallyframeError
from tallyframe.imaging import curves, formats, png_colours
from tallyframe.main import create_app
from tallyframe.operations import base, fields
from tallyframe.settings import load_settings
from tests.support.variables import variables

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "http.md").read_text()
FLAT = " ".join(PAGE.split())


def kinds(error: type[TallyframeError]) -> Iterator[type[TallyframeError]]:
    for kind in error.__subclasses__():
        yield kind
        yield from kinds(kind)


def test_every_call_is_listed() -> None:
    document = create_app(load_settings()).openapi()
    calls = {f"{method.upper()} {path}" for path, how in document["paths"].items() for method in how}
    assert set(re.findall(r"^\| `((?:GET|POST|DELETE) \S+)` \|", PAGE, re.MULTILINE)) == calls


def test_every_problem_code_is_listed_with_its_status() -> None:
    assert orders.PromptNotFound in kinds(TallyframeError)
    codes = {(kind.code, str(kind.status)) for kind in kinds(TallyframeError)} | {
        ("method_not_allowed", "405"),
        ("bad_request", "400"),
        ("headers_too_large", "431"),
    }
    assert set(re.findall(r"^\| `(\w+)` \| (\d{3}) \|", PAGE, re.MULTILINE)) == codes


def test_every_field_of_an_order_is_explained() -> None:
    named = set(re.findall(r"^\| `(\w+)` \| (?!\d{3})", PAGE.split("## Ordering")[1], re.MULTILINE))
    assert named | {"prompt_id"} == set(incoming.NewProject.model_fields)


def test_every_setting_it_names_exists() -> None:
    of_the_examples = {"TALLYFRAME_URL", "TALLYFRAME_KEY"}
    assert set(re.findall(r"TALLYFRAME_[A-Z0-9_]+", PAGE)) - of_the_examples <= set(variables())


def test_the_limits_are_those_of_the_code() -> None:
    settings = load_settings()
    assert f"images` | 0 to {fields.MAX_PICTURES} pictures" in FLAT
    first, second, third = (f"`{ratio}`" for ratio in base.FAVOURITE_RATIOS)
    assert f"the first of {first}, {second} and {third} that is offered" in FLAT
    assert f"the longest offered length of up to {base.FAVOURITE_SECONDS} seconds" in FLAT
    assert f"{formats.MAX_SIDE:,} pixels a side" in FLAT
    assert f"A profile may have {png_colours.MAX_PROFILE // 2**20} MiB, unpacked" in FLAT
    assert f"Light above {curves.WHITE} cd/m²" in FLAT
    assert f"up to {fetch.MAX_REDIRECTS} redirects, {fetch.MAX_URL:,} characters" in FLAT
    assert f"ports {' and '.join(map(str, fetch.PORTS))}" in FLAT
    assert f"within {dependencies.REMEMBER:g} seconds in all others" in FLAT
    assert f"({settings.limits.max_upload_bytes / 2**20:g} MiB)" in FLAT
    assert f"({settings.limits.max_image_pixels / 1e6:g} million)" in FLAT

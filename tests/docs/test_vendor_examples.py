"""What docs/vendors.md gives to be pasted works, and what it shows is what is answered and printed."""

import json
import re
from decimal import Decimal
from pathlib import Path

import pytest

from tallyframe.api.admin.ai_operations import AiOperation, AiOperations
from tallyframe.calls.cost import cost_micros
from tallyframe.doctor import examine
from tallyframe.providers.base import Usage
from tallyframe.providers.registry import offers
from tallyframe.settings import Settings, load_settings
from tallyframe.storages.registry import build_storages
from tallyframe.webhooks.signatures import Signatures
from tests.support.variables import variables

PAGE = (Path(__file__).parents[2] / "docs" / "vendors.md").read_text()


def blocks(mark: str) -> list[str]:
    """The fenced blocks that follow `<!-- mark -->`."""
    return re.findall(rf"^<!-- {mark} -->\n```\w*\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


@pytest.fixture
def paste(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The `.env` of a folder that we are in, with nothing of ours in the environment."""
    for variable in variables():
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path / ".env"


def test_there_is_a_block_for_each_vendor() -> None:
    assert len(blocks("environment")) == 12


@pytest.mark.parametrize("block", blocks("environment"))
async def test_what_is_to_be_pasted_works(block: str, paste: Path) -> None:
    paste.write_text(block)
    settings = load_settings()
    given = set(re.findall(r"^(\w+)=", block, re.MULTILINE))
    assert {name for name, value in settings.by_variable.items() if value != variables()[name]} == given
    assert offers(settings)["video"]
    assert ("OPENAI_API_KEY" in given) is (settings.providers_for("vision")[0] == "openai")
    storages = build_storages(settings)
    for storage in storages.by_name.values():
        await storage.aclose()
    assert storages.current.name == ("cloudinary" if "CLOUDINARY_URL" in given else settings.storage.kind or "local")
    if secrets := settings.auth.clerk_webhook_secret:
        Signatures([secret.get_secret_value() for secret in secrets])


def prices(paste: Path) -> Settings:
    paste.write_text(next(block for block in blocks("environment") if "VENDOR_PRICES" in block))
    return load_settings()


def test_the_answer_is_one_of_the_admin_s(paste: Path) -> None:
    shown = json.loads(blocks("answer")[0])
    answer = AiOperations.model_validate(shown)
    assert list(shown["data"][0]) == list(AiOperation.model_fields)
    call = answer.data[0]
    usage = Usage(call.input_tokens, call.output_tokens, call.video_seconds)
    assert call.cost_micros == cost_micros(prices(paste).providers.vendor_prices[call.model], usage)
    assert (answer.sums.cost_micros, answer.sums.calls) == (call.cost_micros, 1)
    assert f"{call.cost_micros} is {round(Decimal(call.cost_micros or 0) / 10**6, 3)}." in PAGE


def test_the_priced_models_cost_what_it_says(paste: Path) -> None:
    known = prices(paste).providers.vendor_prices
    image = cost_micros(known["gemini-3.1-flash-image"], Usage(output_tokens=1120)) or 0
    omni = cost_micros(known["gemini-omni-1.1-flash"], Usage(output_tokens=6 * 5792)) or 0
    veo = cost_micros(known["veo-3.1-generate-preview"], Usage(seconds=6)) or 0
    assert cost_micros(known["gpt-5.4-mini"], Usage(1_000_000, 1_000_000)) == 750_000 + 4_500_000
    told = [f"{Decimal(cost) / 10**6:.2f}" for cost in (image, omni, veo)]
    said = "an image in `1K` costs you some {}, six seconds of Omni {} and six seconds of Veo {}."
    assert said.format(*told) in " ".join(PAGE.split())


async def test_the_doctor_checks_what_it_shows(database_url: str, redis_url: str, tmp_path: Path) -> None:
    """No worker runs here, so one line is wrong; the others are those of the page, but for numbers and places."""
    settings = load_settings(database_url=database_url, redis_url=redis_url, data_dir=tmp_path)
    found = [finding async for finding in examine(settings)]
    printed = re.findall(r"^(?:ok|WRONG) +(\S+(?: \S+)*)  +(.+)$", blocks("doctor")[0], re.MULTILINE)
    assert [finding.name for finding in found] == [name for name, _ in printed]
    words = {finding.name: finding.words for finding in found}
    assert [finding.name for finding in found if not finding.is_well] == ["workers"]
    assert words.pop("workers").endswith("Start `tallyframe worker`.")
    assert {name: general(said) for name, said in words.items()} == {
        name: general(said) for name, said in printed if name != "workers"
    }


def general(said: str) -> str:
    """The words without numbers and without the path of a folder."""
    return re.sub(r"\S+/media", "media", re.sub(r"\d[\d.]*", "0", said))

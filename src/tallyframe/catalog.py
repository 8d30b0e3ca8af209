"""Every provider that there is: data only. Settings, doctor and registry read it; a new provider is one line here.

`folder` is the package below `tallyframe.providers` that has `build()` and `offers()`. A provider is used without being
named when all variables of one row of `needs` are set; the first row is the usual one, which errors name.
`settings.variable()` reads all of them, also those that no field of the settings has.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, get_args

Capability = Literal["image", "video", "text", "vision"]
CAPABILITIES: tuple[Capability, ...] = get_args(Capability)

#: The provider that needs nothing and makes everything up; never used in production unless it is named.
OFFLINE = "offline"


@dataclass(frozen=True, slots=True)
class Entry:
    """A provider. `models` has the default model of each capability. Vendors retire models: then a setting changes."""

    name: str
    folder: str
    models: Mapping[Capability, str]
    needs: tuple[tuple[str, ...], ...] = ()
    vertex_models: Mapping[Capability, str] = field(default_factory=dict)  # other names in Google's Enterprise mode


_GOOGLE = (("GEMINI_API_KEY",), ("TALLYFRAME_VERTEX", "GOOGLE_CLOUD_PROJECT"))
#: Stable since 2 September 2026, without a date of shutdown (https://ai.google.dev/gemini-api/docs/deprecations, as of
#: November 2026). In Vertex mode it is in the locations global, us and eu.
_GEMINI_TEXT = "gemini-3.8-flash"

#: In the order in which they are taken where the settings name none.
CATALOG = (
    Entry(
        "openai",
        "openai",
        {"text": "gpt-5.4-mini", "vision": "gpt-5.4-mini"},
        (("OPENAI_API_KEY",),),
    ),
    Entry(
        "gemini",
        "google",
        {"image": "gemini-3.1-flash-image", "text": _GEMINI_TEXT, "vision": _GEMINI_TEXT},
        _GOOGLE,
    ),
    Entry("omni", "google", {"video": "gemini-omni-1.1-flash"}, _GOOGLE, {"video": "gemini-omni-1.1-flash-preview"}),
    Entry("veo", "google", {"video": "veo-3.1-generate-preview"}, _GOOGLE, {"video": "veo-3.1-generate-001"}),
    Entry(OFFLINE, "offline", dict.fromkeys(CAPABILITIES, "offline-1")),
)

BY_NAME: Mapping[str, Entry] = {entry.name: entry for entry in CATALOG}


def known(capability: Capability) -> tuple[str, ...]:
    """Return the names of all providers with this capability."""
    return tuple(entry.name for entry in CATALOG if capability in entry.models)

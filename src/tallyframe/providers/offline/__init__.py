"""The offline provider: makes real images, videos and answers in words without a key, a network or a bill.

What it makes says so, and the same order always gives the same result. The prompt takes orders, as a payment sandbox
takes test cards; `instructions` take none. They don't show in the result, several may be combined, and other text in
brackets is just part of the prompt:

====================  ================================================================================================
card                  what happens
====================  ================================================================================================
`[fail:CODE]`         It fails at once and for good with this `FailureCode`: content_policy, invalid_input,
                      provider_rejected, provider_unavailable, provider_timeout, provider_quota,
                      storage_unavailable, canceled, expired or internal.
`[empty]`             It fails for good with provider_rejected: there is no result.
`[flaky:N]`           Tries 1 to N fail with a retryable provider_unavailable, the next one works.
`[delay:SECONDS]`     A ticket comes at once, its result (or failure) after this time. At most 600.
`[hang:SECONDS]`      The order itself is answered only after this time, as by a vendor that holds the line. At most
                      600.
`[refuse]`            It fails for good with content_policy, as when a model refuses.
`[cut]`               It fails for good with provider_rejected: the answer has reached the limit of its tokens.
`[malformed]`         It fails with a retryable provider_rejected: the answer is no JSON.
`[ignore-schema]`     It fails with a retryable provider_rejected: the answer is JSON in another form.
====================  ================================================================================================

The last four are of text and vision; images and videos take no notice of them. A hang comes before a flaky failure,
that before a delay, and that before all else; of several verdicts, the one that is higher up here counts. A card with
a value that makes no sense fails with invalid_input. Without a delay an image or an answer comes at once; a video
always comes by a ticket, which is ready when it is given.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from tallyframe.catalog import Capability
from tallyframe.providers.base import Offer, Provider
from tallyframe.providers.offline.provider import OFFERS, OfflineProvider

if TYPE_CHECKING:
    from tallyframe.settings import Settings

__all__ = ["OfflineProvider", "build", "offers"]


def offers(name: str, models: Mapping[Capability, str]) -> Mapping[Capability, Offer]:  # noqa: ARG001  # always the same
    """Return what can be ordered."""
    return {capability: OFFERS[capability] for capability in models}


def build(name: str, settings: "Settings", models: Mapping[Capability, str]) -> Provider:  # noqa: ARG001  # needs nothing
    """Make the provider."""
    return OfflineProvider()

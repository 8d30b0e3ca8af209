"""The offline provider: makes real images and videos without a key, a network or a bill.

What it makes says so in the picture, and the same order always gives the same bytes. The prompt takes orders, as a
payment sandbox takes test cards. They are not written into the picture, several may be combined, and other text in
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
====================  ================================================================================================

A hang comes before a flaky failure, that before a delay, and that before the verdict of a fail or empty card. A card
with a value that makes no sense fails with invalid_input. Without a delay an image comes at once; a video always
comes by a ticket, which is ready when it is given.
"""

from tallyframe.providers.offline.provider import OfflineProvider

__all__ = ["OfflineProvider"]

"""One generateContent request, as images, text and vision send it.

Facts: POST {version}/models/{model}:generateContent takes about 20 MB in all and is not billed when it ends with an
error. What comes with 200 may be billed, a refusal too.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from google.genai import types

from tallyframe.providers.base import InputRef, Media, Usage
from tallyframe.providers.fitting import fit, room_for
from tallyframe.providers.google.candidates import Answer, note_usage, read_answer
from tallyframe.providers.google.client import Google
from tallyframe.providers.google.failures import refused

_ONE_REQUEST: Mapping[str, Any] = {
    "should_return_http_response": True,  # the body as it came
    "automatic_continuation": False,  # one order, one request, one bill
    "automatic_function_calling": types.AutomaticFunctionCallingConfig(disable=True),
}


async def fitted(inputs: Sequence[InputRef]) -> list[Media]:
    """Read the pictures, in order, each reduced where there would be no room for all of them.

    Raises GenerationError where one can't be read now, ProviderError (invalid_input) where one can't be used.
    """
    room = room_for(len(inputs))
    return [await fit(await each.read(), room) for each in inputs]


def user_content(prompt: str, pictures: Sequence[Media]) -> types.Content:
    """Return what the user says. The pictures come first: the prompt speaks about them."""
    parts = [types.Part.from_bytes(data=each.data, mime_type=each.content_type) for each in pictures]
    return types.Content(role="user", parts=[*parts, types.Part.from_text(text=prompt)])


async def generate(
    google: Google,
    *,
    model: str,
    content: types.Content,
    config: Mapping[str, Any],
    usage: Usage,
    hide: Collection[str],
) -> Answer:
    """Send the order once, and return the answer that came with 200; what it has used is noted in `usage`.

    `config` has fields of GenerateContentConfig. The client must be ready. Raises ProviderError, without `hide` in it.
    """
    try:
        async with google.deadline():
            response = await google.client.aio.models.generate_content(
                model=model, contents=content, config=types.GenerateContentConfig(**_ONE_REQUEST, **config)
            )
    except Exception as error:  # noqa: BLE001 - whatever the SDK raises, none of it may leave: it holds the key
        raise refused(error, billing="image", hide=hide) from None
    sent_back = response.sdk_http_response
    answer = read_answer((sent_back and sent_back.body) or "")
    note_usage(answer, usage)
    return answer

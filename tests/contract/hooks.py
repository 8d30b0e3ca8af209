"""What schemathesis can't know from the OpenAPI document: why a request that fits it may be refused all the same.

Each line of `BEYOND_A_SCHEMA` is a rule about other requests, other things or the whole of a body. A refusal counts as
right only with the code and the words of such a rule; any other one is a finding.
"""

import os
import re
from typing import Any

import schemathesis

#: Code of the problem → words of its `detail`.
BEYOND_A_SCHEMA = {
    "idempotency_key_reused": r"This Idempotency-Key was used for another request",
    "insufficient_credits": r"",
    "unsupported_media": r"Only JPEG, PNG and WebP",  # what is in a file
    "too_large": r"",
    "validation_failed": (
        r"This cursor is not one of ours|At most 92 days|'from' must be before 'to'"
        r"|There is no operation|makes no media|A prompt or a prompt_id is needed"
        r"|is damaged or incomplete|picture .*can't be fetched|address"
        r"|/duration_seconds: is not a field of this call|A video of .* lasts|aspect ratio .* is not offered"
        r"|/(amount|max_credits): must be a whole number"  # credits have no point; JSON schema takes 5.0 for 5
        # each operation has its own fields, and Postgres stores no NUL at any depth
        r"|/input(/[^:]*)?: (is missing|is not a field of this call|must |contains |has a name|may be nested)"
    ),
}


@schemathesis.hook
def filter_failure(context: Any, failure: Any, case: Any, response: Any) -> bool:
    """Drop a refusal that only those rules explain."""
    if type(failure).__name__ != "RejectedPositiveData":
        return True
    if {None, "None"} & {*(case.path_parameters or {}).values()}:
        return False  # a null of an answer before, put into an address
    problem = response.json()
    words = BEYOND_A_SCHEMA.get(problem["code"])
    return words is None or not re.search(words, problem["detail"])


@schemathesis.hook
def filter_path_parameters(context: Any, path_parameters: dict[str, Any] | None) -> bool:
    """Leave the key alone with which all this is asked."""
    return (path_parameters or {}).get("key_id") != os.environ["TALLYFRAME_OWN_KEY_ID"]

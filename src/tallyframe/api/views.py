"""Rows → what goes over the wire, and the headers that go with it."""

from collections.abc import Sequence
from datetime import UTC, datetime
from time import time
from typing import Any, TypeVar, cast
from uuid import UUID

from fastapi import Response
from pydantic import BaseModel, ValidationError

from tallyframe.api import schemas
from tallyframe.errors import FAILURE_POLICY, FailureCode, Internal
from tallyframe.generations.queries import PROJECT, Row
from tallyframe.generations.states import LIVE
from tallyframe.storages.base import Storages

Answer = TypeVar("Answer", bound=BaseModel)


def asset(row: dict[str, Any], storages: Storages) -> schemas.Asset:
    """Return a stored file with its addresses."""
    storage = storages.by_name[row["storage"]]
    name = f"tallyframe-{str(row['id'])[-8:]}.{row['key'].rsplit('.', 1)[-1]}"
    fields = {field: row[field] for field in schemas.Asset.model_fields if field in row}
    download_url = storage.url(row["key"], download_as=name)
    return schemas.Asset(**fields, url=storage.url(row["key"]), download_url=download_url)


def error(code: str | None, message: str | None) -> schemas.ErrorOut | None:
    """Return a failure with its published policy, or None."""
    if code is None:
        return None
    fault, retryable, _ = FAILURE_POLICY[FailureCode(code)]
    return schemas.ErrorOut(code=code, message=message or "", fault=fault, retryable=retryable)


def generation(row: Row, storages: Storages) -> schemas.Generation:
    """Return a receipt."""
    fields = {name: row[f"generation_{name}"] for name in _GENERATION_FIELDS}
    return schemas.Generation(
        **cast("Any", fields),
        credits=schemas.Charge(
            quoted=row["generation_credits"],
            charged=int(row["generation_charged"]),
            refunded=int(row["generation_refunded"]),
        ),
        error=error(row["generation_error_code"], row["generation_error_message"]),
        outputs=[output(each, storages) for each in row["generation_outputs"] or []],
    )


_GENERATION_FIELDS = [name for name in schemas.Generation.model_fields if name not in {"credits", "error", "outputs"}]


def output(row: dict[str, Any], storages: Storages) -> schemas.Output:
    """Return a file that a generation has made."""
    return schemas.Output(**dict(asset(row, storages)), role=row["role"], position=row["position"])


def media(row: Row, storages: Storages) -> list[schemas.Media]:
    """Return what the project shows."""
    return [schemas.Media(**dict(output(each, storages)), version=each["version"]) for each in row["media"] or []]


def project(row: Row, storages: Storages) -> schemas.Project:
    """Return a project with the row's generation: its latest, or the one that an order made."""
    made, shown = generation(row, storages), media(row, storages)
    return schemas.Project(
        **{name: row[name] for name in PROJECT} | {"status": "published" if row["is_published"] else row["status"]},
        is_generating=row["status"] in LIVE,
        images=[asset(image, storages) for image in row["images"] or []],
        media=shown,
        image_url=url(shown, "image"),
        video_url=url(shown, "video"),
        error=made.error,
        generation=made,
    )


def ordered(storages: Storages, row: Row) -> dict[str, Any]:
    """Return what an order is answered with, in JSON values. Raises Internal; nothing has been done by then."""
    try:
        return (project if row.get("id") else generation)(row, storages).model_dump(mode="json")
    except ValidationError as wrong:
        raise not_shown(wrong, "This was not ordered, as it") from None


def read_as(model: type[Answer], answer: dict[str, Any]) -> Answer | None:
    """Return an answer that was kept; None for one of another version, that is no `model` any more."""
    try:
        return model.model_validate(answer)
    except ValidationError:
        return None


def not_shown(error: ValidationError, done: str) -> Internal:
    """Return what to say where an answer of ours isn't as it should be; `done`: the words before what is wrong."""
    wrong = ", ".join(".".join(map(str, item["loc"])) for item in error.errors(include_input=False))
    return Internal(f"{done} can't be shown: {wrong}. It has been logged under the request id.")


def published(row: Row, storages: Storages) -> schemas.Published:
    """Return a project as everybody sees it."""
    names = ("id", "kind", "prompt", "aspect_ratio", "display_name", "published_at")
    shown = media(row, storages)
    urls = {f"{role}_url": url(shown, role) for role in ("image", "video")}
    return schemas.Published(**{name: row[name] for name in names}, **urls)


def url(shown: Sequence[schemas.Media], role: str) -> str | None:
    """Return the address of a project's first image or video, if it has one."""
    return next((each.url for each in shown if each.role == role and each.position == 0), None)


def as_json(shown: BaseModel) -> bytes:
    """Return what goes over the wire. What we show is right, so it isn't checked again as the framework would."""
    return shown.__pydantic_serializer__.to_json(shown)


PRIVATE = "private, no-cache"


def with_retry_after(made: schemas.Generation, response: Response) -> schemas.Generation:
    """Say in the headers when to ask again, if it hasn't ended."""
    response.headers["Cache-Control"] = PRIVATE
    if made.status in LIVE:
        response.headers["Retry-After"] = str(retry_after(made.created_at))
    return made


def with_headers(
    project: schemas.Project, response: Response, storages: Storages, *, ordered: bool = False
) -> schemas.Project:
    """Say in the headers which state the project is in, and when to ask again if it generates.

    `ordered`: also where to ask, and of a replayed answer no state: the project may show another generation by now.
    """
    if ordered:
        response.headers["Location"] = f"/v1/projects/{project.id}"
    if "Idempotent-Replayed" not in response.headers:
        response.headers["ETag"] = etag(project.id, project.status_sequence, storages)
    response.headers["Cache-Control"] = PRIVATE
    if project.is_generating and project.generation:
        response.headers["Retry-After"] = str(retry_after(project.generation.created_at))
    return project


def retry_after(created_at: datetime) -> int:
    """Return the seconds after which to ask again: 2 at first, 5 for what has been going on for half a minute."""
    age = (datetime.now(UTC) - created_at).total_seconds()
    return 2 + min(int(max(age, 0) // 10), 3)


def etag(subject_id: UUID, state: object, storages: Storages) -> str:
    """Return the entity tag of one state of a project or generation.

    Where addresses stop working, it changes twice in their lifetime, so that no client keeps expired ones.
    """
    lifetimes = [storage.url_lifetime for storage in storages.by_name.values() if storage.url_lifetime]
    period = f"-{int(time() // (min(lifetimes) / 2))}" if lifetimes else ""
    return f'"{str(subject_id)[-12:]}-{state}{period}"'

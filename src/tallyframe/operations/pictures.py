"""Where an operation's fields hold pictures: by themselves, in lists, dicts, unions and models, at any depth."""

from collections.abc import Callable, Iterator, Mapping
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin
from uuid import UUID

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from tallyframe.errors import ValidationFailed
from tallyframe.operations.fields import MAX_PICTURES, IsPicture

#: What replaces a picture: gets what was sent, and where it stands.
Replace = Callable[[object, tuple[str, ...]], UUID]

#: Models in models that a value is followed into; deeper ones are refused by pydantic, where no id has replaced them.
DEEPEST = 20

#: What a client sends of a picture: one of these.
SENT = frozenset({"asset_id", "url"})


def most_pictures(model: type[BaseModel]) -> int:
    """Return how many pictures an order may have; a list without a `max_length` may have MAX_PICTURES items."""
    return _most(model, ())


def replace_pictures(model: type[BaseModel], sent: Mapping[str, Any], replace: Replace) -> dict[str, Any]:
    """Return the fields with each picture replaced. What hasn't the form of the model is left for it to refuse.

    Raises ValidationFailed for a list or a mapping with too many.
    """
    replaced: dict[str, Any] = _replaced(model, sent, replace, ())
    return replaced


def check_names(model: type[BaseModel]) -> None:
    """Raise TypeError for a field with pictures that is sent by several names or by a path: one would be overlooked."""
    for kind in _models(model, ()):
        for name, info in kind.model_fields.items():
            by_name = kind.model_config.get("populate_by_name") or kind.model_config.get("validate_by_name")
            by_alias = kind.model_config.get("validate_by_alias") is not False
            alias = info.validation_alias
            is_one = alias is None or (isinstance(alias, str) and by_alias and not by_name)
            if not is_one and _most(_fields(kind)[_sent_as(name, info)], ()):
                raise TypeError(f"{kind.__name__}.{name} has pictures, so a client may send it by one name only.")


def _models(annotation: Any, within: tuple[Any, ...]) -> Iterator[type[BaseModel]]:  # noqa: ANN401  # any annotation
    """Find the model itself and all that its fields name."""
    kind, _ = _plain(annotation)
    if _is_model(kind) and kind not in within:
        yield kind
        for field in _fields(kind).values():
            yield from _models(field, (*within, kind))
    for part in get_args(kind):
        yield from _models(part, within)


def _most(annotation: Any, within: tuple[Any, ...]) -> int:  # noqa: ANN401  # any annotation
    kind, notes = _plain(annotation)
    if _is_picture(notes):
        return 1
    if _is_model(kind):
        fields = () if kind in within else _fields(kind).values()
        return sum(_most(field, (*within, kind)) for field in fields)
    parts = [_most(part, within) for part in get_args(kind) if part is not Ellipsis]
    if get_origin(kind) is tuple and Ellipsis not in get_args(kind):
        return sum(parts)
    each = max(parts, default=0)
    return each if _is_union(kind) else each * _longest(notes)


def _replaced(annotation: Any, value: Any, replace: Replace, at: tuple[str, ...]) -> Any:  # noqa: ANN401
    kind, notes = _plain(annotation)
    if _is_picture(notes):
        return replace(value, at)
    if not _most(kind, ()) or len(at) > DEEPEST:
        return value
    if _is_union(kind):
        part = _fitting([part for part in get_args(kind) if part is not NoneType], value)
        return value if value is None or part is None else _replaced(part, value, replace, at)
    if isinstance(value, Mapping) and (_is_model(kind) or _is_mapping(kind)):
        if _is_mapping(kind):
            _refuse_more(len(value), _longest(notes), at)
        parts = _fields(kind) if _is_model(kind) else dict.fromkeys(value, get_args(kind)[-1])
        return {
            name: _replaced(parts[name], item, replace, (*at, name)) if name in parts else item
            for name, item in value.items()
        }
    if isinstance(value, list) and not (_is_model(kind) or _is_mapping(kind)):
        return _items(annotation, value, replace, at)
    return value


def _items(annotation: Any, items: list[Any], replace: Replace, at: tuple[str, ...]) -> list[Any]:  # noqa: ANN401
    kind, notes = _plain(annotation)
    parts = list(get_args(kind))
    if get_origin(kind) is tuple and Ellipsis not in parts:
        pairs = list(zip(parts, items, strict=False))
        rest = items[len(pairs) :]
    else:
        _refuse_more(len(items), _longest(notes), at)
        pairs, rest = [(parts[0], item) for item in items], []
    return [_replaced(part, item, replace, (*at, str(place))) for place, (part, item) in enumerate(pairs)] + rest


def _refuse_more(found: int, most: int, at: tuple[str, ...]) -> None:
    if found > most:
        raise ValidationFailed(f"There may be {most} at most.", pointer="".join(f"/{part}" for part in at))


def _fitting(parts: list[Any], value: Any) -> Any:  # noqa: ANN401
    """Return the first part of a union that holds pictures and has the value's form; None where there is none.

    Only what is on the surface counts: a value could be nested so deep that looking into each part would take for ever.
    """
    return parts[0] if len(parts) == 1 else next((part for part in parts if _has_form(part, value)), None)


def _has_form(part: Any, value: Any) -> bool:  # noqa: ANN401
    kind, notes = _plain(part)
    if not _most(part, ()):
        return False
    if _is_picture(notes):
        return isinstance(value, Mapping) and set(value) <= SENT
    if _is_model(kind):
        fields = _fields(kind)
        return isinstance(value, Mapping) and all(
            name in fields and _may_be(fields[name], item) for name, item in value.items()
        )
    return isinstance(value, Mapping if _is_mapping(kind) else list)


def _may_be(field: Any, value: Any) -> bool:  # noqa: ANN401
    """Tell whether a field may have a value, as far as it names its values: by these, models of a union differ."""
    kind, _ = _plain(field)
    return get_origin(kind) is not Literal or value in get_args(kind)


def _plain(annotation: Any) -> tuple[Any, tuple[Any, ...]]:  # noqa: ANN401
    """Return the type without its notes, and the notes."""
    if alias := getattr(annotation, "__value__", None):  # of a `type` statement
        return _plain(alias)
    if get_origin(annotation) is Annotated:
        kind, notes = _plain(annotation.__origin__)
        return kind, (*notes, *annotation.__metadata__)
    return annotation, ()


def _fields(model: type[BaseModel]) -> dict[str, Any]:
    """Return what each field may hold, by the name by which a client sends it."""
    model.model_rebuild()  # where it names models that were defined after it
    fields = model.model_fields.items()
    return {_sent_as(name, info): Annotated[info.annotation, *info.metadata, None] for name, info in fields}


def _sent_as(name: str, info: FieldInfo) -> str:
    return info.validation_alias if isinstance(info.validation_alias, str) else name


def _is_picture(notes: tuple[Any, ...]) -> bool:
    return any(isinstance(note, IsPicture) for note in notes)


def _is_model(kind: Any) -> bool:  # noqa: ANN401
    return isinstance(kind, type) and issubclass(kind, BaseModel)


def _is_mapping(kind: Any) -> bool:  # noqa: ANN401
    origin = get_origin(kind)
    return isinstance(origin, type) and issubclass(origin, Mapping)


def _is_union(kind: Any) -> bool:  # noqa: ANN401
    return get_origin(kind) in (Union, UnionType)


def _longest(notes: tuple[Any, ...]) -> int:
    lengths: list[int] = [length for note in notes if (length := getattr(note, "max_length", None)) is not None]
    return min(lengths, default=MAX_PICTURES)

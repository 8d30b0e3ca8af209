"""The signed-in user: profile, credits and API keys; and the price of each operation."""

from dataclasses import asdict
from operator import attrgetter, itemgetter
from uuid import UUID

from fastapi import APIRouter

from tallyframe.accounts import keys
from tallyframe.api import cursors, incoming, schemas
from tallyframe.api.dependencies import CurrentUser, IdempotentRequest, SystemServices, UserServices
from tallyframe.api.routes import SignedInFirst
from tallyframe.errors import NotFound
from tallyframe.generations import queries
from tallyframe.idempotency.keys import Key, in_progress_when_taken, keep_for
from tallyframe.ledger import history

router = APIRouter(prefix="/v1", tags=["account"], route_class=SignedInFirst)


@router.get("/me")
async def me(user: CurrentUser) -> schemas.Me:
    """Return the signed-in user."""
    return schemas.Me(**{name: getattr(user, name) for name in schemas.Me.model_fields})


@router.get("/credits")
async def get_credits(user: CurrentUser, serving: UserServices) -> schemas.CreditsOut:
    """Return the account's figures, which are all computed from the ledger."""
    async with serving.db.reading() as reader:
        figures = await history.figures(reader, user.account_id)
    return schemas.CreditsOut(**asdict(figures), reserved=await queries.reserved(serving.db, user.id))


@router.get("/credits/entries")
async def list_entries(
    user: CurrentUser, serving: UserServices, cursor: cursors.Cursor = None, limit: cursors.Limit = 20
) -> schemas.Entries:
    """Return the ledger, newest first."""
    before = cursors.decode(cursor, cursors.number)
    async with serving.db.reading() as reader:
        rows = await history.entries(reader, user.account_id, before=before[0] if before else None, limit=limit + 1)
    page, next_cursor = cursors.cut(rows, limit, itemgetter(0))
    return schemas.Entries(data=[schemas.Entry(**asdict(entry)) for _, entry in page], next_cursor=next_cursor)


@router.post("/api-keys", status_code=201)
async def create_api_key(once: IdempotentRequest, new: incoming.NewApiKey = incoming.UNNAMED) -> schemas.NewApiKeyOut:
    """Make an API key. Only this answer shows its secret: we don't store it, so a repeated request doesn't show it."""
    serving, user = once.serving, once.user
    made: dict[UUID, str] = {}

    async def create(key: Key | None) -> UUID:
        with in_progress_when_taken():
            async with serving.db.transaction() as transaction:
                api_key, secret = await keys.make(transaction, user.id, new.name)
                if key:
                    await keep_for(transaction, api_key.id, key)
        made[api_key.id] = secret
        return api_key.id

    async def render(key_id: UUID) -> schemas.NewApiKeyOut:
        mine = await keys.find(serving.db, user.id, key_id)
        if mine is None:
            raise NotFound
        return schemas.NewApiKeyOut(**asdict(mine), secret=made.get(key_id))

    return await once.answer(schemas.NewApiKeyOut, new, create, render, secrets=("secret",))


@router.get("/api-keys")
async def list_api_keys(
    user: CurrentUser, serving: UserServices, cursor: cursors.Cursor = None, limit: cursors.Limit = 20
) -> schemas.ApiKeys:
    """Return the user's working keys, newest first, without their secrets."""
    before = cursors.decode(cursor, UUID)
    found = await keys.listed(serving.db, user.id, before=before[0] if before else None, limit=limit + 1)
    page, next_cursor = cursors.cut(found, limit, attrgetter("id"))
    data = [schemas.ApiKeyOut(**asdict(key)) for key in page]
    return schemas.ApiKeys(data=data, next_cursor=next_cursor)


@router.delete("/api-keys/{key_id}", status_code=204)
async def revoke_api_key(key_id: UUID, user: CurrentUser, serving: UserServices) -> None:
    """Revoke a key."""
    serving.callers.forget(await keys.revoke(serving.db, user.id, key_id))


@router.get("/pricing")
async def pricing(serving: SystemServices) -> schemas.Pricing:
    """Return what each operation costs. No sign-in is needed."""
    prices = serving.terms.prices
    data = [schemas.Price(operation=name, credits=prices[name]) for name in serving.terms.operations]
    return schemas.Pricing(data=data)

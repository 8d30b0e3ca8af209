"""The API of the usual way.

python -m bench.peers.usual.app PORT
"""

import hashlib
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any, Literal
from uuid import UUID

import uvicorn
from arq import create_pool
from arq.connections import RedisSettings
from fastapi import Depends, FastAPI, Header, HTTPException, Request
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import selectinload

from bench.peers.usual.tables import Account, ApiKey, Entry, Generation, IdempotencyKey, Project, User

PRICE = 5  # credits
engine = create_async_engine(os.environ["USUAL_DATABASE_URL"], pool_size=10, max_overflow=10)
sessions = async_sessionmaker(engine, expire_on_commit=False)


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Connect to the queue."""
    app.state.queue = await create_pool(RedisSettings.from_dsn(os.environ["USUAL_REDIS_URL"]))
    yield
    await app.state.queue.aclose()
    await engine.dispose()


app = FastAPI(lifespan=lifespan)


class NewProject(BaseModel):
    """An order."""

    kind: Literal["image", "video"]
    prompt: str = Field(min_length=1, max_length=4000)


class GenerationOut(BaseModel):
    """A paid run, as it is shown."""

    model_config = ConfigDict(from_attributes=True)
    id: UUID
    operation: str
    status: str
    credits: int
    created_at: AwareDatetime
    finished_at: AwareDatetime | None


class ProjectOut(BaseModel):
    """A project, as it is shown."""

    model_config = ConfigDict(from_attributes=True)
    id: UUID
    kind: str
    prompt: str
    status: str
    created_at: AwareDatetime
    updated_at: AwareDatetime
    generations: list[GenerationOut]


async def open_session() -> AsyncIterator[AsyncSession]:
    """Open a session for the request."""
    async with sessions() as session:
        yield session


Session = Annotated[AsyncSession, Depends(open_session)]


async def signed_in(session: Session, authorization: Annotated[str, Header()]) -> User:
    """Return the user with this key."""
    hashed = hashlib.sha256(authorization.removeprefix("Bearer ").encode()).digest()
    user = await session.scalar(select(User).join(ApiKey).where(ApiKey.secret_hash == hashed))
    if user is None:
        raise HTTPException(401)
    return user


CurrentUser = Annotated[User, Depends(signed_in)]


@app.post("/v1/projects", status_code=202)
async def create_project(
    request: Request,
    order: NewProject,
    session: Session,
    user: CurrentUser,
    idempotency_key: Annotated[str, Header()],
) -> ProjectOut:
    """Take the credits, write everything down, and have it made."""
    fingerprint = hashlib.sha256(order.model_dump_json().encode()).digest()
    if known := await session.get(IdempotencyKey, (user.id, idempotency_key)):
        if known.fingerprint != fingerprint:
            raise HTTPException(422)
        return ProjectOut.model_validate(known.answer)
    account = await session.scalar(select(Account).where(Account.user_id == user.id).with_for_update())
    if account is None or account.balance < PRICE:
        raise HTTPException(402)
    account.balance -= PRICE
    project = Project(user_id=user.id, kind=order.kind, prompt=order.prompt, status="pending")
    paid = {"user_id": user.id, "operation": order.kind, "credits": PRICE, "status": "pending"}
    generation = Generation(project=project, input=order.model_dump(), ticket=None, finished_at=None, **paid)
    entry = {"kind": "debit", "amount": -PRICE, "balance_after": account.balance}
    session.add_all([project, Entry(account_id=account.id, generation=generation, **entry)])
    await session.flush()
    answer = ProjectOut.model_validate(project)
    kept: dict[str, Any] = answer.model_dump(mode="json")
    session.add(IdempotencyKey(user_id=user.id, key=idempotency_key, fingerprint=fingerprint, answer=kept))
    await session.commit()
    await request.app.state.queue.enqueue_job("run_generation", str(generation.id))
    return answer


@app.get("/v1/projects/{project_id}")
async def get_project(project_id: UUID, session: Session, user: CurrentUser) -> ProjectOut:
    """Show a project."""
    mine = select(Project).where(Project.id == project_id, Project.user_id == user.id)
    project = await session.scalar(mine.options(selectinload(Project.generations)))
    if project is None:
        raise HTTPException(404)
    return ProjectOut.model_validate(project)


if __name__ == "__main__":
    uvicorn.run(app, port=int(sys.argv[1]))

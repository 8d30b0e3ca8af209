"""The tables of the usual way, as ORM classes."""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import TIMESTAMP, BigInteger, ForeignKey, MetaData, UniqueConstraint
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

from tallyframe.ids import new_id


def now() -> datetime:
    """Return the time."""
    return datetime.now(UTC)


class Base(DeclarativeBase):
    """All tables of it."""

    metadata = MetaData(schema="usual")
    type_annotation_map = {datetime: TIMESTAMP(timezone=True), dict[str, Any]: JSONB}  # noqa: RUF012  # as SQLAlchemy asks


class User(Base):
    """Somebody who can sign in."""

    __tablename__ = "users"
    id: Mapped[UUID] = mapped_column(primary_key=True)
    email: Mapped[str] = mapped_column(unique=True)


class ApiKey(Base):
    """A key, by its hash."""

    __tablename__ = "api_keys"
    id: Mapped[UUID] = mapped_column(primary_key=True)
    user_id: Mapped[UUID] = mapped_column(ForeignKey(User.id), index=True)
    secret_hash: Mapped[bytes] = mapped_column(unique=True)
    user: Mapped[User] = relationship()


class Account(Base):
    """A user's credits."""

    __tablename__ = "accounts"
    id: Mapped[UUID] = mapped_column(primary_key=True)
    user_id: Mapped[UUID] = mapped_column(ForeignKey(User.id), unique=True)
    balance: Mapped[int] = mapped_column(BigInteger)
    user: Mapped[User] = relationship()


class Project(Base):
    """What the user sees."""

    __tablename__ = "projects"
    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    user_id: Mapped[UUID] = mapped_column(ForeignKey(User.id), index=True)
    kind: Mapped[str]
    prompt: Mapped[str]
    status: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(default=now)
    updated_at: Mapped[datetime] = mapped_column(default=now)
    generations: Mapped[list["Generation"]] = relationship(back_populates="project")


class Generation(Base):
    """A paid run."""

    __tablename__ = "generations"
    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    project_id: Mapped[UUID] = mapped_column(ForeignKey(Project.id), index=True)
    user_id: Mapped[UUID] = mapped_column(ForeignKey(User.id), index=True)
    operation: Mapped[str]
    input: Mapped[dict[str, Any]]
    credits: Mapped[int] = mapped_column(BigInteger)
    status: Mapped[str] = mapped_column(index=True)
    ticket: Mapped[str | None]
    created_at: Mapped[datetime] = mapped_column(default=now)
    finished_at: Mapped[datetime | None]
    project: Mapped[Project] = relationship(back_populates="generations")


class Entry(Base):
    """A change of a balance."""

    __tablename__ = "entries"
    __table_args__ = (UniqueConstraint("kind", "generation_id"),)
    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    account_id: Mapped[UUID] = mapped_column(ForeignKey(Account.id), index=True)
    generation_id: Mapped[UUID] = mapped_column(ForeignKey(Generation.id))
    kind: Mapped[str]
    amount: Mapped[int] = mapped_column(BigInteger)
    balance_after: Mapped[int] = mapped_column(BigInteger)
    created_at: Mapped[datetime] = mapped_column(default=now)
    generation: Mapped[Generation] = relationship()


class IdempotencyKey(Base):
    """A request that was answered."""

    __tablename__ = "idempotency_keys"
    user_id: Mapped[UUID] = mapped_column(ForeignKey(User.id), primary_key=True)
    key: Mapped[str] = mapped_column(primary_key=True)
    fingerprint: Mapped[bytes]
    answer: Mapped[dict[str, Any]]
    created_at: Mapped[datetime] = mapped_column(default=now)

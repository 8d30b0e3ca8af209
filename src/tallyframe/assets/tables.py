"""The rows of stored files. The address of a file is built from `storage` and `key` when it is asked for."""

import sqlalchemy as sa

from tallyframe.columns import id_column, metadata, time_column

#: The role of a picture that came with an order, as bytes or by its address. It goes when its project goes or, without
#: one, the last generation whose input names it; so does an output whose project or generation has gone before.
ORDERED = "ordered"

#: Files whose rows are deleted and whose bytes are still to be removed.
erased_files = sa.Table(
    "erased_files",
    metadata,
    id_column("asset_id", primary_key=True),
    id_column("project_id", nullable=False, index=True),  # or the generation, where there is no project
    sa.Column("storage", sa.Text, nullable=False, index=True),
    sa.Column("key", sa.Text, nullable=False),
)

#: The condition of a picture that was uploaded by itself, for later orders. Literal, for the partial indexes.
UPLOAD = "role IS NULL AND project_id IS NULL AND generation_id IS NULL"

assets = sa.Table(
    "assets",
    metadata,
    id_column(primary_key=True),
    id_column("user_id", sa.ForeignKey("users.id"), nullable=False),
    id_column("project_id", sa.ForeignKey("projects.id"), nullable=True, index=True),  # goes when this project goes
    id_column("generation_id", sa.ForeignKey("generations.id"), nullable=True, index=True),  # outputs only
    sa.Column("role", sa.Text),  # of an output: what it is used as, such as "image"; or ORDERED
    sa.Column("position", sa.SmallInteger),  # of an output: from 0, among those of its role
    sa.Column("storage", sa.Text, nullable=False),
    sa.Column("key", sa.Text, nullable=False),
    sa.Column("content_type", sa.Text, nullable=False),
    sa.Column("bytes", sa.BigInteger, nullable=False),
    sa.Column("sha256", sa.Text, nullable=False),  # lower-case hex, of the stored bytes
    sa.Column("width", sa.Integer),  # pixels; null where the type has none
    sa.Column("height", sa.Integer),  # pixels
    sa.Column("duration_seconds", sa.Float),  # videos only
    time_column("created_at", now=True),
    # Of an upload: when it goes, unless something uses it then.
    sa.Column("expires_at", sa.TIMESTAMP(timezone=True), server_default=sa.text("(now() + '30 days'::interval)")),
    time_column("deleted_at", nullable=True),  # of an upload: gone for its owner, and soon for all
    sa.UniqueConstraint("storage", "key"),
    sa.CheckConstraint("bytes > 0 AND width > 0 AND height > 0", name="size"),
    sa.CheckConstraint(
        "width IS NOT NULL AND height IS NOT NULL OR content_type !~ '^(image|video)/'", name="media_has_size"
    ),
    sa.Index(
        "uq_assets_output",
        "generation_id",
        "role",
        "position",
        unique=True,
        postgresql_where=sa.text("generation_id IS NOT NULL"),
    ),
    sa.Index("ix_assets_alone", "user_id", postgresql_where=sa.text("project_id IS NULL")),
    sa.Index("ix_assets_uploads", "user_id", "id", postgresql_where=sa.text(f"{UPLOAD} AND deleted_at IS NULL")),
    sa.Index("ix_assets_expiring", "expires_at", postgresql_where=sa.text(f"{UPLOAD} AND deleted_at IS NULL")),
    sa.Index("ix_assets_deleted", "id", postgresql_where=sa.text("deleted_at IS NOT NULL")),
)

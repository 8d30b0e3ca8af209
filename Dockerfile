# syntax=docker/dockerfile:1
# One image for `tallyframe api`, `worker` and `migrate`. It has no embedded servers: give it Postgres and Redis.

FROM python:3.13-slim AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
RUN python -m venv --without-pip /opt/tallyframe
WORKDIR /build
# The pinned dependencies first: they change less often than the source, so this layer stays in the cache.
COPY requirements.lock ./
RUN pip --python /opt/tallyframe/bin/python install --require-hashes --no-deps --only-binary=:all: -r requirements.lock
COPY pyproject.toml README.md LICENSE ./
COPY migrations ./migrations
COPY src ./src
RUN pip wheel --no-deps --wheel-dir /wheels . \
 && pip --python /opt/tallyframe/bin/python install --no-deps --no-index /wheels/*.whl

FROM python:3.13-slim
RUN groupadd --system --gid 10001 tallyframe \
 && useradd --system --uid 10001 --gid tallyframe --no-create-home --home-dir /data tallyframe \
 && install --directory --owner tallyframe --group tallyframe --mode 0750 /data
COPY --from=build /opt/tallyframe /opt/tallyframe
ENV PATH=/opt/tallyframe/bin:$PATH PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 TALLYFRAME_DATA_DIR=/data
# By number, so that a platform can tell that it isn't root.
USER 10001:10001
WORKDIR /data
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=5s --start-period=20s --retries=3 \
  CMD ["python", "-c", "from urllib.request import urlopen; urlopen('http://127.0.0.1:8000/healthz', timeout=3)"]
ENTRYPOINT ["tallyframe"]
CMD ["api", "--host", "0.0.0.0"]

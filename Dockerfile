# Sluice in a container. The root file system can be read-only: everything that changes is in /data.
#
#   docker build -t sluice .
#   docker run --read-only --tmpfs /tmp -v sluice-data:/data -p 127.0.0.1:8080:8080 sluice
#
# The base is pinned by its version tag. To pin its bytes as well, add the digest that
# `docker buildx imagetools inspect python:3.11.14-slim-bookworm` prints: python:…@sha256:…

FROM python:3.11.14-slim-bookworm AS build

ENV PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_NO_CACHE_DIR=1

RUN python -m venv /venv
COPY requirements.lock /build/
RUN /venv/bin/python -m pip install --require-hashes --requirement /build/requirements.lock

COPY gateway /app/gateway
COPY policies /app/policies
COPY config.toml /app/config.toml
# Compiled here, since nothing can be on a read-only file system; hash-based, because layers do not
# keep the times that Python would otherwise compare. And config.toml's `data/` is relative to that
# file: the link puts database and pepper on the volume, also where another file is mounted over it.
RUN python -m compileall -q --invalidation-mode unchecked-hash /app/gateway /app/policies \
    && ln -s /data /app/data

FROM python:3.11.14-slim-bookworm

COPY --from=build /venv /venv
COPY --from=build /app /app
RUN useradd --uid 10001 --no-create-home --home-dir /data --shell /usr/sbin/nologin sluice \
    && install -d -o sluice -g sluice -m 0700 /data

ENV PATH=/venv/bin:$PATH \
    PYTHONPATH=/app \
    PYTHONSAFEPATH=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    SLUICE_CONFIG=/app/config.toml

USER 10001
WORKDIR /data
VOLUME /data
EXPOSE 8080

# The exit status of an exception is 1, which is what Docker calls unhealthy.
HEALTHCHECK --interval=10s --timeout=3s --start-period=60s --retries=3 CMD ["python", "-c", \
    "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8080/health/live', timeout=2)"]

# `docker exec CONTAINER python -m gateway keys create NAME` is the command line.
ENTRYPOINT ["python", "-m", "gateway"]
CMD ["serve", "--host", "0.0.0.0", "--port", "8080"]

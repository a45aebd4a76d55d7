# One image for every room; compose.yaml chooses the command. Locked dependencies, no build tools, no root.
FROM python:3.13-slim AS build
COPY requirements.lock /build/
RUN python -m venv /opt/streamkit \
 && /opt/streamkit/bin/pip install --no-cache-dir --disable-pip-version-check --require-hashes -r /build/requirements.lock
COPY pyproject.toml README.md LICENSE /build/
COPY api /build/api
COPY ingest /build/ingest
COPY projector /build/projector
COPY schemas /build/schemas
COPY streamkit /build/streamkit
RUN /opt/streamkit/bin/pip install --no-cache-dir --disable-pip-version-check --no-deps --no-build-isolation /build

FROM python:3.13-slim
RUN useradd --system --uid 10001 --home-dir /data --create-home streamkit \
 && install -d -o streamkit -g streamkit /snapshots
COPY --from=build /opt/streamkit /opt/streamkit
ENV PATH=/opt/streamkit/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    STREAMKIT_DATA_DIR=/data
USER streamkit
WORKDIR /data
VOLUME /data
STOPSIGNAL SIGTERM
ENTRYPOINT ["streamkit"]
CMD ["up"]

# The server with Redis as its backbone, from this checkout: the context is the root of the repository.
FROM python:3.13-slim AS build
COPY constraints.txt /src/
COPY core /src/core
COPY plugins /src/plugins
WORKDIR /src
RUN python -m venv /opt/cabochon \
    && /opt/cabochon/bin/pip install --no-cache-dir -c constraints.txt ./core ./plugins/opal_server ./plugins/redis_backbone

FROM python:3.13-slim
COPY --from=build /opt/cabochon /opt/cabochon
ENV PATH=/opt/cabochon/bin:$PATH
# Volumes that are mounted here belong to the one who uses them.
RUN useradd --uid 10001 --no-create-home cabochon \
    && install --directory --owner=cabochon /var/lib/cabochon /policy-repo
USER 10001
CMD ["cabochon", "server", "run"]

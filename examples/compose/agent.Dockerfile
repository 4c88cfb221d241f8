# An agent and OPA, from this checkout: the context is the root of the repository.
FROM python:3.13-slim AS build
COPY constraints.txt /src/
COPY core /src/core
COPY plugins /src/plugins
WORKDIR /src
RUN python -m venv /opt/cabochon \
    && /opt/cabochon/bin/pip install --no-cache-dir -c constraints.txt ./core ./plugins/agent_api ./plugins/callbacks ./plugins/http_fetcher ./plugins/opa ./plugins/opal_source

FROM python:3.13-slim
COPY --from=openpolicyagent/opa:1.22.2-static /opa /usr/local/bin/opa
COPY --from=build /opt/cabochon /opt/cabochon
ENV PATH=/opt/cabochon/bin:$PATH
RUN useradd --uid 10001 --no-create-home cabochon
USER 10001
CMD ["cabochon", "agent", "run"]

# OpenCode, in the version that the server's tests run against.

FROM node:22-bookworm-slim
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates git ripgrep \
    && rm -rf /var/lib/apt/lists/* \
    && npm install --global --no-fund --no-audit opencode-ai@1.18.33 \
    && groupadd --system --gid 10002 opencode \
    && useradd --system --uid 10002 --gid 10002 --home-dir /home/opencode --create-home opencode \
    && install -d -o 10002 -g 10002 /workspace
USER 10002:10002
WORKDIR /workspace
EXPOSE 4096
ENTRYPOINT ["opencode"]
CMD ["serve", "--hostname", "0.0.0.0", "--port", "4096"]

# syntax=docker/dockerfile:1
# One image for both processes: `ticketwright` (the worker) and `ingress`. It brings the tools that agents expect, because
# the sandbox shows them the image's /usr read-only.
#
#   docker build -t ticketwright .
#   docker run --rm ticketwright ticketwright --help
#   docker run --rm ticketwright ingress --help

ARG DEBIAN=bookworm

FROM rust:1.95-${DEBIAN} AS rust
FROM golang:1.26-${DEBIAN} AS go
FROM node:24-${DEBIAN}-slim AS node

FROM rust AS build
WORKDIR /source
COPY . .
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/source/target \
    cargo build --release --locked --package worker --package ingress \
    && install -D --target-directory=/out target/release/ticketwright target/release/ticketwright-inside target/release/ingress

FROM debian:${DEBIAN}-slim
# bubblewrap, util-linux: the sandbox. git, ca-certificates: repositories. tini: reaps what sandboxes leave behind.
# The rest is for the agents' commands.
RUN apt-get update \
    && DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends \
        bash bubblewrap ca-certificates curl git tini util-linux \
        build-essential cmake default-jdk-headless file jq less make maven patch pkg-config procps ripgrep unzip \
        python3 python3-numpy python3-pandas python3-pip python3-pytest python3-requests python3-venv python-is-python3 \
    && rm -rf /var/lib/apt/lists/*
COPY --from=rust /usr/local/rustup/toolchains /usr/local/rust
COPY --from=go /usr/local/go /usr/local/go
COPY --from=node /usr/local/bin /usr/local/bin
COPY --from=node /usr/local/lib/node_modules /usr/local/lib/node_modules
ENV PATH=/usr/local/go/bin:/usr/local/bin:/usr/bin:/usr/sbin:/bin:/sbin
# The toolchain itself and not rustup's proxies, which look for their settings in a home directory that sandboxes lack.
# ts-jest needs the compiler API of TypeScript 5.
RUN ln --symbolic /usr/local/rust/*/bin/* /usr/local/bin/ \
    && npm install --global --no-fund --no-audit typescript@5 jest@30 eslint@9 prettier@3 \
    && rm -rf /root/.npm

# The worker is nobody special: bubblewrap makes its sandboxes in user namespaces.
RUN useradd --create-home --uid 10001 --shell /usr/sbin/nologin ticketwright \
    && install -d -o ticketwright -g ticketwright \
        /var/lib/ticketwright /var/lib/ticketwright/data /var/lib/ticketwright/workspaces
COPY --from=build /out/ticketwright /out/ticketwright-inside /out/ingress /usr/local/bin/
USER ticketwright
WORKDIR /var/lib/ticketwright
ENV INGRESS_LISTEN=0.0.0.0:8080
EXPOSE 8080
ENTRYPOINT ["tini", "--"]
CMD ["ticketwright"]

# syntax=docker/dockerfile:1
# One image for both processes: `ticketwright` (the worker) and `ingress`. It brings the tools that agents expect, because
# the sandbox shows them the image's /usr read-only.
#
#   docker build -t ticketwright .
#   docker run --rm ticketwright ticketwright --help
#   docker run --security-opt seccomp=unconfined --security-opt apparmor=unconfined --security-opt systempaths=unconfined ...
#                                                        for the worker: its sandboxes need namespaces and a /proc of their own
#   docker run --rm ticketwright ingress --help

ARG DEBIAN=bookworm

FROM rust:1.95-${DEBIAN} AS rust
# The image has the compiler and cargo only.
RUN rustup component add rustfmt clippy
FROM golang:1.26-${DEBIAN} AS go
FROM node:24-${DEBIAN}-slim AS node
FROM gradle:9-jdk21 AS gradle

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
COPY --from=gradle /opt/gradle /usr/local/gradle
ENV PATH=/usr/local/go/bin:/usr/local/bin:/usr/bin:/usr/sbin:/bin:/sbin
# The toolchain itself and not rustup's proxies, which look for their settings in a home directory that sandboxes lack.
# ts-jest needs the compiler API of TypeScript 5.
RUN ln --symbolic /usr/local/rust/*/bin/* /usr/local/bin/ \
    && ln --symbolic /usr/local/gradle/bin/gradle /usr/local/bin/gradle \
    && rm -f /usr/local/bin/yarn /usr/local/bin/yarnpkg \
    && npm install --global --no-fund --no-audit typescript@5.9.3 jest@30.5.2 eslint@9.39.5 prettier@3.10.1 \
        pnpm@9.15.9 yarn@1.22.22 \
    && python3 -m pip install --no-cache-dir --break-system-packages uv==0.13.9 \
    && python3 -m venv /usr/local/poetry && /usr/local/poetry/bin/pip install --no-cache-dir poetry==2.2.1 poetry-plugin-pypi-mirror==0.6.5 \
    && ln --symbolic /usr/local/poetry/bin/poetry /usr/local/bin/poetry \
    && rm -rf /root/.npm
# Each tool that agents are told of is there, with nothing but /usr in reach of its settings.
RUN for tool in cargo cargo-clippy cargo-fmt eslint gcc go gradle jest jq mvn node npm pnpm poetry prettier python3 rg rustc tsc \
        uv yarn; do command -v "$tool" >/dev/null || { echo "$tool is missing"; exit 1; }; done

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

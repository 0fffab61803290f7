# Two commands carry a newcomer: `make demo` and `make test`. The others are extras.
.PHONY: demo test lint build install up bench-ingress bench-agent bench-sandbox bench-workspace test-contracts sandbox-probes check-image

# Where the demo's settings come from: make demo REPO=... TICKET=... SCRIPT=... MODEL=bedrock SCENARIO=jira|sentry|ci|comment|crash YES=1
export REPO TICKET SCRIPT MODEL SCENARIO YES

demo: build
	@tools/temporal/temporal.sh >/dev/null
	@DEMO_PREPARED="$$(scripts/install --summary)" exec target/debug/demo

# The scenarios run the product's own binaries, so these are built first. Proofs are tried on the runners of other languages.
test: INSTALL = --tests
test: build
	@tools/temporal/temporal.sh >/dev/null
	cargo test --workspace

build: install
	@[ -d target/debug ] || echo "Building: about 10 minutes the first time, seconds later."
	cargo build --workspace

install:
	@scripts/install $(INSTALL)

lint:
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps

up:
	docker compose -f docker-compose.temporal.yml --profile app up --build

# Webhook to listed workflow, on a dev server.
bench-ingress: build
	@tools/temporal/temporal.sh >/dev/null
	@target/debug/bench_ingress

# What the agent loop costs: time, bytes, price of input. About 15 minutes; ONLY="time price" leaves out the bytes.
bench-agent: build
	@tools/temporal/temporal.sh >/dev/null
	@cargo build --quiet --workspace --example bench_agent
	@target/debug/examples/bench_agent $(ONLY)

# What workspace calls cost on a repository of 200 MB. About two minutes on a quiet machine.
bench-workspace: build
	@cargo build --quiet --workspace --example bench_workspace
	@target/debug/examples/bench_workspace

# Our requests against AWS's own description of Bedrock. Part of `make test` too, which goes on where PyPI cannot be reached.
test-contracts: build
	@tools/temporal/temporal.sh >/dev/null
	TICKETWRIGHT_CONTRACTS=required cargo test --workspace --test contracts

# What a command must not be able to do, tried in the real sandbox and in weakened ones, as root (if you are) and as a user.
sandbox-probes: build
	cargo test --quiet --workspace --test sandbox_probes -- all

# What the sandbox costs: the start of a command, and a build in it, in the optimized build that people run. Nothing else should run
# on the machine.
bench-sandbox: install
	@[ -d target/release ] || echo "Building: about 15 minutes the first time."
	@cargo build --quiet --release --workspace --example bench_sandbox --bin ticketwright-inside
	@target/release/examples/bench_sandbox

# Whether what the Dockerfile names exists; with BUILD=directory (root, mmdebstrap) also whether its RUN lines and its tools work.
check-image:
	@scripts/check-image $(if $(BUILD),--build $(BUILD))

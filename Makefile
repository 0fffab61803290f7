build:
	cargo build --workspace

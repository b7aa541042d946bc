# The commands of the project. `make` lists them.
SHELL := /usr/bin/env bash
.DEFAULT_GOAL := help
export CARGO_TERM_COLOR ?= never

.PHONY: help setup build fmt lint crds chart-docs guests images cluster cluster-down demo demo-cluster test test-fast fuzz bench bench-operator bench-sharing chaos

help: ## List the commands
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 16

build: ## Build both programs into target/release
	cargo build --release --locked -p spinredis -p spin-redis-operator

fmt: ## Format the Rust code
	cargo fmt --all

lint: ## Check format and lints
	cargo fmt --all --check
	cargo clippy --release --locked --workspace --all-targets -- -D warnings

crds: ## Generate the CRD and the chart's copy of it
	cargo run --release --locked --quiet -p spinredis-crds > target/spinredisapps.yaml
	install -m 0644 target/spinredisapps.yaml crds/spinredisapps.yaml
	install -m 0644 target/spinredisapps.yaml charts/spin-redis-operator/files/spinredisapps.yaml

chart-docs: ## Make the table of values in the chart's README from the comments in its values.yaml
	UPDATE_FIXTURES=1 cargo test --release --locked --quiet -p spinredis-tests --test chart the_readme

guests: ## Build the WebAssembly guests that need a compiler into target/guests
	tests/guests/build.sh

images: build ## Build the images with docker, podman or buildah (BASE, TAG, IMAGE_PREFIX)
	tests/images.sh

cluster: ## Start a Kubernetes to play with
	tests/cluster/people.sh up

cluster-down: ## Stop it
	tests/cluster/people.sh down

demo: ## Run examples/hello against a real Redis on this machine
	examples/demo.sh

demo-cluster: ## The same through the operator, on a real Kubernetes that stays up
	examples/demo-cluster.sh

test-fast: ## The tests that need no cluster, no registry and no Redis
	cargo test --release --locked --workspace --lib --bins

# Targets run side by side, so more of them than processors get less each.
fuzz: ## Fuzz everything that reads what strangers wrote (FUZZ_SECONDS for each target, TARGET for one)
	FUZZ_SECONDS=$(or $(FUZZ_SECONDS),300) cargo test --release --locked -p spinredis --test fuzz -- --nocapture $(TARGET)

# Nothing else should run on the machine meanwhile.
bench: guests ## Measure against Spin's way and native code (ARGS=--quick for two minutes instead of a quarter of an hour)
	cargo build --release --locked --workspace --bins
	target/release/spinredis-bench --json target/bench.json $(ARGS)

bench-operator: ## Measure the operator against a real API server (BENCH_APPS=200,1000)
	tests/cluster/cluster.sh tools
	cargo build --release --locked --workspace --bin spin-redis-operator
	cargo test --release --locked --workspace --test operator_scale -- --ignored --exact --nocapture bench_operator

chaos: ## Kill replicas that share messages, the operator and the API server at random (CHAOS_SECONDS=120), then see that all is well
	tests/cluster/cluster.sh tools
	cargo build --release --locked --workspace --bins
	cargo test --release --locked --workspace --test sharing -- --ignored --nocapture sharing_chaos
	cargo test --release --locked --workspace --test operator_scale -- --ignored --exact --nocapture chaos

bench-sharing: ## Measure what sharing messages costs and gains; the message path is part of `make bench`
	cargo build --release --locked --workspace --bins
	cargo test --release --locked --workspace --test sharing -- --ignored --nocapture --test-threads 1 cost::

test: ## Everything: format, lints, unit tests, real Redis, real registry, real Kubernetes
	tests/run.sh

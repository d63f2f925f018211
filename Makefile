# Every command of the project. `make help` lists them.
#
# What is built once stays in KEYSTEAD_CACHE, outside the checkout, so that a fresh clone finds it again:
# target/ (compiled code), tools/ (cargo-deny, cargo-fuzz, promtool), and the Kubernetes programs.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.NOTPARALLEL:

XDG_CACHE_HOME ?= $(HOME)/.cache
export KEYSTEAD_CACHE ?= $(XDG_CACHE_HOME)/keystead
export CARGO_TARGET_DIR ?= $(KEYSTEAD_CACHE)/target
# Seconds for each fuzz target.
export FUZZ_SECONDS ?= 20
# Repository in the name of the image that `image` builds; the tag is a hash of the binary.
export IMAGE_REPOSITORY ?= localhost/keystead

# How many control planes run at once: half of the time their tests wait for something.
CONTROL_PLANES := $(shell echo $$(($$(nproc) * 2)))

# Test targets that need a control plane or a database, and those that need a node; every other one is a unit test.
names = $(patsubst $(1)/%.rs,%,$(wildcard $(1)/*.rs)) $(patsubst $(1)/%/main.rs,%,$(wildcard $(1)/*/main.rs))
NODE_TESTS := $(filter e2e node,$(call names,tests) $(call names,tests/cluster/tests))
CONTROL_PLANE_TESTS := $(filter integration databases,$(call names,tests)) $(filter-out $(NODE_TESTS),$(call names,tests/cluster/tests))
UNIT_TESTS := $(filter-out $(CONTROL_PLANE_TESTS) $(NODE_TESTS),$(call names,tests))

.PHONY: help
help: ## List the targets (this list)
	@awk -F ':.*## ' '/^[a-z][a-z0-9-]*:.*## / { printf "  %-14s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

.PHONY: demo demo-down
demo: ## Start a one-node cluster, install Keystead, apply examples/, show the result
	@scripts/demo.sh up
demo-down: ## Stop the demo and leave nothing of it behind
	@scripts/demo.sh down

.PHONY: test
test: ## Everything below, in order: lint alerts unit docs deny fuzz integration e2e
	@scripts/steps.sh lint alerts unit docs deny fuzz integration e2e

.PHONY: lint
lint: ## Formatting, clippy, the chart, the scripts; warnings are errors
	cargo fmt --all --check
	cargo fmt --manifest-path fuzz/Cargo.toml --check
	@scripts/lint-scripts.sh
	cargo clippy --workspace --all-targets --locked -- -D warnings
	@scripts/lint-chart.sh

.PHONY: alerts
alerts: ## The chart's alerts, with promtool (taken from Debian once)
	@scripts/alerts.sh

.PHONY: unit
unit: ## Unit, property, vector, interop and documentation tests; generated files are up to date
	cargo test --locked --workspace --lib --bins $(addprefix --test ,$(UNIT_TESTS))
	cargo test --locked --workspace --doc

.PHONY: docs
docs: ## Build the documentation of the source; warnings are errors
	RUSTDOCFLAGS="-D warnings" cargo doc --locked --no-deps --document-private-items --workspace

.PHONY: deny
deny: ## Licences, sources and bans of all dependencies; advisories when a database can be had
	@scripts/deny.sh

.PHONY: fuzz
fuzz: ## Run every fuzz target for FUZZ_SECONDS (default 20); needs a nightly toolchain
	@scripts/fuzz.sh

.PHONY: integration
integration: ## Tests on real control planes (etcd, API server, controller manager) and databases
	RUST_TEST_THREADS="$${RUST_TEST_THREADS:-$(CONTROL_PLANES)}" cargo test --locked --workspace $(addprefix --test ,$(or $(CONTROL_PLANE_TESTS),$(error there are no such tests)))

.PHONY: e2e
e2e: image ## Tests on a real node, through the image and the chart; needs root
	@scripts/e2e.sh $(addprefix --test ,$(or $(NODE_TESTS),$(error there are no such tests)))

.PHONY: bench
bench: ## Benchmarks, and ten thousand secrets on a control plane
	cargo bench --locked $(patsubst benches/%.rs,--bench %,$(wildcard benches/*.rs))

.PHONY: bench-node
bench-node: image ## How long pods take to start with their secrets, on a real node; needs root
	@scripts/e2e.sh --test e2e numbers:: -- --ignored --nocapture

.PHONY: image
image: ## Build the static binary and the container image, as a tar file
	@scripts/image.sh

.PHONY: crds
crds: ## Write crds/, the chart's copy of it, docs/reference.md and docs/cli.md
	UPDATE=1 cargo test --locked --test generated

.PHONY: plugin
plugin: ## Build kubectl-keystead, the plugin for kubectl; the image does not hold it
	cargo build --release --locked --bin kubectl-keystead
	@echo "put $(CARGO_TARGET_DIR)/release/kubectl-keystead on your PATH, then: kubectl keystead doctor"

.PHONY: cluster-up cluster-down
cluster-up: ## Start a one-node cluster without Keystead
	@scripts/cluster.sh up --state "$(KEYSTEAD_CACHE)/cluster"
cluster-down: ## Stop it
	@scripts/cluster.sh down --state "$(KEYSTEAD_CACHE)/cluster"

.PHONY: clean
clean: ## Remove what was compiled of this project (Kubernetes programs and tools stay)
	cargo clean
	rm -rf fuzz/corpus fuzz/artifacts

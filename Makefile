# What a person, and CI, runs here. `make` alone lists the targets.
SHELL := /bin/bash
# Where tests/install puts Rust; the shell that called make may not know yet. The first one is there where the cargo of PATH is too old.
export PATH := $(or $(CARGO_TARGET_DIR),$(CURDIR)/target)/toolchain:$(PATH):$(HOME)/.cargo/bin

.PHONY: help build image check deny test test-kubernetes test-tekton soak soak-local soak-fuzz demo docs bench cluster cluster-down clean

help: ## List the targets
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-15s %s\n", $$1, $$2}'

build: ## Build the program, target/release/testbed, and its manual pages, target/release/man
	@tests/install build
	cargo build --release --locked
	@mkdir -p $(or $(CARGO_TARGET_DIR),target)/release/man && $(or $(CARGO_TARGET_DIR),target)/release/testbed man $(or $(CARGO_TARGET_DIR),target)/release/man

image: ## Build the container image: target/image/testbed.tar (IMAGE=... names it); no container engine is needed
	@tests/install image
	@image/build

check: ## The fast inner loop: format, lints, code documentation, and every test that needs no cluster, with real servers on this machine
	@tests/install test
	cargo fmt --check
	cargo clippy --all-targets --locked -- -D warnings
	RUSTDOCFLAGS='-D warnings' cargo doc --locked --no-deps --document-private-items
	cargo nextest run --locked --lib --test cli --test catalog --test history --test local --test page

deny: ## What the program is made of, held against deny.toml: licences, sources and bans, and advisories where their database can be had
	@tests/install deny
	@tests/deny

test: ## Everything, on a real cluster (TESTBED_TEST_KUBECONFIG=... takes yours)
	@tests/install test
	@tests/all

test-kubernetes: ## The cluster's part of it on another Kubernetes: make test-kubernetes KUBERNETES=1.33.13
	@tests/install test
	@tests/all --test kubernetes

test-tekton: ## The catalog's part of it on a real Tekton Pipelines, in a cluster of its own (TESTBED_TEST_KUBECONFIG=... takes yours)
	@tests/install test
	@TESTBED_CLUSTER_DIR=$${TESTBED_CLUSTER_DIR:-/var/tmp/testbed-cluster-tekton} TESTBED_TEST_TEKTON=yes \
	  tests/all --profile tekton -E 'binary(kubernetes) & test(/^tekton::/)'

soak: soak-local soak-fuzz ## The long counts: the main job and a cancelled task twenty times over, set-up servers that stay for a minute, a real eviction, a lock under attack
	@tests/install test
	@TESTBED_TEST_RUNS=$${TESTBED_TEST_RUNS:-20} TESTBED_TEST_CANCELS=$${TESTBED_TEST_CANCELS:-20} TESTBED_TEST_LINGER=$${TESTBED_TEST_LINGER:-60} \
	  TESTBED_TEST_RACES=$${TESTBED_TEST_RACES:-5} TESTBED_TEST_LOCKS=$${TESTBED_TEST_LOCKS:-1000} tests/all --profile soak --run-ignored all \
	  -E 'binary(kubernetes) & (test(main_job::a_) | test(tekton::cancel::) | test(fools_nobody) | test(an_evicted_pod) | test(a_token_that_is_exchanged) | test(lock::replicas::) | test(lock::attack::))'

soak-local: ## The long counts of this machine alone: 600 signals, every lie of a server, thirty kills of each kind, fifty runs at once, all that four can do with a lock, 64 workers at one pool, five minutes in which they, its servers and testbed are killed, a busy history
	@tests/install test
	TESTBED_TEST_GAMES=$${TESTBED_TEST_GAMES:-3000} \
	  cargo nextest run --locked --no-fail-fast --profile soak --lib --run-ignored all -E 'test(lock::model::)'
	TESTBED_TEST_KILLS=$${TESTBED_TEST_KILLS:-30} TESTBED_TEST_TOGETHER=$${TESTBED_TEST_TOGETHER:-50} \
	  cargo nextest run --locked --no-fail-fast --profile soak --test local -E 'test(kills::) | test(together::)'
	TESTBED_TEST_POOL_TESTS=$${TESTBED_TEST_POOL_TESTS:-200} \
	  cargo nextest run --locked --no-fail-fast --profile soak --test local -E 'test(integresql::sixty_four)'
	TESTBED_TEST_POOL_SECONDS=$${TESTBED_TEST_POOL_SECONDS:-300} \
	  cargo nextest run --locked --no-fail-fast --profile soak --success-output final --test local -E 'test(soak::workers_of_postgresql)'
	TESTBED_TEST_POOL_SECONDS=$${TESTBED_TEST_POOL_SECONDS:-120} TESTBED_TEST_POOL_WORKERS=$${TESTBED_TEST_POOL_WORKERS:-64} \
	  cargo nextest run --locked --no-fail-fast --profile soak --success-output final --test local -E 'test(soak::workers_of_mariadb)'
	TESTBED_TEST_SIGNALS=$${TESTBED_TEST_SIGNALS:-600} \
	  cargo nextest run --locked --no-fail-fast --profile soak --test local -E 'test(moments::)'
	TESTBED_TEST_LIES=$${TESTBED_TEST_LIES:-10} \
	  cargo nextest run --locked --no-fail-fast --profile soak --test cli -E 'test(liars::)'
	TESTBED_TEST_KILLS=$${TESTBED_TEST_KILLS:-30} TESTBED_TEST_WRITES=$${TESTBED_TEST_WRITES:-50} TESTBED_TEST_FILTERS=$${TESTBED_TEST_FILTERS:-3000} \
	  cargo nextest run --locked --no-fail-fast --profile soak --test history -E 'test(kills::) | test(together::) | test(listing::)'

soak-fuzz: ## Inputs made to break it, for all that testbed reads: 45 s for each kind, or TESTBED_FUZZ_RUNS inputs
	@tests/install fuzz
	@tests/fuzz

demo: ## See what testbed does: a failing test and its database's log, a killed run that leaves nothing, the time beside initdb's
	@tests/install demo
	@tests/demo

docs: ## Build the book of the documentation: target/docs/index.html
	@tests/install docs
	@docs/build

bench: ## Compare with kubectl, with other ways to find out that a database is ready, and to have a throw-away one
	@tests/install bench
	@tests/bench

cluster: ## Start the test cluster and print its kubeconfig's path (KUBERNETES=... takes another version, see tests/cluster)
	@tests/cluster/up

cluster-down: ## Stop the test cluster and remove every trace of it
	@tests/cluster/down

clean: ## Remove what was built here; the cluster's parts stay cached
	cargo clean

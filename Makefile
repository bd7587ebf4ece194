# The commands. `make` alone lists them.
#
# Four builds, four target folders, because other flags rebuild every crate:
#
#   $(TARGET)        plain              demo, check, test, bench
#   $(TARGET)/sim    --cfg sim          the deterministic backend of the seam
#   $(TARGET)/loom   --cfg loom         the model checker
#   $(TARGET)/kernels                   the kernels for x86-64-v3, the same on every machine

SHELL := /bin/sh
.DEFAULT_GOAL := help
.PHONY: help setup demo test check bench instructions instructions-record properties sim loom oracle

# rustup's folder, for a shell that was started before rustup was installed.
export PATH := $(HOME)/.cargo/bin:$(PATH)

# In CI the clone is thrown away, so what was built is kept outside of it.
ifdef CI
CARGO_TARGET_DIR ?= $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/wiesel/target
endif
CARGO_TARGET_DIR ?= $(CURDIR)/target
export CARGO_TARGET_DIR
TARGET := $(CARGO_TARGET_DIR)

# Knobs: `make sim SEEDS=5000`, `make properties TRACES=1000000`, `make demo ARGS="--parallelism 3"`.
SEEDS ?= 500
TRACES ?= 300000
ARGS ?=

# The commands behind the targets, each in one place.
DEMO := cargo run --quiet --release -p wiesel-examples --bin demo --
TRENDS := cargo run --quiet --release -p wiesel-examples --bin trending_hashtags --
BENCH := cargo run --quiet --release -p wiesel-bench -- chain --compare bare
SIM := RUSTFLAGS="--cfg sim" CARGO_TARGET_DIR="$(TARGET)/sim" cargo run --quiet -p wiesel-tests --bin sim --
PROPERTIES := TRACES=$(TRACES) cargo test --quiet --release -p wiesel-operators --test behaviour -- --exact properties::all_of_them --ignored --nocapture
LOOM := RUSTFLAGS="--cfg loom" CARGO_TARGET_DIR="$(TARGET)/loom" cargo test --quiet --release --lib -p wiesel-shard
KERNELS := RUSTFLAGS="-C target-cpu=x86-64-v3" CARGO_TARGET_DIR="$(TARGET)/kernels" cargo run --quiet --release -p wiesel-bench --bin kernels --
POSTS := examples/data/posts.jsonl

help: ## this list
	@sed -n 's/^\([a-z-]*\):[^#]*## /\1\t/p' $(MAKEFILE_LIST) | awk -F '\t' '{ printf "  make %-19s %s\n", $$1, $$2 }'

# What a fresh Debian machine with rustup, a C compiler and make lacks: command, then the package it is in.
# g++ (with make, which is here) builds the io_uring library that glommio brings, whose build also calls git; python3
# runs the oracle, valgrind counts instructions.
NEEDS := git:git g++:g++ python3:python3 valgrind:valgrind

setup: ## install what is missing (quiet when nothing is)
	@lacks=; \
	for need in $(NEEDS); do \
	    command -v "$${need%%:*}" >/dev/null 2>&1 || lacks="$$lacks $${need#*:}"; \
	done; \
	if [ -n "$$lacks" ]; then \
	    if ! command -v apt-get >/dev/null 2>&1; then \
	        echo "setup: missing:$$lacks; install them with this system's package manager" >&2; exit 1; \
	    elif [ "$$(id -u)" = 0 ]; then as=; \
	    elif sudo -n true 2>/dev/null; then as=sudo; \
	    else \
	        echo "setup: missing:$$lacks; as root, run: apt-get update && apt-get install$$lacks" >&2; exit 1; \
	    fi; \
	    echo "setup: installing$$lacks" >&2; \
	    $$as apt-get update -qq >&2 || true; \
	    $$as env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $$lacks >&2 || \
	        { echo "setup: apt-get could not install$$lacks" >&2; exit 1; }; \
	fi
	@command -v cargo >/dev/null 2>&1 || \
	    { echo "setup: cargo is missing; install Rust with rustup: https://rustup.rs" >&2; exit 1; }
	@for part in fmt:rustfmt clippy:clippy; do \
	    cargo "$${part%%:*}" --version >/dev/null 2>&1 || rustup component add "$${part#*:}" >&2 || \
	        { echo "setup: cargo $${part%%:*} is missing; run: rustup component add $${part#*:}" >&2; exit 1; }; \
	done

demo: setup ## trending hashtags over five million posts, at a steady rate, and with a kill in the middle
	@cargo build --release -p wiesel-examples --bin demo
	@$(DEMO) $(ARGS)

test: check ## everything: check, all tests, the instruction gate, 500 simulated seeds, loom, the demo against its oracle
	cargo test --workspace
	@$(MAKE) --no-print-directory instructions
	@$(MAKE) --no-print-directory loom
	@$(MAKE) --no-print-directory sim SEEDS=$(SEEDS)
	@$(MAKE) --no-print-directory oracle

check: setup ## formatting, lints, tidy
	cargo fmt --all --check
	cargo clippy --quiet --workspace --all-targets -- -D warnings
	cargo test --quiet -p wiesel-tests --test tidy

bench: setup ## a fused chain against the same loop by hand
	@$(BENCH) $(ARGS)

instructions: setup ## the kernels' instructions, counted by callgrind, against bench/instructions.txt
	@$(KERNELS) --gate bench/instructions.txt

instructions-record: setup ## writes bench/instructions.txt anew
	@$(KERNELS) --record bench/instructions.txt

sim: setup ## random schedules of whole jobs in one thread: make sim SEEDS=5000
	@$(SIM) --seeds $(SEEDS) $(ARGS)

properties: setup ## random traces against naive interpreters of every operator: make properties TRACES=1000000
	@$(PROPERTIES)

loom: setup ## the model checker on the lock-free parts
	@$(LOOM)

oracle: setup ## the demo's trends against tests/oracle_trending.py, at parallelism 1, 2, 3 and 7
	@for parallelism in 1 2 3 7; do \
	    $(TRENDS) --parallelism $$parallelism -- $(POSTS) | python3 tests/oracle_trending.py --compare $(POSTS) && \
	    echo "oracle: parallelism $$parallelism agrees" || exit 1; \
	done

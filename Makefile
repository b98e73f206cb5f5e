# `make run` opens the studio; `make test` checks everything. The rest are parts of these two.

TARGET := $(or $(CARGO_TARGET_DIR),target)
EACH_FEATURE := gui voice flash

.PHONY: run test test-fast test-slow test-large lint fmt

run:
	sh scripts/install-run.sh
	cargo build --release
	sh scripts/start.sh $(TARGET)/release/whittle

test: install-test test-fast test-slow

# Under a minute after building: no network, no device, no clock.
test-fast:
	@echo "== fast tests =="
	cargo test --workspace

# Real models, a real window, a sound server, emulated boards.
test-slow: install-test
	@echo "== slow tests =="
	cargo test --test slow -- --test-threads=1

# Models of a gigabyte and more.
test-large: install-test
	@echo "== large tests =="
	cargo test --test slow -- --test-threads=1 --ignored

.PHONY: install-test
install-test:
	sh scripts/install-run.sh
	sh scripts/install-test.sh

lint:
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings
	cargo clippy --no-default-features -- -D warnings
	for feature in $(EACH_FEATURE); do \
		cargo clippy --no-default-features --features $$feature -- -D warnings || exit 1; \
	done
	RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps
	sh scripts/lint-tools.sh

fmt:
	cargo fmt --all

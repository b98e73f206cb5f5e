# `make run` opens the studio; `make test` checks everything. The rest are parts of these two.

TARGET := $(or $(CARGO_TARGET_DIR),target)
EACH_FEATURE := gui voice flash
# One test beside the library and the binary: with it cargo gives the dependencies the same features as in the step
# before, and compiles next to none of them again.
CLIPPY_PART := cargo clippy --no-default-features --lib --bins --test tidy

# What `make lint` and `make test` are made of. `.ci/run` goes through the same steps, BESIDE next to the others: those
# have folders of their own and leave a core idle.
LINT := lint-format lint-code lint-features lint-docs lint-tools
BESIDE := test-neon test-loom firmware test-training
TEST := test-fast $(BESIDE) test-slow

.PHONY: run test lint $(LINT) $(TEST) test-large test-mutated install-test fmt mutants golden snapshots ci-steps ci-beside ci-last

run:
	sh scripts/install-run.sh
	cargo build --release
	@# hearth is built in; window and demo say what voice needs and fetch nothing unasked.
	sh scripts/start.sh $(TARGET)/release/whittle

test: install-test $(TEST)

lint: $(LINT)

# For `.ci/run`: what runs one after the other, what beside it, and what then.
ci-steps:
	@echo $(LINT) test-fast
ci-beside:
	@echo $(BESIDE)
ci-last:
	@echo test-slow

# Under a minute after building: no network, no device, no clock.
test-fast:
	@echo "== fast tests =="
	@# Not the examples, which a plain `cargo test` links as well: clippy has checked them.
	cargo test --workspace --tests
	cargo test --workspace --doc

# The engine as built for aarch64, emulated: every kernel for NEON.
test-neon:
	@echo "== NEON =="
	sh scripts/test-neon.sh

# The threads of the engine in every order that the memory model allows. In a folder of its own: the flag is every
# package's.
test-loom:
	@echo "== loom =="
	RUSTFLAGS="--cfg loom" CARGO_TARGET_DIR=$(TARGET)/loom cargo test --package whittle-engine --lib pool::

# Bugs put into what differs from main, and which of them no test notices; 40 minutes at most, then once more to go on.
mutants:
	sh scripts/mutants.sh

# Writes the golden files anew: the tiny models, their packed bytes, what they answer (docs/testing.md). A line in
# CHANGELOG.md says why they changed.
golden:
	INSTA_UPDATE=always cargo test --test golden
	cargo test --package whittle-engine --features std --test golden

# Real models, a real window, a sound server, emulated boards. The binary is the one that the tests build: `cargo run`
# would compile half of the dependencies again, without the features that the tests' own dependencies add.
test-slow: install-test
	@echo "== slow tests =="
	cargo test --test slow --no-run
	$(TARGET)/debug/whittle fetch
	$(TARGET)/debug/whittle fetch smollm2-135m
	sh scripts/test-slow.sh

# Thousands of damaged files, where the fast tests open a few dozen.
test-mutated:
	@echo "== damaged files =="
	cargo test --test mutated -- --ignored

# The data of the small assistant and its trainer, on toys.
test-training:
	@echo "== training =="
	sh scripts/test-training.sh

# Models of a gigabyte and more.
test-large: install-test
	@echo "== large tests =="
	cargo test --test slow --no-run
	$(TARGET)/debug/whittle fetch qwen2.5-coder-1.5b
	cargo test --test slow large:: -- --test-threads=1 --ignored

install-test:
	sh scripts/install-run.sh
	sh scripts/install-test.sh

# Every board's firmware, from source, or BOARD's; what comes along is compared with it.
firmware: install-test
	@echo "== firmware =="
	sh scripts/firmware.sh $(BOARD)

lint-format:
	cargo fmt --all --check

lint-code:
	cargo clippy --workspace --all-targets -- -D warnings

# None, and each alone.
lint-features:
	$(CLIPPY_PART) -- -D warnings
	for feature in $(EACH_FEATURE); do \
		$(CLIPPY_PART) --features $$feature -- -D warnings || exit 1; \
	done

lint-docs:
	RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps

lint-tools:
	sh scripts/lint-tools.sh

fmt:
	cargo fmt --all

# Writes anew what tests compare with what was reviewed: pictures of panels, what commands print, the commands of the
# pages, the list of slow tests. What changed is then to be read.
snapshots:
	UPDATE_SNAPSHOTS=1 cargo test --test tidy the_list_of_slow_tests
	UPDATE_SNAPSHOTS=1 cargo test --test ui pictures::the_panels
	INSTA_UPDATE=always INSTA_FORCE_PASS=1 cargo test --test printed
	TRYCMD=overwrite cargo test --test commands what_the_pages_show
	git status --short

# Speed beside llama.cpp, built once from its source package.
.PHONY: bench-peers
bench-peers:
	cargo build --release
	sh scripts/bench-peers.sh $(TARGET)/release/whittle

# Quality beside llama.cpp: its own files and ours, judged by it on the same text.
.PHONY: quality-peers
quality-peers:
	cargo build --release
	sh scripts/quality-peers.sh $(TARGET)/release/whittle

# The small assistant that comes along, trained from scratch.
.PHONY: hearth
hearth:
	sh scripts/train-hearth.sh

# The same assistant in a quarter of the bytes, trained for them.
.PHONY: hearth-low-bit
hearth-low-bit:
	sh scripts/train-hearth-low-bit.sh

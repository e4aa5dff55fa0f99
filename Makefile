# Builds and checks Kurier. `make` lists the targets.

# Seconds per fuzz target.
FUZZ_SECONDS ?= 60
FUZZ_SANITIZER ?= address
FUZZ_TARGETS := frame message request record_batch records gzip snappy lz4 zstd pcap properties formats core scram_server oauth jaas \
  pem_bundle sasl_conversation
# The default features without TLS, whose provider in the command needs a C compiler.
WITHOUT_TLS := --no-default-features --features kurier/default,kurier-engine/default,kurier-broker/default \
  --features kurier-compression/default,kurier-security/default,kurier-cli/zstd-pure,kurier-cli/oauth-oidc

# Targets that are not files.
.PHONY: help run check format lint doc features no-c msrv deny advisories minimal-versions package semver test sim sim-mutants \
  sim-ledger models many-topics bench bench-gate bench-instructions bench-peers golden e2e java schema oracle \
  captures captures-read broker-judges broker-judges-python test-kafka test-kafka-tls conformance chaos rotation endurance fuzz fuzz-minimise mutants

help:
	@grep -hE '^## ' $(MAKEFILE_LIST) | sed 's/^## //'

## make run            send testdata/events.txt through an in-memory broker and back, with every codec; needs only Rust
run:
	cargo build --quiet --locked -p kurier-cli --no-default-features --features zstd-pure
	crates/cli/run

## make check          run the checks format, lint, doc, features, no-c, msrv and deny; needs only Rust
check: format lint doc features no-c msrv deny

## make format         check the format
format:
	cargo fmt --all --check

## make lint           run clippy on all crates and tests; fails on warnings
lint:
	cargo clippy --workspace --all-targets --locked -- -D warnings

## make doc            build the documentation, without and with private items; fails on warnings
# Mistakes in private docs fail only in the first run, and links from public to private items only in the second.
doc:
	RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --all-features --locked --document-private-items
	RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --all-features --locked

# Each provides the cryptography of TLS.
TLS_PROVIDERS := tls-graviola tls-ring tls-aws-lc

## make features       build each crate without features, with each feature that changes its code, and with all
# The codecs' features change only kurier-compression. The other crates pass them on, and `make lint` builds them with most.
features:
	cargo check --quiet --locked -p kurier-protocol
	cargo check --quiet --locked -p kurier-protocol --all-features
	for feature in gzip snappy lz4 zstd zstd-pure; do \
	  cargo check --quiet --locked -p kurier-compression --no-default-features --features $$feature || exit 1; done
	cargo clippy --quiet --locked -p kurier-compression --all-features --all-targets -- -D warnings
	for feature in "" sasl $(TLS_PROVIDERS) tls tls-ring,tls-aws-lc tls-graviola,tls-webpki-roots tls-graviola,tls-encrypted-keys; do \
	  cargo clippy --quiet --locked -p kurier-security --no-default-features --features "$$feature" --all-targets -- -D warnings || exit 1; done
	for provider in $(TLS_PROVIDERS); do \
	  cargo test --quiet --locked -p kurier-security --no-default-features --features sasl,$$provider --test tls || exit 1; done
	cargo test --quiet --locked -p kurier-security --all-features --test tls
	for feature in tls $(TLS_PROVIDERS); do \
	  cargo clippy --quiet --locked -p kurier-broker --no-default-features --features $$feature --all-targets -- -D warnings || exit 1; done
	for provider in $(TLS_PROVIDERS); do \
	  cargo test --quiet --locked -p kurier --features $$provider --test tls -- --nocapture || exit 1; \
	  cargo check --quiet --locked -p kurier-cli --no-default-features --features $$provider || exit 1; done
	cargo check --quiet --locked -p kurier --features tls
	cargo clippy --quiet --locked -p kurier --features oauth-oidc --all-targets -- -D warnings
	cargo test --quiet --locked -p kurier --features oauth-oidc,tls-graviola --test oidc
	cargo check --quiet --locked -p kurier-cli --no-default-features --features oauth-oidc
	cargo check --quiet --locked -p kurier-cli --no-default-features
	cargo check --quiet --locked -p kurier-engine -p kurier --no-default-features
	cargo check --quiet --locked -p kurier-engine --no-default-features --features internal
	cargo test --quiet --locked -p kurier-compression --no-default-features
	cargo test --quiet --locked -p kurier-compression --all-features
	@! grep -rnE 'feature = "(gzip|snappy|lz4|zstd|zstd-pure)"' crates/*/src --include=*.rs | grep -vE '^crates/compression/|cfg\(all\(test' \
	  || { echo "features: these lines need a build with each codec alone, here in the Makefile" >&2; exit 1; }
	@echo "features: each alone, none, all"

## make no-c           build with the default features, and with TLS by Graviola, where no C compiler works
# A separate target folder, so that objects which a C compiler built earlier are not reused.
no-c:
	CC=/bin/false CXX=/bin/false cargo check --locked --target-dir target/no-c $(WITHOUT_TLS)
	CC=/bin/false CXX=/bin/false cargo check --locked --target-dir target/no-c -p kurier-cli --no-default-features \
	  --features zstd-pure,tls-graviola,oauth-oidc
	@echo "no-c: the default features, their build scripts, and TLS by Graviola pass with CC=/bin/false"

## make msrv           build all crates with the minimum Rust version of Cargo.toml, which rust-toolchain.toml must select
MSRV := $(shell sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml).0
msrv:
	@grep -q '^channel = "$(MSRV)"' rust-toolchain.toml || { echo "msrv: rust-toolchain.toml must select $(MSRV)" >&2; exit 1; }
	@rustc --version | grep -q '^rustc $(MSRV) ' || { echo "msrv: Rust $(MSRV) must be active: unset RUSTUP_TOOLCHAIN" >&2; exit 1; }
	cargo check --quiet --locked --workspace --all-features
	@echo "msrv: all crates build with Rust $(MSRV)"

## make deny           check the licences and sources of all dependencies, and that each has one version; skipped without cargo-deny
deny:
	@if cargo deny --version >/dev/null 2>&1; then cargo deny --locked check bans licenses sources; \
	else echo "deny: skipped, because cargo-deny is not installed (cargo install cargo-deny --locked)"; fi

## make advisories     check all dependencies for known vulnerabilities, in the RustSec database; needs cargo-deny and the internet
advisories:
	cargo deny --locked check advisories

## make minimal-versions  build all crates with the lowest versions of dependencies that Cargo.toml allows; needs the internet
minimal-versions:
	scripts/minimal-versions

## make package        package each published crate, and build an empty crate with the packages alone; needs Python 3
package:
	scripts/package

## make semver         compare the public interface of each library with the last tag; needs cargo-semver-checks and Python 3
semver:
	@scripts/semver

## make test           run all tests and doctests, and print the tables of captures-read; needs only Rust
test:
	cargo test --locked $(WITHOUT_TLS)
	$(MAKE) --no-print-directory captures-read

## make sim            simulate SEEDS=n worlds with random faults, from seed FROM=n on, and count the faults; SEED=n traces one world
SEEDS ?= 10000
FROM ?= 0
SIMULATE = cargo run --quiet --locked --profile simulation -p kurier-simulation --bin simulate --
sim:
	$(SIMULATE) $(if $(SEED),--seed $(SEED) $(if $(MUTANT),--mutant $(MUTANT)),--seeds $(SEEDS) --from $(FROM))

## make sim-mutants    simulate with thirty deliberate mistakes and print the seed that finds each; make sim SEED=n MUTANT=Name traces one
sim-mutants:
	$(SIMULATE) --mutants --from $(FROM)

## make sim-ledger     like sim, and append a line to crates/simulation/ledger.tsv
LEDGER := crates/simulation/ledger.tsv
sim-ledger:
	commit=$$(git rev-parse --short=12 HEAD); \
	test -z "$$(git status --porcelain -- . ':!$(LEDGER)')" || commit=$$commit+; \
	$(SIMULATE) --seeds $(SEEDS) --from $(FROM) --ledger $(LEDGER) --commit $$commit --date $$(date -u +%F)

## make models         check the producer's threads in many interleavings; prints the number per model; MODELS_SEED=n MODELS_FACTOR=n
models:
	RUSTFLAGS="--cfg shuttle" cargo test --quiet --locked --target-dir target/models -p kurier --lib models:: -- --nocapture

## make many-topics    send one record to each of TOPICS=n topics (default: 100,000); the producer's memory stays bounded
TOPICS ?= 100000
many-topics:
	cargo run --quiet --locked -p kurier --features internal --example many_topics -- $(TOPICS)

RELEASE = $(or $(CARGO_TARGET_DIR),target)/release

## make bench-instructions  count instructions per record from send() to its outcome, three times; needs valgrind
bench-instructions:
	cargo build --quiet --locked --release -p kurier-bench
	crates/bench/instructions

## make bench-gate     compare the instructions per send with committed counts, at most 3 % more; ACCEPT=1 writes new counts; needs valgrind
bench-gate:
	cargo build --quiet --locked --release -p kurier-bench --no-default-features --bin gate --bin sink
	$(RELEASE)/gate $(if $(ACCEPT),--accept)

## make bench          benchmark the parts of the producer: encoding, CRC, codecs, partitioners; BENCH=beginning of a name
bench:
	cargo bench --quiet --locked -p kurier-bench --bench parts -- $(BENCH)

## make bench-peers    measure Kurier beside other producers; ROUNDS=5, ONLY=part of a workload's name, PEERS=names
# librdkafka is measured where bash, make and a C++ compiler build it, franz-go where Go is, the Java client where Maven is.
# ARGS=--help explains more.
PEERS_FOLDER := crates/bench/peers
PEERS_TARGET = $(abspath $(dir $(RELEASE)))/peers
BUILD_PEERS = cargo build --quiet --locked --release --manifest-path $(PEERS_FOLDER)/Cargo.toml --target-dir $(PEERS_TARGET)
bench-peers:
	cargo build --quiet --locked --release -p kurier-bench --bins
	cargo build --quiet --locked --release -p kurier-cli --no-default-features --features zstd-pure
	-$(BUILD_PEERS) || { echo "bench-peers: librdkafka does not build" >&2; $(BUILD_PEERS) --no-default-features; }
	-if command -v go >/dev/null; then cd $(PEERS_FOLDER)/go && go build -o $(PEERS_TARGET)/franz-go .; fi
	-if command -v mvn >/dev/null && command -v javac >/dev/null; then \
	  mvn -q -f $(PEERS_FOLDER)/java dependency:copy-dependencies -DoutputDirectory=$(PEERS_TARGET)/java && \
	  javac -cp "$(PEERS_TARGET)/java/*" -d $(PEERS_TARGET)/java $(PEERS_FOLDER)/java/Peer.java; fi
	$(RELEASE)/peers $(if $(ROUNDS),--rounds $(ROUNDS)) $(if $(ONLY),--only "$(ONLY)") $(if $(PEERS),--peers "$(PEERS)") $(ARGS)

## make golden         read and write the Java client's golden bytes, and print the counts
golden:
	cargo test --quiet --locked $(WITHOUT_TLS) --test golden -- --nocapture --test-threads=1

## make e2e            compare with other implementations: java schema oracle broker-judges; needs Maven, Java 17 and kcat
e2e: schema oracle java broker-judges

## make java           let the Java client read our batches, with every codec and both zstd libraries, and the files in testdata/sasl
java:
	cargo test --quiet --locked -p kurier-e2e --test java --test sasl -- --nocapture
	cargo test --quiet --locked -p kurier-e2e --no-default-features --features zstd --test java -- --nocapture

## make schema         compare our field tables with the descriptors in the kafka-clients jars
schema:
	cargo test --quiet --locked -p kurier-e2e --test schema -- --nocapture

## make oracle         compare with the kafka-protocol crate on ORACLE_CASES=n arbitrary bodies per message and version
oracle:
	cargo test --quiet --locked -p kurier-e2e --test oracle -- --nocapture

## make captures-read  replay captured traffic of seven clients: read it, write it again, pass it to our broker and our core
captures-read:
	cargo test --quiet --locked $(WITHOUT_TLS) --test captures -- --nocapture --test-threads=1
	cargo test --quiet --locked $(WITHOUT_TLS) --lib captured -- --nocapture

## make broker-judges  let kcat and Java write to our broker and read back, also by TLS and SASL; check that it refuses corrupted batches
broker-judges:
	cargo test --quiet --locked -p kurier-e2e --test broker -- --nocapture
	cargo test --quiet --locked -p kurier-e2e --test secured_broker -- --nocapture --test-threads=1

## make broker-judges-python  let confluent-kafka use our broker by TLS and SASL; fetches its wheel, and needs Python
broker-judges-python:
	cargo test --quiet --locked -p kurier-e2e --test secured_broker -- --nocapture --test-threads=1 --ignored

## make test-kafka     test kurier produce with real Kafka 4.3.1 and 3.7.2, one and three nodes, TLS, SASL and conformance; KAFKA_BOOTSTRAP=host:port uses yours
test-kafka:
	cargo test --locked -p kurier-e2e --test kafka

## make test-kafka-tls  test TLS and SASL with real Kafka 4.3.1 and each provider of TLS, and with 3.9.1 and 3.7.2; needs a C compiler
test-kafka-tls:
	for provider in ring aws-lc graviola; do \
	  KURIER_TLS=$$provider cargo test --locked -p kurier-e2e --test kafka -- --exact secured || exit 1; done
	KURIER_TLS=ring cargo test --locked -p kurier-e2e --test kafka -- --ignored secured_on

## make captures       capture Java, confluent-kafka and franz-go with real 3.7.2 and 4.3.1, and compare with tshark and kcat; needs Go, Python
captures:
	cargo test --quiet --locked -p kurier-e2e --test captures

## make chaos          kill, pause, restart and move three nodes of Kafka 4.3.1 under load, recreate topics, lower limits; CHAOS=smoke|controls, CHAOS_SECURED=1
chaos:
	cargo test --locked -p kurier-e2e --test chaos

## make rotation       rotate certificates, authorities, passwords and tokens under load with real Kafka 4.3.1; ROTATION_RATE; needs OpenSSL 3
rotation:
	cargo test --locked -p kurier-e2e --test rotation

## make endurance      run the long tests with real Kafka 4.3.1; ONLY=part of a name, ENDURANCE_MINUTES, ENDURANCE_RUNS, ENDURANCE_SEED
# Each part has its own process, because memory of one part would hide the memory of the next.
endurance:
	for part in $(or $(ONLY),unsettled one_paused cycles dead_cluster); do \
	  cargo test --locked -p kurier-e2e --test endurance -- $$part || exit 1; done

## make conformance    send the same calls to our broker and to real Kafka 3.7.2, 3.9.1 and 4.3.1, and print a table of differences
# With 4.3.1 also exchanges of SASL.
conformance:
	cargo test --locked -p kurier-e2e --test kafka -- conformance

## make fuzz           run each fuzz target for FUZZ_SECONDS, or for at most FUZZ_RUNS=n executions, and append a line to fuzz/RUNS.tsv
# Needs cargo-fuzz and a C++ compiler. FUZZ_SANITIZER=none is about ten times faster but detects only panics.
fuzz:
	FUZZ_SANITIZER=$(FUZZ_SANITIZER) FUZZ_RUNS=$(FUZZ_RUNS) fuzz/run $(FUZZ_SECONDS) $(FUZZ_TARGETS)

## make fuzz-minimise  add new inputs from the fuzzers to the committed corpus, minimised
fuzz-minimise:
	fuzz/minimise $(FUZZ_TARGETS)

## make mutants        make each small mistake of cargo-mutants in wire, batches, codecs and partitioners, and run the tests; AREAS=some of them
AREAS ?= varint wire frame record_batch compression zstd partitioner
mutants:
	crates/e2e/mutants/run $(AREAS)

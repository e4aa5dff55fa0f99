# Kurier: everything that builds, checks and proves it. `make` alone lists the targets.

# How long each fuzz target runs.
FUZZ_SECONDS ?= 60
FUZZ_SANITIZER ?= address
FUZZ_TARGETS := frame message request record_batch records gzip snappy lz4 zstd pcap properties formats core

# A version control's view of nothing: each of these is a name, not a file.
.PHONY: help run check format lint doc features no-c test sim sim-mutants sim-ledger models many-topics golden e2e java schema oracle \
  captures captures-read broker-judges test-kafka conformance chaos endurance fuzz fuzz-minimise mutants

help:
	@grep -hE '^## ' $(MAKEFILE_LIST) | sed 's/^## //'

## make run            testdata/events.txt through a broker in memory and back, with every codec; needs Rust alone
run:
	cargo build --quiet --locked -p kurier-cli
	crates/cli/run

## make check          format, lints, documentation, each feature alone and none, the build without a C compiler
check: format lint doc features no-c

format:
	cargo fmt --all --check

lint:
	cargo clippy --workspace --all-targets --locked -- -D warnings

doc:
	RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --all-features --locked

# Each feature builds alone, and the crate without any and with all; default-members have no others.
features:
	cargo check --quiet --locked -p kurier-protocol
	cargo check --quiet --locked -p kurier-protocol --all-features
	cargo check --quiet --locked -p kurier-compression --no-default-features
	for feature in gzip snappy lz4 zstd zstd-pure; do \
	  cargo check --quiet --locked -p kurier-compression --no-default-features --features $$feature || exit 1; done
	cargo clippy --quiet --locked -p kurier-compression --all-features --all-targets -- -D warnings
	cargo check --quiet --locked -p kurier --no-default-features
	for feature in gzip snappy lz4 zstd zstd-pure; do \
	  cargo check --quiet --locked -p kurier --no-default-features --features $$feature || exit 1; done
	cargo check --quiet --locked -p kurier --no-default-features --features internal
	cargo clippy --quiet --locked -p kurier --all-features --all-targets -- -D warnings
	cargo check --quiet --locked -p kurier-cli --no-default-features
	cargo check --quiet --locked -p kurier-cli --no-default-features --features zstd
	cargo test --quiet --locked -p kurier-compression --no-default-features
	cargo test --quiet --locked -p kurier-compression --all-features
	@echo "features: each alone, none, all"

# In a target folder of its own, so that nothing that a C compiler built before is at hand.
no-c:
	CC=/bin/false CXX=/bin/false cargo check --locked --target-dir target/no-c
	@echo "no-c: the default features, and their build scripts, pass with CC=/bin/false"

## make test           all tests and doctests, and the tables of captures-read; needs Rust alone
test:
	cargo test --locked
	$(MAKE) --no-print-directory captures-read

## make sim            SEEDS=n worlds of bad luck from FROM=n on, with what came up in them; SEED=n plays one and tells of it
SEEDS ?= 10000
FROM ?= 0
SIMULATE = cargo run --quiet --locked --profile simulation -p kurier --features internal --example simulate --
sim:
	$(SIMULATE) $(if $(SEED),--seed $(SEED) $(if $(MUTANT),--mutant $(MUTANT)),--seeds $(SEEDS) --from $(FROM))

## make sim-mutants    twenty-five mistakes made on purpose, each with the seed that finds it; SEED=n MUTANT=Name tells of one
sim-mutants:
	$(SIMULATE) --mutants --from $(FROM)

## make sim-ledger     as sim, and a line about it in crates/client/simulation.tsv
LEDGER := crates/client/simulation.tsv
sim-ledger:
	commit=$$(git rev-parse --short=12 HEAD); \
	test -z "$$(git status --porcelain -- . ':!$(LEDGER)')" || commit=$$commit+; \
	$(SIMULATE) --seeds $(SEEDS) --from $(FROM) --ledger $(LEDGER) --commit $$commit --date $$(date -u +%F)

## make models         the producer on threads that a checker interleaves: each model with how often; MODELS_SEED=n MODELS_FACTOR=n
models:
	RUSTFLAGS="--cfg shuttle" cargo test --quiet --locked --target-dir target/models -p kurier --lib models:: -- --nocapture

## make many-topics    one record to each of TOPICS=n topics, 100,000 by default: the producer's memory stays bounded
TOPICS ?= 100000
many-topics:
	cargo run --quiet --locked -p kurier --features internal --example many_topics -- $(TOPICS)

## make golden         bytes that the Java client wrote, both ways, with a table of counts
golden:
	cargo test --quiet --locked -p kurier-protocol --test golden -- --nocapture --test-threads=1
	cargo test --quiet --locked -p kurier-partitioner --test golden -- --nocapture --test-threads=1

## make e2e            all foreign judges: java schema oracle broker-judges; needs Maven, Java 17 and kcat
e2e: schema oracle java broker-judges

## make java           our batches of every codec, both zstd libraries, read by the Java client
java:
	cargo test --quiet --locked -p kurier-e2e --test java -- --nocapture
	cargo test --quiet --locked -p kurier-e2e --no-default-features --features zstd --test java -- --nocapture

## make schema         our tables of fields beside the descriptors inside the kafka-clients jars
schema:
	cargo test --quiet --locked -p kurier-e2e --test schema -- --nocapture

## make oracle         the kafka-protocol crate beside us; ORACLE_CASES=n arbitrary messages a message and version
oracle:
	cargo test --quiet --locked -p kurier-e2e --test oracle -- --nocapture

## make captures-read  captured traffic of seven clients: read and written again, answered by our broker, told to our core
captures-read:
	cargo test --quiet --locked -p kurier-capture --test captures -- --nocapture --test-threads=1
	cargo test --quiet --locked -p kurier --lib captured -- --nocapture

## make broker-judges  kcat and Java write to our broker and read it back; Java's batches pass its checks, corrupted ones do not
broker-judges:
	cargo test --quiet --locked -p kurier-e2e --test broker -- --nocapture

## make test-kafka     kurier produce before real Kafka 4.3.1 and 3.7.2, one and three nodes, and conformance; KAFKA_BOOTSTRAP=host:port uses yours
test-kafka:
	cargo test --locked -p kurier-e2e --test kafka

## make captures       Java, confluent-kafka and franz-go through kurier capture to real 3.7.2 and 4.3.1; tshark and kcat judge; needs Go, Python
captures:
	cargo test --quiet --locked -p kurier-e2e --test captures

## make chaos          kills, pauses, restarts, moved nodes, recreated topics, lower limits: three nodes of Kafka 4.3.1 under load; CHAOS=smoke|controls
chaos:
	cargo test --locked -p kurier-e2e --test chaos

## make endurance      what takes long before real Kafka 4.3.1; ONLY=part of a name, ENDURANCE_MINUTES, ENDURANCE_RUNS, ENDURANCE_SEED
# Each part in a process of its own: what one took of memory would hide what the next takes.
endurance:
	for part in $(or $(ONLY),unsettled one_paused cycles dead_cluster); do \
	  cargo test --locked -p kurier-e2e --test endurance -- $$part || exit 1; done

## make conformance    the same calls to our broker and to real Kafka 3.7.2, 3.9.1 and 4.3.1: a table of who agrees
conformance:
	cargo test --locked -p kurier-e2e --test kafka -- conformance

## make fuzz           every fuzz target for FUZZ_SECONDS, or FUZZ_RUNS=n executions if that is sooner, with a line each in fuzz/RUNS.tsv
# Needs cargo-fuzz and a C++ compiler. FUZZ_SANITIZER=none is some ten times as fast, and sees panics alone.
fuzz:
	FUZZ_SANITIZER=$(FUZZ_SANITIZER) FUZZ_RUNS=$(FUZZ_RUNS) fuzz/run $(FUZZ_SECONDS) $(FUZZ_TARGETS)

## make fuzz-minimise  takes what the fuzzers found new into the committed corpus, minimised
fuzz-minimise:
	fuzz/minimise $(FUZZ_TARGETS)

## make mutants        each small mistake that cargo-mutants can make in wire, batches, codecs and partitioners; AREAS=some of them
AREAS ?= varint wire frame record_batch compression zstd partitioner
mutants:
	crates/e2e/mutants/run $(AREAS)

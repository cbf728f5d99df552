# Recipes for people who work on Rollcall. `just` lists them.

default:
    @just --list

# What CI runs.
ci:
    bash .ci/run

# Format, lint and test, as every commit must pass.
check:
    cargo fmt --all --check
    cargo clippy --workspace --all-targets -- -D warnings
    cargo test --workspace

# Three nodes and the demo services on loopback.
dev *ARGS:
    cargo run --release -- dev {{ARGS}}

# Ours and the peers side by side; needs the Debian packages etcd-server, etcd-client and zookeeper.
bench *ARGS:
    cargo run --profile dist -p rollcall-bench -- {{ARGS}}

# Twenty leader kills and pauses under load, and the rest of the long process tests.
long:
    ROLLCALL_LONG=1 cargo test --release -p rollcall-tests -- --nocapture --test-threads=1

# Faults against five nodes, judged from outside: every nemesis alone and several together, a minute each. `just jepsen short` is what CI runs.
jepsen SUITE="long":
    cargo build --release -p rollcall -p jepsen-lite
    target/release/jepsen-lite suite jepsen-lite/suites/{{SUITE}}.txt --table target/{{SUITE}}-suite.md

# Whether the harness finds bugs that nodes show on purpose.
jepsen-planted:
    bash jepsen-lite/planted.sh

# All that is tried before a release: some three hours.
prove: jepsen jepsen-planted simulate fuzz

# Clusters of the pure parts on a simulated network and clock, so many seeds on all processors.
simulate SEEDS="10000" *ARGS:
    cargo run --release -p rollcall-simulation -- seeds {{SEEDS}} {{ARGS}}

# Whole nodes on a simulated network, clock and disk, each seed twice. A build of its own, in a folder of its own.
simulate-stack SEEDS="20" *ARGS:
    RUSTFLAGS="--cfg rollcall_simulation --cfg tokio_unstable" cargo run --target-dir target/simulation -p rollcall-stack -- seeds {{SEEDS}} {{ARGS}}

# One seed of it, once, in one process: --trace FILE writes every packet and every log line.
simulate-stack-run SEED *ARGS:
    RUSTFLAGS="--cfg rollcall_simulation --cfg tokio_unstable" cargo run --target-dir target/simulation -p rollcall-stack -- run {{SEED}} {{ARGS}}

# The cluster of docker-compose.cluster.yml, brought up, killed, cut and healed. Says so where no Docker engine answers.
compose-test:
    ROLLCALL_COMPOSE=1 cargo test -p rollcall-tests --test compose -- --nocapture

# Unmodified clients of Consul from PyPI against three nodes, one of them killed. Says so where Python or its packages are missing.
compat-test:
    ROLLCALL_COMPAT=1 cargo test -p rollcall-tests --test compat -- --nocapture

# schemathesis from PyPI against three nodes: requests made of the OpenAPI document. Says so where Python or its packages are missing.
openapi-test:
    ROLLCALL_OPENAPI=1 cargo test -p rollcall-tests --test openapi -- --nocapture

# Coverage-guided fuzzing of all that decodes bytes from outside: every target for 60 s each, or so many seconds, or only those named. Needs a C++ compiler.
fuzz SECONDS="60" *TARGETS:
    tests/fuzz/run.sh {{SECONDS}} {{TARGETS}}

# The image for docker-compose.cluster.yml, made without a registry.
image *ARGS:
    deploy/docker/build-local.sh {{ARGS}}

# Alerts, their unit tests, the Prometheus configuration and the systemd unit.
deploy-check:
    deploy/prometheus/check.sh
    deploy/systemd/check.sh

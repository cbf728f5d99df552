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
    cargo run --release -p rollcall-bench -- {{ARGS}}

# Twenty leader kills and pauses under load, and the rest of the long process tests.
long:
    ROLLCALL_LONG=1 cargo test --release -p rollcall-tests -- --nocapture --test-threads=1

# Faults against five nodes, judged from outside: every workload under every nemesis, a minute each. `just jepsen short` is what CI runs.
jepsen SUITE="long":
    cargo build --release -p rollcall -p jepsen-lite
    target/release/jepsen-lite suite jepsen-lite/suites/{{SUITE}}.txt

# Whether the harness finds bugs that nodes show on purpose.
jepsen-planted:
    bash jepsen-lite/planted.sh

# The cluster of docker-compose.cluster.yml, brought up, killed, cut and healed. Says so where no Docker engine answers.
compose-test:
    ROLLCALL_COMPOSE=1 cargo test -p rollcall-tests --test compose -- --nocapture

# The image for docker-compose.cluster.yml, made without a registry.
image *ARGS:
    deploy/docker/build-local.sh {{ARGS}}

# Alerts, their unit tests, the Prometheus configuration and the systemd unit.
deploy-check:
    deploy/prometheus/check.sh
    deploy/systemd/check.sh

# The commands of daily work; `just` lists them. Everything here also works by hand.

default:
    @just --list

# Format, lint and test, as .ci/run does before it goes on to the laboratory
check:
    cargo fmt --check
    cargo clippy --all-targets -- -D warnings
    cargo test

# The rules of the layout alone
tidy:
    cargo test --test tidy

# Outages in the simulated internet
sim:
    cargo test --test sim

# The pages of the code; must build without warnings
doc:
    cargo doc --no-deps

# Start with the bundled configuration
run:
    cargo run --release -- run --config config.toml

# The laboratory: real servers in network namespaces, the real binary, real dig; needs root
lab:
    HOLDFAST_LAB=required HOLDFAST_LAB_TIMES=judge cargo test --test dig

# AF_XDP, which is not in the default build: lint it, and try it between two namespaces; needs root
xdp:
    .ci/xdp

# Build the container image and try it
docker:
    .ci/docker

# Build the Debian package and try it in a clean system; needs root to try
deb:
    .ci/deb

# Write what is made from the code: man pages, completions, configuration reference, schema of --json
made:
    HOLDFAST_WRITE=1 cargo test --test packaging

# Licences, known holes, sources of the dependencies; needs cargo-deny
deny:
    cargo deny check

# All that CI does, from a bare machine
ci:
    .ci/run

# The same questions to unbound, BIND and holdfast, every answer compared; needs root
differential:
    cargo build --release
    tests/differential/run.py

# Cold caches and memory beside unbound, knot-resolver and pdns-recursor; needs root
bench:
    benches/cold_cache/run.py
    benches/cold_cache/run.py memory

# Answers per second beside a bare echo and seven other servers, ten minutes; needs root
wire:
    benches/wire/run.py

# Shadow drill, drill and real cut, and whether they agree; needs root
rehearsal:
    benches/outages/rehearsal.py
    benches/outages/counting.py

# The outages beside unbound, BIND, knot-resolver and pdns-recursor, half an hour; needs root
outages:
    benches/outages/run.py

# Honest clients through floods beside unbound and BIND, half an hour, and the limits on responses beside BIND; needs root
floods:
    benches/floods/limiting.py
    benches/floods/run.py

# UDP, TCP, DoT and DoH beside unbound and dnsdist; needs root
transports:
    benches/transports/run.py

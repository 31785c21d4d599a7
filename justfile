# `just` alone lists these.
_default:
    @just --list --unsorted

# What a change must pass: format, lints, tests, documentation
check: && test
    cargo fmt --check
    cargo clippy --all-targets -- -D warnings
    RUSTDOCFLAGS="-D warnings" cargo doc --no-deps

# All tests; those on PostgreSQL start a server of their own if one is installed
test:
    cargo test

# The tests on a PostgreSQL server that runs already: just test-pg postgresql://user:password@localhost/name
test-pg url=env("TEST_DATABASE_URL"):
    TEST_DATABASE_URL={{ quote(url) }} cargo test

# Print the gateway's figures on this machine; takes 20 seconds (Linux)
bench:
    cargo bench --bench gateway

# Print how fast callers hear the model on this machine; takes two minutes (Linux)
bench-voice:
    cargo bench --bench voice

# Print how many texts are answered, how fast, and with how much memory; takes half a minute (Linux)
bench-sms:
    cargo bench --bench sms

# Calls and texts over real HTTP and WebSockets, printed as a transcript; needs nothing
demo:
    cargo run --release -- demo

# Start the gateway with the settings in .env and the environment
run:
    cargo run --release

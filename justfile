# Each recipe is a line that also works pasted.

# what there is
default:
    @just --list

# the service, an embedded store and a simulated Azure
local *arguments:
    cargo run --release -- local {{arguments}}

# a short day of an identity provider, with what Azure holds after each step
demo:
    cargo run --release -- local --demo

# every test, the scenarios included
test:
    cargo test

# what the public CI asks for
ci:
    .ci/run

# format and lint
tidy:
    cargo fmt && cargo clippy --all-targets -- -D warnings

# write the golden files anew
golden:
    UPDATE_GOLDEN=1 cargo test

# licences, bans and sources (needs cargo-deny)
deny:
    cargo deny check bans licenses sources

# the binary that is packaged
dist:
    cargo build --profile dist

# what requests cost, beside a bare server (after `just dist`, its size too)
bench:
    cargo bench --bench requests

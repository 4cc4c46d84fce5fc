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

# the fuzz targets, each for so many seconds
fuzz seconds="60" *targets:
    fuzz/run {{seconds}} {{targets}}

# what requests cost, beside a bare server (after `just dist`, its size too)
bench:
    cargo bench --bench requests

# what the SCIM engine costs, beside the crate scim_v2 and a bare server
bench-scim *arguments:
    cargo bench --manifest-path benches/scim/Cargo.toml {{arguments}}

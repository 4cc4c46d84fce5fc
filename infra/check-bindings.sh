#!/bin/sh
# Checks bindings.json as the service will, before anything in Azure depends on it. Run by azd before provisioning.
set -eu
cd "$(dirname "$0")/.."

if ! command -v cargo >/dev/null 2>&1; then
    echo "bindings.json was not checked: there is no cargo here. The package is checked when it is made." >&2
    exit 0
fi
cargo run --quiet --locked --no-default-features -- config check bindings.json

if grep -q '/subscriptions/00000000-0000-0000-0000-000000000000' bindings.json; then
    echo "bindings.json still names the subscription that does not exist: nothing is granted there." >&2
fi

#!/usr/bin/env bash
# Two releases on one table, under traffic and kills: upgrades the processes of an app from an older release to this one, and
# rolls them back. Builds the older release, which takes minutes; no part of .ci/run.
#
#   tests/upgrade.sh [COMMIT [SECONDS]]
#
# COMMIT is the older release (by default the one before the audit was sealed), SECONDS how long the traffic goes on (600).
set -euo pipefail
cd "$(dirname "$0")/.."

older=${1:-1e89546}
seconds=${2:-600}
commit=$(git rev-parse --verify "$older^{commit}")
folder="$PWD/target/older/$commit"

if [ ! -x "$folder/target/debug/azure-backup-scim" ]; then
    rm -rf "$folder"
    mkdir -p "$folder/source"
    git archive "$commit" | tar -x -C "$folder/source"
    cargo build --locked --manifest-path "$folder/source/Cargo.toml" --target-dir "$folder/target"
    rm -rf "$folder/source"
fi

OLDER_PROGRAM="$folder/target/debug/azure-backup-scim" SOAK_SECONDS="$seconds" \
    cargo test --locked --test it an_upgrade_and_a_rollback_under_traffic -- --ignored --nocapture

#!/bin/sh
# Locks the immutability policy of the container with the heads of the audit. Run by azd after provisioning, and by hand.
#
#   azd env set AUDIT_HEADS_POLICY locked
#
# A lock is never taken back. From then on Azure deletes neither the heads nor the storage account before their time, so
# `azd down` fails until the youngest head is old enough: docs/deploy.md.
set -eu
cd "$(dirname "$0")/.."

setting() {
    eval "value=\${$1:-}"
    if [ -z "$value" ]; then
        value=$(azd env get-value "$1" 2>/dev/null) || {
            echo "$1 is not known: run azd provision first, or set it in the environment." >&2
            exit 1
        }
    fi
    printf '%s' "$value"
}

wanted=${AUDIT_HEADS_POLICY:-$(azd env get-value AUDIT_HEADS_POLICY 2>/dev/null || echo unlocked)}
[ "$wanted" = locked ] || exit 0

subscription=$(setting AZURE_SUBSCRIPTION_ID)
group=$(setting AZURE_RESOURCE_GROUP)
account=$(setting AUDIT_HEADS_ACCOUNT)
container=$(setting AUDIT_HEADS_CONTAINER)
days=$(setting AUDIT_HEADS_DAYS)

policy() {
    verb=$1
    shift
    az storage container immutability-policy "$verb" --subscription "$subscription" --resource-group "$group" \
        --account-name "$account" --container-name "$container" "$@"
}

if [ "$(policy show --query state --output tsv 2>/dev/null || true)" = Locked ]; then
    echo "The policy of $container is locked already."
    exit 0
fi
policy create --period "$days" --output none
policy lock --if-match "$(policy show --query etag --output tsv)" --output none
echo "The policy of $container is locked for $days days. No one can take that back."

#!/bin/sh
# Makes a bearer token for an identity provider and stores it in the vault, as the newest version of the secret.
# The token is never on a command line or in a log: az reads it from a file that only you can read, and it is shown once,
# and only if standard output is a terminal.
#
#   infra/new-token.sh [--label entra] [--vault NAME] [--secret scim-bearer-token]
#
# --label says in audit records whose token called: one for each identity provider.
set -eu
cd "$(dirname "$0")/.."

label=entra
vault=${KEY_VAULT_NAME:-}
secret=scim-bearer-token
while [ $# -gt 0 ]; do
    case "$1" in
        --label) label=${2:?--label wants a value} ;;
        --vault) vault=${2:?--vault wants a value} ;;
        --secret) secret=${2:?--secret wants a value} ;;
        *)
            echo "usage: infra/new-token.sh [--label entra] [--vault NAME] [--secret scim-bearer-token]" >&2
            exit 2
            ;;
    esac
    shift 2
done
case "$label" in
    *[!a-z0-9-]*)
        echo "a label is made of a to z, 0 to 9 and -" >&2
        exit 2
        ;;
esac
if [ -z "$vault" ]; then
    vault=$(azd env get-value KEY_VAULT_NAME) || {
        echo "the name of the vault is not known: run azd provision first, or give --vault" >&2
        exit 2
    }
fi

umask 077
file=$(mktemp)
trap 'rm -f "$file"' EXIT
trap 'exit 130' INT TERM HUP
# 32 random bytes in hex, without a new line at the end.
od -An -v -N32 -tx1 /dev/urandom | tr -d ' \n' >"$file"
if [ "$(wc -c <"$file")" -ne 64 ]; then
    echo "there is not enough randomness here" >&2
    exit 1
fi

az keyvault secret set --vault-name "$vault" --name "$secret" --file "$file" --encoding utf-8 \
    --tags "label=$label" --only-show-errors --output none

echo "A new version of $secret is in $vault, labelled $label." >&2
if [ -t 1 ]; then
    echo "Paste it into the identity provider now; it is not shown again:" >&2
    cat "$file"
    echo
else
    echo "It is not shown, because standard output is not a terminal." >&2
fi

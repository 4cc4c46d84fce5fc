#!/bin/sh
# Gives the service its right to hand out the bound backup roles, at the scopes of bindings.json (delegation.bicep).
# Run by azd after provisioning, and by hand. It is a deployment of its own so that `azd down` never takes it for
# something to delete with its resource groups.
#
#   azd env set DEPLOY_ROLE_DELEGATION false    leaves it to another team
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

principal=$(setting SERVICE_PRINCIPAL_ID)
subscription=$(setting AZURE_SUBSCRIPTION_ID)
location=$(setting AZURE_LOCATION)
environment=$(setting AZURE_ENV_NAME)
wanted_log=${ACTIVITY_LOG_ALERT:-$(azd env get-value ACTIVITY_LOG_ALERT 2>/dev/null || echo false)}
workspace=
if [ "$wanted_log" = true ]; then workspace=$(setting WORKSPACE_ID); fi
wanted_drill=${DRILL:-$(azd env get-value DRILL 2>/dev/null || echo false)}
drill=
if [ "$wanted_drill" = true ]; then drill=/subscriptions/$subscription/resourceGroups/rg-$environment-drill; fi
# Azure allows 64 characters.
name=$(printf 'delegation-%s' "$environment" | cut -c 1-64)

wanted=${DEPLOY_ROLE_DELEGATION:-$(azd env get-value DEPLOY_ROLE_DELEGATION 2>/dev/null || echo true)}
if [ "$wanted" = false ]; then
    cat <<END
The service has no right to grant anything yet (DEPLOY_ROLE_DELEGATION is false). Whoever may assign roles at the scopes
of bindings.json runs, in a checkout with this bindings.json:

  az deployment sub create --subscription $subscription --location $location --name $name \\
    --template-file infra/delegation.bicep --parameters principalId=$principal${workspace:+ workspaceId=$workspace}${drill:+ drillScope=$drill}
END
    exit 0
fi

if ! command -v az >/dev/null 2>&1; then
    echo "The Azure CLI (az) is needed to give the service its rights; install it and run infra/delegate.sh." >&2
    exit 1
fi
az deployment sub create --subscription "$subscription" --location "$location" --name "$name" \
    --template-file infra/delegation.bicep --parameters principalId="$principal" \
    ${workspace:+workspaceId="$workspace"} ${drill:+drillScope="$drill"} \
    --only-show-errors --output none
echo "The service may hand out the roles that bindings.json binds, at its scopes and nowhere else."

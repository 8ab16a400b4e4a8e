#!/bin/sh
# The app registration of the HTTP API, by Microsoft Graph: made once, never changed again.
# Who may not register applications asks somebody who may, and sets ROLLOVER_API_CLIENT_ID (docs/deploy.md).
set -eu
graph=https://graph.microsoft.com/v1.0
name="rollover-$AZURE_ENV_NAME"

if [ -n "${ROLLOVER_API_CLIENT_ID:-}" ]; then
    echo "HTTP API: app registration $ROLLOVER_API_CLIENT_ID"
    exit 0
fi
if [ "${ROLLOVER_WITHOUT_API:-false}" = true ]; then
    echo "HTTP API: none (ROLLOVER_WITHOUT_API); the steps do without"
    exit 0
fi

upsert() { # url, body
    az rest --method PATCH --url "$graph/$1" --headers Prefer=create-if-missing Content-Type=application/json --body "@$2" --output none
}

upsert "applications(uniqueName='$name')" infra/entra/application.json
client_id=
for _ in 1 2 3 4 5 6; do # what was just written may not be there to read yet
    client_id=$(az rest --method GET --url "$graph/applications(uniqueName='$name')" --query appId --output tsv || true)
    [ -n "$client_id" ] && break
    sleep "${ROLLOVER_HOOK_PAUSE:-5}"
done
if [ -z "$client_id" ]; then
    echo "HTTP API: the app registration $name was written and cannot be read; run this again" >&2
    exit 1
fi
upsert "applications(uniqueName='$name')" infra/entra/callers.json
upsert "servicePrincipals(appId='$client_id')" infra/entra/service-principal.json
azd env set ROLLOVER_API_CLIENT_ID "$client_id"
echo "HTTP API: app registration $client_id made; assign its app roles to people (docs/deploy.md)"

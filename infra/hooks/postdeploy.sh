#!/bin/sh
# Subscribes on_certificate_event to the vault's events. The same again changes nothing.
set -eu
tries=30
until az resource show --ids "$ROLLOVER_FUNCTION_ID" --api-version 2025-05-01 --output none 2>/dev/null; do
    tries=$((tries - 1))
    if [ "$tries" -eq 0 ]; then
        echo "the app has no function on_certificate_event: look at its log, then run: azd hooks run postdeploy" >&2
        exit 1
    fi
    sleep "${ROLLOVER_HOOK_PAUSE:-10}"
done
az deployment group create \
    --name rollover-events \
    --resource-group "$ROLLOVER_VAULT_GROUP" \
    --template-file infra/after-deploy/subscription.bicep \
    --parameters \
    "topicName=$ROLLOVER_VAULT_TOPIC" \
    "functionId=$ROLLOVER_FUNCTION_ID" \
    "deadLetterAccountId=$ROLLOVER_DEAD_LETTER_ACCOUNT_ID" \
    "deadLetterContainer=$ROLLOVER_DEAD_LETTER_CONTAINER" \
    --output none
echo "vault events go to on_certificate_event"

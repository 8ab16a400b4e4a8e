# postdeploy.sh for PowerShell.
$ErrorActionPreference = 'Stop'
$found = $false
foreach ($try in 1..30) {
    az resource show --ids $env:ROLLOVER_FUNCTION_ID --api-version 2025-05-01 --output none 2>$null
    $found = $LASTEXITCODE -eq 0
    if ($found) { break }
    Start-Sleep -Seconds 10
}
if (-not $found) { throw 'the app has no function on_certificate_event: look at its log, then run: azd hooks run postdeploy' }
az deployment group create `
    --name rollover-events `
    --resource-group $env:ROLLOVER_VAULT_GROUP `
    --template-file infra/after-deploy/subscription.bicep `
    --parameters `
    "topicName=$env:ROLLOVER_VAULT_TOPIC" `
    "functionId=$env:ROLLOVER_FUNCTION_ID" `
    "deadLetterAccountId=$env:ROLLOVER_DEAD_LETTER_ACCOUNT_ID" `
    "deadLetterContainer=$env:ROLLOVER_DEAD_LETTER_CONTAINER" `
    --output none
if ($LASTEXITCODE -ne 0) { throw 'the event subscription could not be made' }
Write-Output 'vault events go to on_certificate_event'

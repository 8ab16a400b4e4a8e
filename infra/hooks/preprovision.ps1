# preprovision.sh for PowerShell. Graph is called directly: az.cmd cannot be given an address with parentheses.
$ErrorActionPreference = 'Stop'
$graph = 'https://graph.microsoft.com/v1.0'
$name = "rollover-$env:AZURE_ENV_NAME"

if ($env:ROLLOVER_API_CLIENT_ID) {
    Write-Output "HTTP API: app registration $env:ROLLOVER_API_CLIENT_ID"
    exit 0
}
if ($env:ROLLOVER_WITHOUT_API -eq 'true') {
    Write-Output 'HTTP API: none (ROLLOVER_WITHOUT_API); the steps do without'
    exit 0
}

$token = az account get-access-token --resource-type ms-graph --query accessToken --output tsv
if ($LASTEXITCODE -ne 0) { throw 'az account get-access-token failed' }
$headers = @{ Authorization = "Bearer $token"; Prefer = 'create-if-missing' }

function Set-Graph([string] $path, [string] $file) {
    Invoke-RestMethod -Method Patch -Uri "$graph/$path" -Headers $headers -ContentType 'application/json' -Body (Get-Content -Raw $file) | Out-Null
}

Set-Graph "applications(uniqueName='$name')" 'infra/entra/application.json'
$clientId = $null
foreach ($try in 1..6) { # what was just written may not be there to read yet
    try { $clientId = (Invoke-RestMethod -Method Get -Uri "$graph/applications(uniqueName='$name')" -Headers $headers).appId } catch { }
    if ($clientId) { break }
    Start-Sleep -Seconds 5
}
if (-not $clientId) { throw "HTTP API: the app registration $name was written and cannot be read; run this again" }
Set-Graph "applications(uniqueName='$name')" 'infra/entra/callers.json'
Set-Graph "servicePrincipals(appId='$clientId')" 'infra/entra/service-principal.json'
azd env set ROLLOVER_API_CLIENT_ID $clientId
if ($LASTEXITCODE -ne 0) { throw 'azd env set failed' }
Write-Output "HTTP API: app registration $clientId made; assign its app roles to people (docs/deploy.md)"

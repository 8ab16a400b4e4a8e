// Two identities: what runs the app, and what the app does. Neither can do the other's part.
param location string
param tags object
param token string

@description('Of the Functions host: reads the package, keeps its locks and keys, sends telemetry.')
resource host 'Microsoft.ManagedIdentity/userAssignedIdentities@2024-11-30' = {
  name: 'id-rollover-host-${token}'
  location: location
  tags: tags
}

@description('Of the code and its triggers: DPS, hub, vault, ledger, queues, topic, log hub.')
resource app 'Microsoft.ManagedIdentity/userAssignedIdentities@2024-11-30' = {
  name: 'id-rollover-app-${token}'
  location: location
  tags: tags
}

output hostId string = host.id
output hostClientId string = host.properties.clientId
output hostPrincipalId string = host.properties.principalId
output appId string = app.id
output appClientId string = app.properties.clientId
output appPrincipalId string = app.properties.principalId

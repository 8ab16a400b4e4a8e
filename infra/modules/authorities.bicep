// Your DPS: the app may manage its CA certificates. Only where groups are rolled: `manageAuthorities`.
param name string
param roleDefinitionId string
param appPrincipalId string

resource dps 'Microsoft.Devices/provisioningServices@2026-11-01' existing = {
  name: name
}

resource appOnAuthorities 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(dps.id, appPrincipalId, roleDefinitionId)
  scope: dps
  properties: {
    description: 'Rollover uploads, verifies and deletes the CA certificates that enrollment groups trust.'
    principalId: appPrincipalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: roleDefinitionId
  }
}

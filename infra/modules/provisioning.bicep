// Your DPS: the app may read and write enrollments.
param name string
param roleDefinitionId string
param appPrincipalId string

resource dps 'Microsoft.Devices/provisioningServices@2026-11-01' existing = {
  name: name
}

resource appOnDps 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(dps.id, appPrincipalId, roleDefinitionId)
  scope: dps
  properties: {
    description: 'Rollover puts certificates into enrollments, and disables and enables them.'
    principalId: appPrincipalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: roleDefinitionId
  }
}

output id string = dps.id
output endpoint string = 'https://${dps.properties.serviceOperationsHostName}'

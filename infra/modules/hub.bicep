// Your IoT hub: the app may work on identities, twins and jobs; its Connections logs go to our event hub.
param name string
param roleDefinitionId string
param appPrincipalId string
param logsRuleId string
param logsName string

resource hub 'Microsoft.Devices/IotHubs@2023-06-30' existing = {
  name: name
}

resource appOnHub 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(hub.id, appPrincipalId, roleDefinitionId)
  scope: hub
  properties: {
    description: 'Rollover stages thumbprints, asks devices to register again, removes and restores breached ones.'
    principalId: appPrincipalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: roleDefinitionId
  }
}

resource connections 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = {
  name: 'rollover-connections'
  scope: hub
  properties: {
    eventHubAuthorizationRuleId: logsRuleId
    eventHubName: logsName
    logs: [
      {
        category: 'Connections'
        enabled: true
      }
    ]
  }
}

output id string = hub.id
output hostname string = hub.properties.hostName

// Lifecycle events, as CloudEvents. Whoever wants to know subscribes (docs/deploy.md).
param location string
param tags object
param token string
param publicNetworkAccess string
param appPrincipalId string

var roles = loadJsonContent('../roles.json')

resource topic 'Microsoft.EventGrid/topics@2025-02-15' = {
  // checkov:skip=CKV_AZURE_193: follows the parameter publicNetworkAccess; keys are off
  name: 'evgt-rollover-${token}'
  location: location
  tags: tags
  identity: { type: 'SystemAssigned' } // for subscriptions that deliver by identity
  properties: {
    inputSchema: 'CloudEventSchemaV1_0'
    disableLocalAuth: true
    minimumTlsVersionAllowed: '1.2'
    publicNetworkAccess: publicNetworkAccess
  }
}

resource appOnTopic 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(topic.id, appPrincipalId, roles['EventGrid Data Sender'])
  scope: topic
  properties: {
    description: 'Rollover publishes its lifecycle events.'
    principalId: appPrincipalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', roles['EventGrid Data Sender'])
  }
}

output id string = topic.id
output endpoint string = topic.properties.endpoint

// Your vault: the app may read certificates and ask for new versions; its events come from a system topic.
// The subscription is made after the code is there: infra/after-deploy/subscription.bicep.
param name string
param topicName string
param tags object
param roleDefinitionId string
param appPrincipalId string

resource vault 'Microsoft.KeyVault/vaults@2026-05-15' existing = {
  name: name
}

resource appOnVault 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(vault.id, appPrincipalId, roleDefinitionId)
  scope: vault
  properties: {
    description: 'Rollover reads the public parts of certificates and asks for new versions.'
    principalId: appPrincipalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: roleDefinitionId
  }
}

resource made 'Microsoft.EventGrid/systemTopics@2025-02-15' = if (empty(topicName)) {
  name: 'egst-${name}'
  location: vault.location
  tags: tags
  identity: { type: 'SystemAssigned' }
  properties: {
    source: vault.id
    topicType: 'Microsoft.KeyVault.Vaults'
  }
}

// One that the vault has already, with a system-assigned identity.
resource given 'Microsoft.EventGrid/systemTopics@2025-02-15' existing = if (!empty(topicName)) {
  name: empty(topicName) ? 'none' : topicName
}

output url string = vault.properties.vaultUri
output topicName string = empty(topicName) ? made.name : topicName
output topicId string = empty(topicName) ? made.id : given.id
output topicPrincipalId string = empty(topicName) ? made!.identity.principalId : given!.identity.principalId

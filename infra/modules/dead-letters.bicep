// The vault's topic may put what it could not deliver into one container, and nothing else anywhere.
param accountName string
param containerName string
param topicPrincipalId string

var roles = loadJsonContent('../roles.json')

resource account 'Microsoft.Storage/storageAccounts@2026-09-01' existing = {
  name: accountName

  resource blobs 'blobServices' existing = {
    name: 'default'

    resource container 'containers' existing = {
      name: containerName
    }
  }
}

resource topicOnContainer 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(account::blobs::container.id, topicPrincipalId, roles['Storage Blob Data Contributor'])
  scope: account::blobs::container
  properties: {
    description: 'Event Grid writes events that it could not deliver here.'
    principalId: topicPrincipalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', roles['Storage Blob Data Contributor'])
  }
}

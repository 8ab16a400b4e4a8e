// The ledger's table, a queue and a poison queue for each step, and the container of what Event Grid could not deliver.
param location string
param tags object
param token string
param publicNetworkAccess string
param appPrincipalId string

var roles = loadJsonContent('../roles.json')

// Contracts with messages in flight (tests/functions/function_app.json); a test compares.
var steps = [
  'issue-certificate'
  'upload-secondary'
  'stage-hub-thumbprint'
  'invoke-reprovision-job'
  'delete-primary'
  'disable-enrollment'
  'remove-hub-registration'
  'verify-containment'
  'enable-enrollment'
  'restore-twin'
  'add-ca-certificate'
  'delete-ca-certificate'
]

resource account 'Microsoft.Storage/storageAccounts@2026-09-01' = {
  // checkov:skip=CKV_AZURE_59: follows the parameter publicNetworkAccess; without keys, only an identity with a role gets in
  // checkov:skip=CKV_AZURE_35: the default follows the parameter publicNetworkAccess; without keys, only an identity with a role gets in
  // checkov:skip=CKV_AZURE_206: zone-redundant: a region that is gone takes DPS, hub and vault with it
  // checkov:skip=CKV_AZURE_43: the name is made of a prefix and 13 letters or digits; the check reads the expression
  name: 'stroll${token}'
  location: location
  tags: tags
  kind: 'StorageV2'
  sku: { name: 'Standard_ZRS' }
  properties: {
    allowBlobPublicAccess: false
    allowSharedKeyAccess: false
    allowCrossTenantReplication: false
    defaultToOAuthAuthentication: true
    minimumTlsVersion: 'TLS1_2'
    supportsHttpsTrafficOnly: true
    publicNetworkAccess: publicNetworkAccess
    networkAcls: {
      bypass: 'AzureServices'
      defaultAction: publicNetworkAccess == 'Enabled' ? 'Allow' : 'Deny'
    }
  }
}

resource queues 'Microsoft.Storage/storageAccounts/queueServices@2026-09-01' = {
  parent: account
  name: 'default'
}

resource stepQueues 'Microsoft.Storage/storageAccounts/queueServices/queues@2026-09-01' = [
  for step in steps: {
    parent: queues
    name: step
  }
]

resource poisonQueues 'Microsoft.Storage/storageAccounts/queueServices/queues@2026-09-01' = [
  for step in steps: {
    parent: queues
    name: '${step}-poison'
  }
]

resource tables 'Microsoft.Storage/storageAccounts/tableServices@2026-09-01' = {
  parent: account
  name: 'default'
}

resource rollovers 'Microsoft.Storage/storageAccounts/tableServices/tables@2026-09-01' = {
  parent: tables
  name: 'rollovers'
}

resource blobs 'Microsoft.Storage/storageAccounts/blobServices@2026-09-01' = {
  parent: account
  name: 'default'
  properties: {
    deleteRetentionPolicy: { enabled: true, days: 7 }
    containerDeleteRetentionPolicy: { enabled: true, days: 7 }
  }
}

resource deadLetters 'Microsoft.Storage/storageAccounts/blobServices/containers@2026-09-01' = {
  parent: blobs
  name: 'dead-letters'
  properties: { publicAccess: 'None' }
}

// Contributor and not Reader + Processor + Sender: giving a failed message back is an update, which none of the three
// may do (MicrosoftDocs/azure-docs#120932). The account's queues are all the app's.
resource appOnQueues 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(account.id, appPrincipalId, roles['Storage Queue Data Contributor'])
  scope: account
  properties: {
    description: 'Triggers take, give back and delete messages; steps send the next one.'
    principalId: appPrincipalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', roles['Storage Queue Data Contributor'])
  }
}

resource appOnTable 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(rollovers.id, appPrincipalId, roles['Storage Table Data Contributor'])
  scope: rollovers
  properties: {
    description: 'The ledger: rollovers, their history, previews.'
    principalId: appPrincipalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', roles['Storage Table Data Contributor'])
  }
}

output accountId string = account.id
output accountName string = account.name
output queueUri string = account.properties.primaryEndpoints.queue
output tableUri string = account.properties.primaryEndpoints.table
output deadLetterContainer string = deadLetters.name

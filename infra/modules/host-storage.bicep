// What the Functions host needs for itself: the package, locks, keys, checkpoints. Who can write here can run code as
// the app, so it is an account of its own, without keys, that only the host's identity may touch.
param location string
param tags object
param token string
param publicNetworkAccess string
param hostPrincipalId string

var roles = loadJsonContent('../roles.json')

resource account 'Microsoft.Storage/storageAccounts@2026-09-01' = {
  // checkov:skip=CKV_AZURE_59: follows the parameter publicNetworkAccess; without keys, only an identity with a role gets in
  // checkov:skip=CKV_AZURE_35: the default follows the parameter publicNetworkAccess; without keys, only an identity with a role gets in
  // checkov:skip=CKV_AZURE_206: zone-redundant: a region that is gone takes DPS, hub and vault with it
  // checkov:skip=CKV_AZURE_43: the name is made of a prefix and 13 letters or digits; the check reads the expression
  name: 'sthost${token}'
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

resource blobs 'Microsoft.Storage/storageAccounts/blobServices@2026-09-01' = {
  parent: account
  name: 'default'
  properties: {
    deleteRetentionPolicy: { enabled: true, days: 7 }
    containerDeleteRetentionPolicy: { enabled: true, days: 7 }
  }
}

resource packages 'Microsoft.Storage/storageAccounts/blobServices/containers@2026-09-01' = {
  parent: blobs
  name: 'packages'
  properties: { publicAccess: 'None' }
}

resource hostOnBlobs 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(account.id, hostPrincipalId, roles['Storage Blob Data Owner'])
  scope: account
  properties: {
    description: 'The host reads the package and keeps locks, function keys and checkpoints.'
    principalId: hostPrincipalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', roles['Storage Blob Data Owner'])
  }
}

output blobUri string = account.properties.primaryEndpoints.blob
output packagesUri string = '${account.properties.primaryEndpoints.blob}${packages.name}'

// A hub, a DPS and a vault to try it with. Not for devices that matter: one unit, one region.
param location string
param tags object
param provisioningServiceName string
param hubName string
param vaultName string

var roles = loadJsonContent('../roles.json')

resource hub 'Microsoft.Devices/IotHubs@2023-06-30' = {
  name: hubName
  location: location
  tags: tags
  sku: { name: 'S1', capacity: 1 }
  properties: {
    disableLocalAuth: true
    minTlsVersion: '1.2'
    publicNetworkAccess: 'Enabled'
  }
}

resource linker 'Microsoft.ManagedIdentity/userAssignedIdentities@2024-11-30' = {
  name: 'id-${provisioningServiceName}'
  location: location
  tags: tags
}

// DPS writes identities and initial twins into the hub with an identity, not with a key of the hub.
resource linkerOnIdentities 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(hub.id, linker.id, roles['IoT Hub Registry Contributor'])
  scope: hub
  properties: {
    description: 'DPS makes device identities.'
    principalId: linker.properties.principalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', roles['IoT Hub Registry Contributor'])
  }
}

resource linkerOnTwins 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(hub.id, linker.id, roles['IoT Hub Twin Contributor'])
  scope: hub
  properties: {
    description: 'DPS writes initial twins.'
    principalId: linker.properties.principalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', roles['IoT Hub Twin Contributor'])
  }
}

resource dps 'Microsoft.Devices/provisioningServices@2026-11-01' = {
  name: provisioningServiceName
  location: location
  tags: tags
  sku: { name: 'S1', capacity: 1 }
  identity: {
    type: 'UserAssigned'
    userAssignedIdentities: { '${linker.id}': {} }
  }
  properties: {
    disableLocalAuth: true
    publicNetworkAccess: 'Enabled'
    iotHubs: [
      {
        hostName: hub.properties.hostName
        location: location
        authenticationType: 'UserAssigned'
        selectedUserAssignedIdentityResourceId: linker.id
      }
    ]
  }
  dependsOn: [linkerOnIdentities, linkerOnTwins]
}

resource vault 'Microsoft.KeyVault/vaults@2026-05-15' = {
  // checkov:skip=CKV_AZURE_109: to try it with: nothing real is in it, and roles still guard it
  // checkov:skip=CKV_AZURE_189: to try it with: nothing real is in it, and roles still guard it
  name: vaultName
  location: location
  tags: tags
  properties: {
    tenantId: tenant().tenantId
    sku: { family: 'A', name: 'standard' }
    enableRbacAuthorization: true
    enableSoftDelete: true
    enablePurgeProtection: true
    softDeleteRetentionInDays: 7
    publicNetworkAccess: 'Enabled'
    networkAcls: {
      bypass: 'AzureServices'
      defaultAction: 'Allow'
    }
  }
}

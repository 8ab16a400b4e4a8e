// Roles of our own, where every built-in one allows more than the code does. Sources of the action names:
// azure-docs iot-dps/concepts-control-access-dps-azure-ad, iot-hub/authenticate-authorize-azure-ad, key-vault RBAC guide.
targetScope = 'subscription'

param token string
param dpsGroupName string
param hubGroupName string
param vaultGroupName string

@description('Enrollments read and written, never deleted; no symmetric keys (attestationmechanism/details).')
resource provisioning 'Microsoft.Authorization/roleDefinitions@2022-04-01' = {
  name: guid(subscription().id, token, 'provisioning')
  properties: {
    roleName: 'Rollover provisioning (${token})'
    description: 'Reads and writes individual enrollments, reads groups and registration records.'
    type: 'CustomRole'
    permissions: [
      {
        actions: []
        notActions: []
        dataActions: [
          'Microsoft.Devices/provisioningServices/enrollments/read'
          'Microsoft.Devices/provisioningServices/enrollments/write'
          'Microsoft.Devices/provisioningServices/enrollmentGroups/read'
          'Microsoft.Devices/provisioningServices/enrollmentGroups/write'
          'Microsoft.Devices/provisioningServices/registrationStates/read'
        ]
        notDataActions: []
      }
    ]
    assignableScopes: ['${subscription().id}/resourceGroups/${dpsGroupName}']
  }
}

@description('Identities, twins, method jobs; no messages, configurations or file uploads.')
resource hub 'Microsoft.Authorization/roleDefinitions@2022-04-01' = {
  name: guid(subscription().id, token, 'hub')
  properties: {
    roleName: 'Rollover hub (${token})'
    description: 'Reads, writes and deletes device identities, reads and writes twins, starts method jobs, reads the size of the hub.'
    type: 'CustomRole'
    permissions: [
      {
        actions: [
          'Microsoft.Devices/IotHubs/read'
        ]
        notActions: []
        dataActions: [
          'Microsoft.Devices/IotHubs/devices/read'
          'Microsoft.Devices/IotHubs/devices/write'
          'Microsoft.Devices/IotHubs/devices/delete'
          'Microsoft.Devices/IotHubs/twins/read'
          'Microsoft.Devices/IotHubs/twins/write'
          'Microsoft.Devices/IotHubs/jobs/read'
          'Microsoft.Devices/IotHubs/jobs/write'
          'Microsoft.Devices/IotHubs/directMethods/invoke/action'
        ]
        notDataActions: []
      }
    ]
    assignableScopes: ['${subscription().id}/resourceGroups/${hubGroupName}']
  }
}

@description('Certificates read and issued; no secrets, so no private key; nothing imported, changed or deleted.')
resource vault 'Microsoft.Authorization/roleDefinitions@2022-04-01' = {
  name: guid(subscription().id, token, 'vault')
  properties: {
    roleName: 'Rollover vault (${token})'
    description: 'Reads certificates (public parts) and asks for new versions.'
    type: 'CustomRole'
    permissions: [
      {
        actions: []
        notActions: []
        dataActions: [
          'Microsoft.KeyVault/vaults/certificates/read'
          'Microsoft.KeyVault/vaults/certificates/create/action'
        ]
        notDataActions: []
      }
    ]
    assignableScopes: ['${subscription().id}/resourceGroups/${vaultGroupName}']
  }
}

@description('CA certificates of the DPS, and nothing else of it: no keys, no links, no deletion of the DPS.')
resource authorities 'Microsoft.Authorization/roleDefinitions@2022-04-01' = {
  name: guid(subscription().id, token, 'authorities')
  properties: {
    roleName: 'Rollover authorities (${token})'
    description: 'Reads, uploads, verifies and deletes the CA certificates of a DPS.'
    type: 'CustomRole'
    permissions: [
      {
        actions: [
          'Microsoft.Devices/provisioningServices/certificates/read'
          'Microsoft.Devices/provisioningServices/certificates/write'
          'Microsoft.Devices/provisioningServices/certificates/delete'
          'Microsoft.Devices/provisioningServices/certificates/generateVerificationCode/action'
          'Microsoft.Devices/provisioningServices/certificates/verify/action'
        ]
        notActions: []
        dataActions: []
        notDataActions: []
      }
    ]
    assignableScopes: ['${subscription().id}/resourceGroups/${dpsGroupName}']
  }
}

@description('Signing with keys, and their public parts; nothing decrypted, unwrapped, made, changed or deleted.')
resource signing 'Microsoft.Authorization/roleDefinitions@2022-04-01' = {
  name: guid(subscription().id, token, 'signing')
  properties: {
    roleName: 'Rollover signing (${token})'
    description: 'Signs with keys of the vault.'
    type: 'CustomRole'
    permissions: [
      {
        actions: []
        notActions: []
        dataActions: [
          'Microsoft.KeyVault/vaults/keys/read'
          'Microsoft.KeyVault/vaults/keys/sign/action'
        ]
        notDataActions: []
      }
    ]
    assignableScopes: ['${subscription().id}/resourceGroups/${vaultGroupName}']
  }
}

output provisioningRoleId string = provisioning.id
output hubRoleId string = hub.id
output vaultRoleId string = vault.id
output authoritiesRoleId string = authorities.id
output signingRoleId string = signing.id

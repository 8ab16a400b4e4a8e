// Your vault: the app may sign with its keys. Only where groups are rolled: `manageAuthorities`.
param name string
param roleDefinitionId string
param appPrincipalId string

resource vault 'Microsoft.KeyVault/vaults@2026-05-15' existing = {
  name: name
}

resource appOnKeys 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(vault.id, appPrincipalId, roleDefinitionId)
  scope: vault
  properties: {
    description: 'Rollover signs certificates, and proofs for DPS, with the keys of CAs, which stay in the vault.'
    principalId: appPrincipalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: roleDefinitionId
  }
}

// Everything that Rollover needs in a subscription. DPS, hub and vault are yours; `createDemo` makes ones to try it with.
// docs/deploy.md says how; docs/security.md why each role is there. No key is read or written anywhere.
targetScope = 'subscription'

@minLength(1)
@maxLength(32)
@description('Name of the azd environment; names of resources are made of it.')
param environmentName string

@minLength(1)
@description('Region of everything that is made here.')
param location string

@description('Make a hub, a DPS and a vault to try it with. The names below are then ignored.')
param createDemo bool = false

@description('Name of your DPS.')
param provisioningServiceName string = ''

@description('Its resource group, in this subscription.')
param provisioningServiceGroup string = ''

@description('Name of your IoT hub.')
param hubName string = ''

@description('Its resource group, in this subscription.')
param hubGroup string = ''

@description('Name of your vault; its permission model must be Azure RBAC.')
param vaultName string = ''

@description('Its resource group, in this subscription.')
param vaultGroup string = ''

@description('System topic that the vault has already: a resource has at most one. Empty: one is made.')
param vaultTopicName string = ''

@description('Client ID of the app registration of the HTTP API. Empty: the API is closed, the steps go on.')
param apiClientId string = ''

@description('Let the app manage CA certificates of the DPS and sign with keys of the vault: groups and an own CA need it.')
param manageAuthorities bool = false

@description('Action group that is told of every alert. Empty: alerts show in the portal and tell nobody.')
param actionGroupId string = ''

@description('Application settings to set otherwise than by default, by name: RETIRE_WHEN, BREACH_FUSE, ...')
param settings object = {}

@description('Subnet, delegated to Microsoft.App/environments, that the app reaches its services through. Empty: none.')
param subnetId string = ''

@allowed(['Enabled', 'Disabled'])
@description('Whether storage, topic and log hub answer from outside private endpoints.')
param publicNetworkAccess string = 'Enabled'

@minValue(40)
@maxValue(1000)
@description('At most so many instances of the app for each function.')
param maximumInstanceCount int = 40

@minValue(0)
@maxValue(20)
@description('Instances that wait for calls of the HTTP API: no cold start in an incident, at a price.')
param readyInstanceCount int = 0

var token = uniqueString(subscription().id, environmentName, location)
var tags = { 'azd-env-name': environmentName }
var groupName = 'rg-${environmentName}'

var dps = createDemo ? 'dps-${token}' : provisioningServiceName
var hub = createDemo ? 'iot-${token}' : hubName
var vault = createDemo ? 'kv-${token}' : vaultName
var dpsGroupName = createDemo || empty(provisioningServiceGroup) ? groupName : provisioningServiceGroup
var hubGroupName = createDemo || empty(hubGroup) ? groupName : hubGroup
var vaultGroupName = createDemo || empty(vaultGroup) ? groupName : vaultGroup

resource group 'Microsoft.Resources/resourceGroups@2024-03-01' = {
  name: groupName
  location: location
  tags: tags
}

module demo 'modules/demo.bicep' = if (createDemo) {
  name: 'rollover-demo'
  scope: group
  params: {
    location: location
    tags: tags
    provisioningServiceName: dps
    hubName: hub
    vaultName: vault
  }
}

module identities 'modules/identities.bicep' = {
  name: 'rollover-identities'
  scope: group
  params: {
    location: location
    tags: tags
    token: token
  }
}

module definitions 'modules/definitions.bicep' = {
  name: 'rollover-definitions-${token}'
  params: {
    token: token
    dpsGroupName: dpsGroupName
    hubGroupName: hubGroupName
    vaultGroupName: vaultGroupName
  }
  dependsOn: [group]
}

module monitoring 'modules/monitoring.bicep' = {
  name: 'rollover-monitoring'
  scope: group
  params: {
    location: location
    tags: tags
    token: token
    hostPrincipalId: identities.outputs.hostPrincipalId
  }
}

module host 'modules/host-storage.bicep' = {
  name: 'rollover-host-storage'
  scope: group
  params: {
    location: location
    tags: tags
    token: token
    publicNetworkAccess: publicNetworkAccess
    hostPrincipalId: identities.outputs.hostPrincipalId
  }
}

module ledger 'modules/ledger.bicep' = {
  name: 'rollover-ledger'
  scope: group
  params: {
    location: location
    tags: tags
    token: token
    publicNetworkAccess: publicNetworkAccess
    appPrincipalId: identities.outputs.appPrincipalId
  }
}

module topic 'modules/topic.bicep' = {
  name: 'rollover-topic'
  scope: group
  params: {
    location: location
    tags: tags
    token: token
    publicNetworkAccess: publicNetworkAccess
    appPrincipalId: identities.outputs.appPrincipalId
  }
}

module hubLogs 'modules/hub-logs.bicep' = {
  name: 'rollover-hub-logs'
  scope: group
  params: {
    location: location
    tags: tags
    token: token
    publicNetworkAccess: publicNetworkAccess
    appPrincipalId: identities.outputs.appPrincipalId
  }
}

module provisioning 'modules/provisioning.bicep' = {
  name: 'rollover-provisioning-${token}'
  scope: resourceGroup(dpsGroupName)
  params: {
    name: dps
    roleDefinitionId: definitions.outputs.provisioningRoleId
    appPrincipalId: identities.outputs.appPrincipalId
  }
  dependsOn: [demo]
}

module devices 'modules/hub.bicep' = {
  name: 'rollover-hub-${token}'
  scope: resourceGroup(hubGroupName)
  params: {
    name: hub
    roleDefinitionId: definitions.outputs.hubRoleId
    appPrincipalId: identities.outputs.appPrincipalId
    logsRuleId: hubLogs.outputs.ruleId
    logsName: hubLogs.outputs.name
  }
  dependsOn: [demo]
}

module certificates 'modules/vault.bicep' = {
  name: 'rollover-vault-${token}'
  scope: resourceGroup(vaultGroupName)
  params: {
    name: vault
    topicName: vaultTopicName
    tags: tags
    roleDefinitionId: definitions.outputs.vaultRoleId
    appPrincipalId: identities.outputs.appPrincipalId
  }
  dependsOn: [demo]
}

module authorities 'modules/authorities.bicep' = if (manageAuthorities) {
  name: 'rollover-authorities-${token}'
  scope: resourceGroup(dpsGroupName)
  params: {
    name: dps
    roleDefinitionId: definitions.outputs.authoritiesRoleId
    appPrincipalId: identities.outputs.appPrincipalId
  }
  dependsOn: [demo]
}

module signing 'modules/signing.bicep' = if (manageAuthorities) {
  name: 'rollover-signing-${token}'
  scope: resourceGroup(vaultGroupName)
  params: {
    name: vault
    roleDefinitionId: definitions.outputs.signingRoleId
    appPrincipalId: identities.outputs.appPrincipalId
  }
  dependsOn: [demo]
}

module deadLetters 'modules/dead-letters.bicep' = {
  name: 'rollover-dead-letters'
  scope: group
  params: {
    accountName: ledger.outputs.accountName
    containerName: ledger.outputs.deadLetterContainer
    topicPrincipalId: certificates.outputs.topicPrincipalId
  }
}

module app 'modules/app.bicep' = {
  name: 'rollover-app'
  scope: group
  params: {
    location: location
    tags: tags
    token: token
    hostIdentityId: identities.outputs.hostId
    hostClientId: identities.outputs.hostClientId
    appIdentityId: identities.outputs.appId
    appClientId: identities.outputs.appClientId
    insightsConnection: monitoring.outputs.connection
    hostBlobUri: host.outputs.blobUri
    packagesUri: host.outputs.packagesUri
    queueUri: ledger.outputs.queueUri
    tableUri: ledger.outputs.tableUri
    logsNamespace: hubLogs.outputs.namespace
    logsName: hubLogs.outputs.name
    dpsEndpoint: provisioning.outputs.endpoint
    dpsResourceId: manageAuthorities ? provisioning.outputs.id : ''
    hubHostname: devices.outputs.hostname
    hubName: hub
    hubResourceId: devices.outputs.id
    vaultUrl: certificates.outputs.url
    topicEndpoint: topic.outputs.endpoint
    apiClientId: apiClientId
    settings: settings
    subnetId: subnetId
    maximumInstanceCount: maximumInstanceCount
    readyInstanceCount: readyInstanceCount
  }
}

module authentication 'modules/authentication.bicep' = if (!empty(apiClientId)) {
  name: 'rollover-authentication'
  scope: group
  params: {
    siteName: app.outputs.name
    apiClientId: apiClientId
  }
}

module alerts 'modules/alerts.bicep' = {
  name: 'rollover-alerts'
  scope: group
  params: {
    location: location
    tags: tags
    token: token
    insightsId: monitoring.outputs.insightsId
    vaultTopicId: certificates.outputs.topicId
    topicId: topic.outputs.id
    provisioningServiceId: provisioning.outputs.id
    hubId: devices.outputs.id
    actionGroupId: actionGroupId
  }
}

module workbook 'modules/workbook.bicep' = {
  name: 'rollover-workbook'
  scope: group
  params: {
    location: location
    tags: tags
    insightsId: monitoring.outputs.insightsId
  }
}

output AZURE_LOCATION string = location
output AZURE_TENANT_ID string = tenant().tenantId
output AZURE_RESOURCE_GROUP string = groupName
output AZURE_FUNCTION_APP_NAME string = app.outputs.name
output ROLLOVER_API_URL string = app.outputs.apiUrl
output ROLLOVER_FUNCTION_ID string = '${app.outputs.id}/functions/on_certificate_event'
output ROLLOVER_VAULT_GROUP string = vaultGroupName
output ROLLOVER_VAULT_TOPIC string = certificates.outputs.topicName
output ROLLOVER_DEAD_LETTER_ACCOUNT_ID string = ledger.outputs.accountId
output ROLLOVER_DEAD_LETTER_CONTAINER string = ledger.outputs.deadLetterContainer
output ROLLOVER_LIFECYCLE_TOPIC_ID string = topic.outputs.id

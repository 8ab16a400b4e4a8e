// Where the hub's Connections logs arrive, and the consumer group that on_connection_failure reads them with.
param location string
param tags object
param token string
param publicNetworkAccess string
param appPrincipalId string

var roles = loadJsonContent('../roles.json')

// Local auth stays on: Azure Monitor writes with a namespace rule, it has no other way (MicrosoftDocs/azure-docs#119932).
// Nobody reads the rule's key: the app comes with its identity, the diagnostic setting names the rule by its ID.
resource namespace 'Microsoft.EventHub/namespaces@2026-01-01' = {
  name: 'evhns-rollover-${token}'
  location: location
  tags: tags
  sku: { name: 'Standard', tier: 'Standard', capacity: 1 }
  properties: {
    disableLocalAuth: false
    minimumTlsVersion: '1.2'
    publicNetworkAccess: publicNetworkAccess
    isAutoInflateEnabled: true
    maximumThroughputUnits: 4
  }
}

// Open for "trusted services": Azure Monitor is one, and comes from no address that could be listed.
resource network 'Microsoft.EventHub/namespaces/networkRuleSets@2026-01-01' = {
  parent: namespace
  name: 'default'
  properties: {
    publicNetworkAccess: publicNetworkAccess
    defaultAction: publicNetworkAccess == 'Enabled' ? 'Allow' : 'Deny'
    trustedServiceAccessEnabled: true
  }
}

resource logs 'Microsoft.EventHub/namespaces/eventhubs@2026-01-01' = {
  parent: namespace
  name: 'insights-logs-connections'
  properties: {
    partitionCount: 4
    messageRetentionInDays: 7
  }
}

resource rollover 'Microsoft.EventHub/namespaces/eventhubs/consumergroups@2026-01-01' = {
  parent: logs
  name: 'rollover'
  properties: { userMetadata: 'on_connection_failure' }
}

// Streaming to event hubs requires Manage, Send and Listen (azure-docs essentials/diagnostic-settings).
resource monitor 'Microsoft.EventHub/namespaces/authorizationRules@2026-01-01' = {
  parent: namespace
  name: 'azure-monitor'
  properties: {
    rights: ['Manage', 'Send', 'Listen']
  }
}

resource appOnLogs 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(logs.id, appPrincipalId, roles['Azure Event Hubs Data Receiver'])
  scope: logs
  properties: {
    description: 'on_connection_failure reads the logs.'
    principalId: appPrincipalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', roles['Azure Event Hubs Data Receiver'])
  }
}

output namespace string = '${namespace.name}.servicebus.windows.net'
output name string = logs.name
output ruleId string = monitor.id

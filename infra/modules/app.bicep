// The function app: Flex Consumption, Python, two identities, no keys in its settings.
param location string
param tags object
param token string
param hostIdentityId string
param hostClientId string
param appIdentityId string
param appClientId string
param insightsConnection string
param hostBlobUri string
param packagesUri string
param queueUri string
param tableUri string
param logsNamespace string
param logsName string
param dpsEndpoint string
param dpsResourceId string
param hubHostname string
param hubName string
param hubResourceId string
param vaultUrl string
param topicEndpoint string
param apiClientId string
param settings object
param subnetId string
param maximumInstanceCount int
param readyInstanceCount int

var issuer = '${environment().authentication.loginEndpoint}${tenant().tenantId}/v2.0'

// Names are those that the code, its bindings and the host read; a test compares. None holds a key.
var applicationSettings = union(
  {
    APPLICATIONINSIGHTS_CONNECTION_STRING: insightsConnection
    APPLICATIONINSIGHTS_AUTHENTICATION_STRING: 'ClientId=${hostClientId};Authorization=AAD'
    APPLICATIONINSIGHTS_CONTROLPLANE_DISABLED: 'true'
    APPLICATIONINSIGHTS_SDKSTATS_DISABLED: 'true'
    APPLICATIONINSIGHTS_STATSBEAT_DISABLED_ALL: 'true'
    AzureWebJobsStorage__blobServiceUri: hostBlobUri
    AzureWebJobsStorage__credential: 'managedidentity'
    AzureWebJobsStorage__clientId: hostClientId
    RolloverStorage__queueServiceUri: queueUri
    RolloverStorage__tableServiceUri: tableUri
    RolloverStorage__credential: 'managedidentity'
    RolloverStorage__clientId: appClientId
    HubLogs__fullyQualifiedNamespace: logsNamespace
    HubLogs__credential: 'managedidentity'
    HubLogs__clientId: appClientId
    HUB_LOGS_EVENT_HUB: logsName
    AZURE_CLIENT_ID: appClientId
    DPS_ENDPOINT: dpsEndpoint
    IOT_HUB_HOSTNAME: hubHostname
    IOT_HUB_NAME: hubName
    KEY_VAULT_URL: vaultUrl
    EVENT_TOPIC_ENDPOINT: topicEndpoint
    RETIRE_WHEN: 'expired'
    STRAGGLER_GRACE_DAYS: '7'
    DEVICE_BUDGET_DAYS: '3'
    ROLL_DAYS_BEFORE_EXPIRY: '30'
    WARN_DAYS_BEFORE_EXPIRY: '60'
    ROLL_LIFETIME_SHARE: '0.34'
    REPROVISION_METHOD: 'reprovision'
    CONTAINMENT_SETTLE_SECONDS: '60'
    BREACH_FUSE: '10'
    WAVE_CANARY: '5'
    WAVE_GROWTH: '4'
    WAVE_MOVED_SHARE: '0.95'
    WAVE_ABORT_SHARE: '0.1'
    WAVE_PATIENCE_MINUTES: '60'
    FLEET_COMPLETE_SHARE: '0.98'
    KEY_VAULT_VERIFY_CHALLENGE_RESOURCE: 'true'
    ARM_ENDPOINT: environment().resourceManager
    DPS_RESOURCE_ID: dpsResourceId
    IOT_HUB_RESOURCE_ID: hubResourceId
    HUB_SKU: 'S1x1'
    CA_VERIFIED_ON_UPLOAD: 'false'
    ENTRA_ISSUER: empty(apiClientId) ? '' : issuer
    ENTRA_AUDIENCE: apiClientId
  },
  settings
)

resource plan 'Microsoft.Web/serverfarms@2025-05-01' = {
  // checkov:skip=CKV_AZURE_225: a lost zone costs time and nothing else: the ledger and its queues are zone-redundant
  // checkov:skip=CKV_AZURE_212: scales to zero on purpose; a minimum is the parameter readyInstanceCount
  name: 'plan-rollover-${token}'
  location: location
  tags: tags
  kind: 'functionapp'
  sku: { name: 'FC1', tier: 'FlexConsumption' }
  properties: { reserved: true }
}

resource site 'Microsoft.Web/sites@2025-05-01' = {
  // checkov:skip=CKV_AZURE_222: Event Grid and people call it; who calls is checked twice (security.md)
  // checkov:skip=CKV_AZURE_17: callers prove themselves by Entra token; Event Grid has no client certificate
  // checkov:skip=CKV_AZURE_212: scales to zero on purpose; a minimum is the parameter readyInstanceCount
  // checkov:skip=CKV_AZURE_213: a scaled-to-zero app has no instance to ask; the dead-man alerts watch what it does
  name: 'func-rollover-${token}'
  location: location
  tags: union(tags, { 'azd-service-name': 'app' })
  kind: 'functionapp,linux'
  identity: {
    type: 'UserAssigned'
    userAssignedIdentities: {
      '${hostIdentityId}': {}
      '${appIdentityId}': {}
    }
  }
  properties: {
    serverFarmId: plan.id
    httpsOnly: true
    publicNetworkAccess: 'Enabled'
    virtualNetworkSubnetId: empty(subnetId) ? null : subnetId
    siteConfig: {
      minTlsVersion: '1.2'
      scmMinTlsVersion: '1.2'
      ftpsState: 'Disabled'
      http20Enabled: true
      appSettings: map(items(applicationSettings), setting => { name: setting.key, value: setting.value })
    }
    functionAppConfig: {
      runtime: { name: 'python', version: '3.13' }
      deployment: {
        storage: {
          type: 'blobContainer'
          value: packagesUri
          authentication: {
            type: 'UserAssignedIdentity'
            userAssignedIdentityResourceId: hostIdentityId
          }
        }
      }
      scaleAndConcurrency: {
        maximumInstanceCount: maximumInstanceCount
        instanceMemoryMB: 2048
        alwaysReady: readyInstanceCount > 0 ? [{ name: 'http', instanceCount: readyInstanceCount }] : []
      }
    }
  }
}

// Deployment goes by Entra only: no publishing passwords.
resource scmPasswords 'Microsoft.Web/sites/basicPublishingCredentialsPolicies@2025-05-01' = {
  parent: site
  name: 'scm'
  properties: { allow: false }
}

resource ftpPasswords 'Microsoft.Web/sites/basicPublishingCredentialsPolicies@2025-05-01' = {
  parent: site
  name: 'ftp'
  properties: { allow: false }
}

output id string = site.id
output name string = site.name
output apiUrl string = 'https://${site.properties.defaultHostName}/api'

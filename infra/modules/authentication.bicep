// A second wall before the app's own check of the token (decision 7): who brings no token of the API's gets 401 from the
// platform. Event Grid is let by to the host, where its system key is asked for.
param siteName string
param apiClientId string

resource site 'Microsoft.Web/sites@2025-05-01' existing = {
  name: siteName
}

resource authentication 'Microsoft.Web/sites/config@2025-05-01' = {
  // checkov:skip=CKV_AZURE_13: this is authsettingsV2 and not the web config that the check means
  // checkov:skip=CKV_AZURE_63: this is authsettingsV2 and not the web config that the check means
  // checkov:skip=CKV_AZURE_65: this is authsettingsV2 and not the web config that the check means
  // checkov:skip=CKV_AZURE_66: this is authsettingsV2 and not the web config that the check means
  // checkov:skip=CKV_AZURE_80: this is authsettingsV2 and not the web config that the check means
  // checkov:skip=CKV_AZURE_88: this is authsettingsV2 and not the web config that the check means
  // checkov:skip=CKV_AZURE_222: this is authsettingsV2 and not the web config that the check means
  parent: site
  name: 'authsettingsV2'
  properties: {
    platform: { enabled: true }
    globalValidation: {
      requireAuthentication: true
      unauthenticatedClientAction: 'Return401'
      excludedPaths: ['/runtime/webhooks/eventgrid', '/runtime/webhooks/EventGrid']
    }
    httpSettings: { requireHttps: true }
    identityProviders: {
      azureActiveDirectory: {
        enabled: true
        registration: {
          clientId: apiClientId
          openIdIssuer: '${environment().authentication.loginEndpoint}${tenant().tenantId}/v2.0'
        }
        validation: {
          allowedAudiences: [apiClientId]
        }
      }
    }
    login: {
      tokenStore: { enabled: false }
    }
  }
}

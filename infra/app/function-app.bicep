// The function app: a custom handler on Flex Consumption. Its parameters come from the modules that also gave it its
// rights, so that it is never made before them.
param suffix string
param location string
param tags object

@description('Resource id and client id of the service\'s identity.')
param identityId string
param identityClientId string

@description('Where the host keeps its locks, and the container of the deployed package in there.')
param hostBlobEndpoint string
param packageContainer string

param tablesEndpoint string
param tableName string
param ordersTableName string
param requestsTableName string
param headsEndpoint string
param headsContainer string
param auditRetentionMonths string
param instanceId string
param vaultUrl string
param applicationInsightsName string
param scimTenant string
param publicBaseUrl string
param announceCursors string
param maximumInstanceCount int
param instanceMemoryMB int
param alwaysReadyInstances int

@description('The leaver of drills, where they are set, and the hours between two.')
param hasDrill bool
param drillPrincipalId string
param drillEveryHours string

resource insights 'Microsoft.Insights/components@2020-02-02' existing = {
  name: applicationInsightsName
}

resource plan 'Microsoft.Web/serverfarms@2025-03-01' = {
  name: 'plan-${suffix}'
  location: location
  tags: tags
  kind: 'functionapp'
  sku: {
    name: 'FC1'
    tier: 'FlexConsumption'
  }
  properties: {
    reserved: true
  }
}

resource site 'Microsoft.Web/sites@2025-03-01' = {
  name: 'func-${suffix}'
  location: location
  tags: union(tags, {
    'azd-service-name': 'api'
  })
  kind: 'functionapp,linux'
  identity: {
    type: 'UserAssigned'
    userAssignedIdentities: {
      '${identityId}': {}
    }
  }
  properties: {
    serverFarmId: plan.id
    httpsOnly: true
    clientAffinityEnabled: false
    siteConfig: {
      minTlsVersion: '1.2'
      scmMinTlsVersion: '1.2'
      ftpsState: 'Disabled'
    }
    functionAppConfig: {
      deployment: {
        storage: {
          type: 'blobContainer'
          value: '${hostBlobEndpoint}${packageContainer}'
          authentication: {
            type: 'UserAssignedIdentity'
            userAssignedIdentityResourceId: identityId
          }
        }
      }
      runtime: {
        name: 'custom'
        version: '1.0'
      }
      scaleAndConcurrency: {
        maximumInstanceCount: maximumInstanceCount
        instanceMemoryMB: instanceMemoryMB
        alwaysReady: alwaysReadyInstances > 0 ? [
          {
            name: 'http'
            instanceCount: alwaysReadyInstances
          }
        ] : []
      }
    }
  }
}

// What the service reads of them: src/config.rs. None is a secret.
resource settings 'Microsoft.Web/sites/config@2025-03-01' = {
  parent: site
  name: 'appsettings'
  properties: union({
    AzureWebJobsStorage__blobServiceUri: hostBlobEndpoint
    AzureWebJobsStorage__credential: 'managedidentity'
    AzureWebJobsStorage__clientId: identityClientId
    AzureWebJobsDisableHomepage: 'true'
    APPLICATIONINSIGHTS_CONNECTION_STRING: insights.properties.ConnectionString
    APPLICATIONINSIGHTS_AUTHENTICATION_STRING: 'ClientId=${identityClientId};Authorization=AAD'
    AZURE_CLIENT_ID: identityClientId
    AZURE_CREDENTIAL: 'managed-identity'
    TABLES_ENDPOINT: tablesEndpoint
    TABLES_TABLE: tableName
    ORDERS_TABLE: ordersTableName
    REQUESTS_TABLE: requestsTableName
    AUDIT_HEADS_ENDPOINT: headsEndpoint
    AUDIT_HEADS_CONTAINER: headsContainer
    AUDIT_RETENTION_MONTHS: auditRetentionMonths
    INSTANCE_ID: instanceId
    KEY_VAULT_URL: vaultUrl
    BEARER_TOKEN_SECRET: 'scim-bearer-token'
    SCIM_TENANT: scimTenant
    SCIM_ANNOUNCE_CURSORS: announceCursors
  }, empty(publicBaseUrl) ? {} : {
    PUBLIC_BASE_URL: publicBaseUrl
  }, hasDrill ? {
    DRILL_PRINCIPAL_ID: drillPrincipalId
  } : {}, empty(drillEveryHours) ? {} : {
    DRILL_EVERY_HOURS: drillEveryHours
  })
}

// Deployment goes through Entra ID; user names and passwords of the publishing profile are off.
resource ftpPublishing 'Microsoft.Web/sites/basicPublishingCredentialsPolicies@2025-03-01' = {
  parent: site
  name: 'ftp'
  properties: {
    allow: false
  }
}

resource scmPublishing 'Microsoft.Web/sites/basicPublishingCredentialsPolicies@2025-03-01' = {
  parent: site
  name: 'scm'
  properties: {
    allow: false
  }
}

output name string = site.name
output hostName string = site.properties.defaultHostName

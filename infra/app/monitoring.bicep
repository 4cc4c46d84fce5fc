// Logs and metrics. Neither accepts a key: only an Entra identity that was given the right may send.
param suffix string
param location string
param tags object
param retentionDays int

@description('Days that records of who touched the state are kept.')
param recordRetentionDays int

@description('Gigabytes a day after which the workspace takes no more. Empty: no cap.')
param dailyCapGB string

@description('The principal id of the service\'s identity.')
param servicePrincipalId string

// Monitoring Metrics Publisher: what sending telemetry with an Entra identity needs.
var roleDefinitionId = subscriptionResourceId('Microsoft.Authorization/roleDefinitions', '3913510d-42f4-4e42-8a64-420c390055eb')

resource workspace 'Microsoft.OperationalInsights/workspaces@2025-07-01' = {
  name: 'log-${suffix}'
  location: location
  tags: tags
  properties: {
    sku: {
      name: 'PerGB2018'
    }
    retentionInDays: retentionDays
    workspaceCapping: {
      dailyQuotaGb: int(empty(dailyCapGB) ? '-1' : dailyCapGB)
    }
    features: {
      disableLocalAuth: true
    }
  }
}

// Who wrote and deleted rows, who read and changed secrets, who assigned roles: longer than the logs.
var records = [
  'AZKVAuditLogs'
  'AzureActivity'
  'StorageBlobLogs'
  'StorageTableLogs'
]

@batchSize(1)
resource kept 'Microsoft.OperationalInsights/workspaces/tables@2025-07-01' = [for name in records: {
  parent: workspace
  name: name
  properties: {
    retentionInDays: recordRetentionDays
    totalRetentionInDays: recordRetentionDays
  }
}]

resource insights 'Microsoft.Insights/components@2020-02-02' = {
  name: 'appi-${suffix}'
  location: location
  tags: tags
  kind: 'web'
  properties: {
    Application_Type: 'web'
    WorkspaceResourceId: workspace.id
    IngestionMode: 'LogAnalytics'
    DisableLocalAuth: true
  }
}

resource access 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(insights.id, servicePrincipalId, roleDefinitionId)
  scope: insights
  properties: {
    roleDefinitionId: roleDefinitionId
    principalId: servicePrincipalId
    principalType: 'ServicePrincipal'
  }
}

output applicationInsightsName string = insights.name
output applicationInsightsId string = insights.id
output workspaceId string = workspace.id

// Sends who changed role assignments in a subscription to the workspace of the service. Deployed by delegation.bicep, once
// for each subscription of bindings.json.
targetScope = 'subscription'

param workspaceId string

resource callers 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = {
  name: 'azure-backup-scim-${uniqueString(workspaceId)}'
  properties: {
    workspaceId: workspaceId
    logs: [
      {
        category: 'Administrative'
        enabled: true
      }
    ]
  }
}

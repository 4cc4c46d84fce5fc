// The workbook: what identity providers sent, what came of it in Azure, and what waits.
param suffix string
param location string
param tags object
param workspaceId string

resource workbook 'Microsoft.Insights/workbooks@2023-06-01' = {
  name: guid(workspaceId, suffix)
  location: location
  tags: tags
  kind: 'shared'
  properties: {
    displayName: 'Azure Backup SCIM'
    category: 'workbook'
    sourceId: workspaceId
    serializedData: replace(loadTextContent('../workbook.json'), '__WORKSPACE_ID__', workspaceId)
  }
}

// The service's right at a Backup vault. Deployed by delegation.bicep, once for each such scope.
targetScope = 'resourceGroup'

@description('The vault, in the resource group that this is deployed to.')
param vaultName string

@description('The principal (object) id of the service\'s identity.')
param principalId string

@description('What it may create and delete here: the text of delegation-condition.txt, filled in.')
@maxLength(8192)
param condition string

// Role Based Access Control Administrator: reads everything, creates and deletes role assignments.
var roleDefinitionId = subscriptionResourceId('Microsoft.Authorization/roleDefinitions', 'f58310d9-a9f6-439a-9e8d-f62e7b41a168')

resource vault 'Microsoft.DataProtection/backupVaults@2025-09-01' existing = {
  name: vaultName
}

resource delegation 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(vault.id, principalId, roleDefinitionId)
  scope: vault
  properties: {
    roleDefinitionId: roleDefinitionId
    principalId: principalId
    principalType: 'ServicePrincipal'
    description: 'Azure Backup SCIM hands out backup roles here, within the condition.'
    condition: condition
    conditionVersion: '2.0'
  }
}

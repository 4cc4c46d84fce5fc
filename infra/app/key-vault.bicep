// The bearer tokens of the identity providers, and nothing else. No template puts one there: `token new` does.
param name string
param location string
param tags object

@description('The principal id of the service\'s identity.')
param servicePrincipalId string

@description('Who may put tokens there, or empty.')
param adminPrincipalId string

@allowed([
  'User'
  'Group'
  'ServicePrincipal'
])
param adminPrincipalType string

@description('The Log Analytics workspace that keeps who read and changed secrets.')
param workspaceId string

// Key Vault Secrets User: reads secrets and lists their versions. At the vault, because the secret does not exist yet
// when this is deployed; the vault holds no other.
var secretsUser = subscriptionResourceId('Microsoft.Authorization/roleDefinitions', '4633458b-17de-408a-b874-0445c86b69e6')
// Key Vault Secrets Officer.
var secretsOfficer = subscriptionResourceId('Microsoft.Authorization/roleDefinitions', 'b86a8fe4-44ce-4948-aee5-eccb2c155cd7')

resource vault 'Microsoft.KeyVault/vaults@2025-05-01' = {
  name: name
  location: location
  tags: tags
  properties: {
    tenantId: tenant().tenantId
    sku: {
      family: 'A'
      name: 'standard'
    }
    enableRbacAuthorization: true
    enableSoftDelete: true
    softDeleteRetentionInDays: 90
    enablePurgeProtection: true
    enabledForDeployment: false
    enabledForDiskEncryption: false
    enabledForTemplateDeployment: false
    publicNetworkAccess: 'Enabled'
  }
}

resource access 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(vault.id, servicePrincipalId, secretsUser)
  scope: vault
  properties: {
    roleDefinitionId: secretsUser
    principalId: servicePrincipalId
    principalType: 'ServicePrincipal'
  }
}

resource adminAccess 'Microsoft.Authorization/roleAssignments@2022-04-01' = if (!empty(adminPrincipalId)) {
  name: guid(vault.id, adminPrincipalId, secretsOfficer)
  scope: vault
  properties: {
    roleDefinitionId: secretsOfficer
    principalId: adminPrincipalId
    principalType: adminPrincipalType
  }
}

// Reads, too: who has read a token can call as its identity provider.
resource callers 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = {
  name: 'callers'
  scope: vault
  properties: {
    workspaceId: workspaceId
    logAnalyticsDestinationType: 'Dedicated'
    logs: [
      {
        category: 'AuditEvent'
        enabled: true
      }
    ]
  }
}

output name string = vault.name
output url string = 'https://${vault.name}${environment().suffixes.keyvaultDns}'

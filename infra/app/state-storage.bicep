// The service's state: one table. Apart from the host's storage, so that whoever may deploy code cannot write state.
// There is no shared key: the storage account's own log names every caller.
param name string
param location string
param tags object

@allowed([
  'Standard_LRS'
  'Standard_ZRS'
  'Standard_GRS'
  'Standard_GZRS'
])
param redundancy string

@description('The principal id of the service\'s identity.')
param servicePrincipalId string

@description('Who may read the table, or empty.')
param readerPrincipalId string

@allowed([
  'User'
  'Group'
  'ServicePrincipal'
])
param readerPrincipalType string

// Storage Table Data Contributor.
var contributor = subscriptionResourceId('Microsoft.Authorization/roleDefinitions', '0a9a7e1f-b9d0-4cc4-a60d-0319b160aaa3')
// Storage Table Data Reader.
var reader = subscriptionResourceId('Microsoft.Authorization/roleDefinitions', '76199698-9eea-4c19-bc75-cec21354c6b6')

resource account 'Microsoft.Storage/storageAccounts@2023-05-01' = {
  name: name
  location: location
  tags: tags
  kind: 'StorageV2'
  sku: {
    name: redundancy
  }
  properties: {
    allowBlobPublicAccess: false
    allowCrossTenantReplication: false
    allowSharedKeyAccess: false
    defaultToOAuthAuthentication: true
    minimumTlsVersion: 'TLS1_2'
    publicNetworkAccess: 'Enabled'
    supportsHttpsTrafficOnly: true
  }
}

resource tables 'Microsoft.Storage/storageAccounts/tableServices@2023-05-01' = {
  parent: account
  name: 'default'
}

resource scim 'Microsoft.Storage/storageAccounts/tableServices/tables@2023-05-01' = {
  parent: tables
  name: 'scim'
}

// At the table, not at the account: the service can neither make tables nor touch other ones.
resource access 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(scim.id, servicePrincipalId, contributor)
  scope: scim
  properties: {
    roleDefinitionId: contributor
    principalId: servicePrincipalId
    principalType: 'ServicePrincipal'
  }
}

resource readerAccess 'Microsoft.Authorization/roleAssignments@2022-04-01' = if (!empty(readerPrincipalId)) {
  name: guid(scim.id, readerPrincipalId, reader)
  scope: scim
  properties: {
    roleDefinitionId: reader
    principalId: readerPrincipalId
    principalType: readerPrincipalType
  }
}

output tablesEndpoint string = 'https://${account.name}.table.${environment().suffixes.storage}'
output tableName string = scim.name

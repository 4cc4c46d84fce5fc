// The service's state in one table, the operators' orders in another, and in a third the requests of identity providers that
// left no audit record; and the heads of the sealed audit in a container that keeps them. Apart from the host's storage, so that whoever may
// deploy code cannot write state. There is no shared key: the storage account's own log names every caller.
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

@description('Who may read the state, or empty.')
param readerPrincipalId string

@allowed([
  'User'
  'Group'
  'ServicePrincipal'
])
param readerPrincipalType string

@description('Who may give orders, and read the state for it, or empty.')
param operatorPrincipalId string

@allowed([
  'User'
  'Group'
  'ServicePrincipal'
])
param operatorPrincipalType string

@description('Who may read the request log, and the state for it, or empty.')
param identityAdminPrincipalId string

@allowed([
  'User'
  'Group'
  'ServicePrincipal'
])
param identityAdminPrincipalType string

@description('Whether the container of the audit\'s heads may still lose its policy. Where it is locked, this deployment leaves the policy alone.')
@allowed([
  'unlocked'
  'locked'
])
param headsPolicy string

@description('Days that a head can be neither changed nor deleted.')
param headsDays int

@description('The Log Analytics workspace that keeps who wrote and deleted rows.')
param workspaceId string

// Storage Table Data Contributor.
var contributor = subscriptionResourceId('Microsoft.Authorization/roleDefinitions', '0a9a7e1f-b9d0-4cc4-a60d-0319b160aaa3')
// Storage Table Data Reader.
var reader = subscriptionResourceId('Microsoft.Authorization/roleDefinitions', '76199698-9eea-4c19-bc75-cec21354c6b6')

// Storage Blob Data Contributor.
var blobContributor = subscriptionResourceId('Microsoft.Authorization/roleDefinitions', 'ba92f5b4-2d11-453d-a403-e96b0029c9fe')
// Storage Blob Data Reader.
var blobReader = subscriptionResourceId('Microsoft.Authorization/roleDefinitions', '2a2b9908-6ea1-4ae2-8e65-a410df84e7d1')

var resourceGroupId = resourceGroup().id

// A principal that is several of these reads by one assignment: a second one of the same three is refused.
var isOperatorAuditor = toLower(operatorPrincipalId) == toLower(readerPrincipalId)
var identityAdmin = toLower(identityAdminPrincipalId)
var isIdentityAdminReader = identityAdmin == toLower(readerPrincipalId) || identityAdmin == toLower(operatorPrincipalId)
var readers = union(empty(readerPrincipalId) ? [] : [
  {
    id: readerPrincipalId
    type: readerPrincipalType
  }
], empty(operatorPrincipalId) || isOperatorAuditor ? [] : [
  {
    id: operatorPrincipalId
    type: operatorPrincipalType
  }
], empty(identityAdminPrincipalId) || isIdentityAdminReader ? [] : [
  {
    id: identityAdminPrincipalId
    type: identityAdminPrincipalType
  }
])

resource account 'Microsoft.Storage/storageAccounts@2025-06-01' = {
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

resource tables 'Microsoft.Storage/storageAccounts/tableServices@2025-06-01' = {
  parent: account
  name: 'default'
}

resource scim 'Microsoft.Storage/storageAccounts/tableServices/tables@2025-06-01' = {
  parent: tables
  name: 'scim'
}

resource orders 'Microsoft.Storage/storageAccounts/tableServices/tables@2025-06-01' = {
  parent: tables
  name: 'orders'
}

resource requests 'Microsoft.Storage/storageAccounts/tableServices/tables@2025-06-01' = {
  parent: tables
  name: 'requests'
}

resource blobs 'Microsoft.Storage/storageAccounts/blobServices@2025-06-01' = {
  parent: account
  name: 'default'
}

resource heads 'Microsoft.Storage/storageAccounts/blobServices/containers@2025-06-01' = {
  parent: blobs
  name: 'audit-heads'
  properties: {
    publicAccess: 'None'
  }
}

// Of the container as a whole: a head that is there is never written again. An update of a locked policy would be refused.
resource headsKept 'Microsoft.Storage/storageAccounts/blobServices/containers/immutabilityPolicies@2025-06-01' = if (headsPolicy == 'unlocked') {
  parent: heads
  name: 'default'
  properties: {
    immutabilityPeriodSinceCreationInDays: headsDays
    allowProtectedAppendWrites: false
  }
}

// At the container alone.
resource headsAccess 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(heads.id, servicePrincipalId, blobContributor)
  scope: heads
  properties: {
    roleDefinitionId: blobContributor
    principalId: servicePrincipalId
    principalType: 'ServicePrincipal'
  }
}

resource headsReaderAccess 'Microsoft.Authorization/roleAssignments@2022-04-01' = if (!empty(readerPrincipalId)) {
  name: guid(heads.id, readerPrincipalId, blobReader)
  scope: heads
  properties: {
    roleDefinitionId: blobReader
    principalId: readerPrincipalId
    principalType: readerPrincipalType
  }
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

resource readerAccess 'Microsoft.Authorization/roleAssignments@2022-04-01' = [for one in readers: {
  name: guid(scim.id, one.id, reader)
  scope: scim
  properties: {
    roleDefinitionId: reader
    principalId: one.id
    principalType: one.type
  }
}]

resource requestAccess 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(requests.id, servicePrincipalId, contributor)
  scope: requests
  properties: {
    roleDefinitionId: contributor
    principalId: servicePrincipalId
    principalType: 'ServicePrincipal'
  }
}

resource requestReaderAccess 'Microsoft.Authorization/roleAssignments@2022-04-01' = [for one in readers: {
  name: guid(requests.id, one.id, reader)
  scope: requests
  properties: {
    roleDefinitionId: reader
    principalId: one.id
    principalType: one.type
  }
}]

// No built-in role reads and deletes and cannot write. With Storage Table Data Contributor the service could give orders
// to itself. The name is unique in the directory, so it carries that of the account.
resource orderConsumer 'Microsoft.Authorization/roleDefinitions@2022-04-01' = {
  name: guid(resourceGroupId, 'order-consumer')
  properties: {
    roleName: 'Azure Backup SCIM order consumer (${name})'
    description: 'Reads the orders of operators and deletes those that it has carried out. Cannot write one.'
    type: 'CustomRole'
    assignableScopes: [
      resourceGroupId
    ]
    permissions: [
      {
        actions: []
        notActions: []
        dataActions: [
          'Microsoft.Storage/storageAccounts/tableServices/tables/entities/read'
          'Microsoft.Storage/storageAccounts/tableServices/tables/entities/delete'
        ]
        notDataActions: []
      }
    ]
  }
}

resource orderAccess 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(orders.id, servicePrincipalId, orderConsumer.name)
  scope: orders
  properties: {
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', orderConsumer.name)
    principalId: servicePrincipalId
    principalType: 'ServicePrincipal'
  }
}

resource operatorAccess 'Microsoft.Authorization/roleAssignments@2022-04-01' = if (!empty(operatorPrincipalId)) {
  name: guid(orders.id, operatorPrincipalId, contributor)
  scope: orders
  properties: {
    roleDefinitionId: contributor
    principalId: operatorPrincipalId
    principalType: operatorPrincipalType
  }
}

// Who an order says it is from is a claim. This log has the caller of each write and delete, with the time.
resource callers 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = {
  name: 'callers'
  scope: tables
  properties: {
    workspaceId: workspaceId
    logs: [
      {
        category: 'StorageWrite'
        enabled: true
      }
      {
        category: 'StorageDelete'
        enabled: true
      }
    ]
  }
}

// The same of the heads of the audit.
resource headCallers 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = {
  name: 'callers'
  scope: blobs
  properties: {
    workspaceId: workspaceId
    logs: [
      {
        category: 'StorageWrite'
        enabled: true
      }
      {
        category: 'StorageDelete'
        enabled: true
      }
    ]
  }
}

output tablesEndpoint string = 'https://${account.name}.table.${environment().suffixes.storage}'
output accountName string = account.name
output blobEndpoint string = 'https://${account.name}.blob.${environment().suffixes.storage}'
output headsContainer string = heads.name
output tableName string = scim.name
output ordersTableName string = orders.name
output requestsTableName string = requests.name

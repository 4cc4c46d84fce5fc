// Azure Backup SCIM in one resource group: the function app on Flex Consumption, its identity, one storage account for
// the host and one for the service's state, a Key Vault for the bearer tokens, and Application Insights.
//
// What the service may hand out, and where, is a deployment of its own (delegation.bicep). It has to be: `azd down`
// deletes every resource group in which the deployment of this file made something, and a right at a vault stands in
// the resource group of that vault. Nothing here may ever be deployed outside the resource group below. The resource
// group of drills stays empty, so it may go with it.
targetScope = 'subscription'

@description('Short name of this installation. It names the resource group, and all other names are derived from it.')
@minLength(1)
@maxLength(64)
param environmentName string

@description('Region of every resource. Flex Consumption has to be offered there.')
@minLength(1)
@metadata({
  azd: {
    type: 'location'
  }
})
param location string

@description('The SCIM tenant: the partition that holds this installation\'s rows. Lower case letters, digits and hyphens.')
@minLength(1)
@maxLength(36)
param scimTenant string = 'default'

@description('Origin under which identity providers reach the service, such as https://scim.contoso.example. Empty: the host name of the function app.')
param publicBaseUrl string = ''

@description('Whether ServiceProviderConfig says how lists are paged (RFC 9865). Identity providers of today may refuse a member that they do not know.')
@allowed([
  'true'
  'false'
])
param announceCursors string = 'false'

@description('Redundancy of the storage account that holds the state. It is the only copy.')
@allowed([
  'Standard_LRS'
  'Standard_ZRS'
  'Standard_GRS'
  'Standard_GZRS'
])
param stateRedundancy string = 'Standard_ZRS'

@description('Most instances that the platform may start.')
@minValue(1)
@maxValue(1000)
param maximumInstanceCount int = 40

@description('Memory of an instance, in MB.')
@allowed([
  512
  2048
  4096
])
param instanceMemoryMB int = 2048

@description('Instances that are kept warm for HTTP. 0: the first request after a pause waits for a cold start.')
@minValue(0)
@maxValue(20)
param alwaysReadyInstances int = 0

@description('Days that logs are kept. The audit trail is not in the logs but in the state.')
@minValue(30)
@maxValue(730)
param logRetentionDays int = 30

@description('Days that the records of who touched state, vault and role assignments are kept: 13 months.')
@minValue(30)
@maxValue(730)
param recordRetentionDays int = 396

@description('Gigabytes a day after which the workspace takes no more logs, and no alert fires. Empty: no cap.')
param dailyCapGB string = ''

@description('Where alerts are mailed. Empty: they fire in the portal only.')
param alertEmail string = ''

@description('Names of alerts that are left out, separated by commas (infra/alerts.json).')
param alertsOff string = ''

@description('Other thresholds of alerts, by name.')
param alertThresholds object = {}

@description('Labels of bearer tokens whose silence for six hours is an alert, separated by commas. Empty: none. Entra ID calls every 40 minutes; a provider that only pushes changes may be silent for days.')
param silenceLabels string = ''

@description('Whether a role assignment by another caller at the bound scopes is an alert. It needs the activity log of their subscriptions in the workspace, which delegation.bicep sends there.')
@allowed([
  'true'
  'false'
])
param activityLogAlert string = 'false'

@description('Whether the health check is asked from outside, every five minutes from three places.')
@allowed([
  'true'
  'false'
])
param healthTest string = 'true'

@description('Who may put bearer tokens into the vault: an object id, by default that of whoever deploys. Empty: nobody gets that right here.')
param tokenAdminPrincipalId string = ''

@description('What kind of principal that is.')
@allowed([
  'User'
  'Group'
  'ServicePrincipal'
])
param tokenAdminPrincipalType string = 'User'

@description('Who may read state and audit records with the command line: an object id, best that of a group. Empty: nobody gets that right here.')
param auditReaderPrincipalId string = ''

@description('What kind of principal that is.')
@allowed([
  'User'
  'Group'
  'ServicePrincipal'
])
param auditReaderPrincipalType string = 'Group'

@description('Who may give orders with the command line, and read the state for it: an object id, best that of a group. Empty: nobody gets that right here.')
param operatorPrincipalId string = ''

@description('What kind of principal that is.')
@allowed([
  'User'
  'Group'
  'ServicePrincipal'
])
param operatorPrincipalType string = 'Group'

@description('Who may read the request log with the command line, and the state for it: an object id, best that of the group of those who administer the identity provider. Empty: nobody gets that right here.')
param identityAdminPrincipalId string = ''

@description('What kind of principal that is.')
@allowed([
  'User'
  'Group'
  'ServicePrincipal'
])
param identityAdminPrincipalType string = 'Group'

@description('Months that audit records are kept. Their heads stay.')
param auditRetentionMonths string = '13'

@description('The id of this installation, as doctor prints it: a service that finds its table empty then knows that the state was lost. Empty at the first deployment.')
param instanceId string = ''

@description('Whether the policy that keeps the heads of the audit can still be taken away. A lock is final: infra/lock-heads.sh makes it after the deployment.')
@allowed([
  'unlocked'
  'locked'
])
param auditHeadsPolicy string = 'unlocked'

@description('Days that a head of the audit can be neither changed nor deleted.')
@minValue(1)
@maxValue(146000)
param auditHeadsDays int = 400

@description('Whether drills are set: a managed identity without a right, an empty resource group, and the settings of the service.')
@allowed([
  'true'
  'false'
])
param drill string = 'false'

@description('Hours between two drills. Empty: they are only ordered.')
param drillEveryHours string = ''

var suffix = toLower(uniqueString(subscription().id, environmentName, location))
var tags = {
  'azd-env-name': environmentName
}

resource group 'Microsoft.Resources/resourceGroups@2025-04-01' = {
  name: 'rg-${environmentName}'
  location: location
  tags: tags
}

module identity 'app/identity.bicep' = {
  name: 'identity'
  scope: group
  params: {
    name: 'id-${suffix}'
    location: location
    tags: tags
  }
}

// The leaver of drills. It is never given anything but by the service, and nothing is ever in its resource group.
module drillLeaver 'app/identity.bicep' = if (drill == 'true') {
  name: 'drill-leaver'
  scope: group
  params: {
    name: 'id-drill-${suffix}'
    location: location
    tags: tags
  }
}

resource drillGroup 'Microsoft.Resources/resourceGroups@2025-04-01' = if (drill == 'true') {
  name: 'rg-${environmentName}-drill'
  location: location
  tags: tags
}

module hostStorage 'app/host-storage.bicep' = {
  name: 'host-storage'
  scope: group
  params: {
    name: 'sthost${suffix}'
    location: location
    tags: tags
    servicePrincipalId: identity.outputs.principalId
  }
}

module stateStorage 'app/state-storage.bicep' = {
  name: 'state-storage'
  scope: group
  params: {
    name: 'ststate${suffix}'
    location: location
    tags: tags
    redundancy: stateRedundancy
    servicePrincipalId: identity.outputs.principalId
    readerPrincipalId: auditReaderPrincipalId
    readerPrincipalType: auditReaderPrincipalType
    operatorPrincipalId: operatorPrincipalId
    operatorPrincipalType: operatorPrincipalType
    identityAdminPrincipalId: identityAdminPrincipalId
    identityAdminPrincipalType: identityAdminPrincipalType
    workspaceId: monitoring.outputs.workspaceId
    headsPolicy: auditHeadsPolicy
    headsDays: auditHeadsDays
  }
}

module keyVault 'app/key-vault.bicep' = {
  name: 'key-vault'
  scope: group
  params: {
    name: 'kv-${suffix}'
    location: location
    tags: tags
    servicePrincipalId: identity.outputs.principalId
    adminPrincipalId: tokenAdminPrincipalId
    adminPrincipalType: tokenAdminPrincipalType
    workspaceId: monitoring.outputs.workspaceId
  }
}

module monitoring 'app/monitoring.bicep' = {
  name: 'monitoring'
  scope: group
  params: {
    suffix: suffix
    location: location
    tags: tags
    retentionDays: logRetentionDays
    recordRetentionDays: recordRetentionDays
    dailyCapGB: dailyCapGB
    servicePrincipalId: identity.outputs.principalId
  }
}

module functionApp 'app/function-app.bicep' = {
  name: 'function-app'
  scope: group
  params: {
    suffix: suffix
    location: location
    tags: tags
    identityId: identity.outputs.id
    identityClientId: identity.outputs.clientId
    hostBlobEndpoint: hostStorage.outputs.blobEndpoint
    packageContainer: hostStorage.outputs.packageContainer
    tablesEndpoint: stateStorage.outputs.tablesEndpoint
    tableName: stateStorage.outputs.tableName
    ordersTableName: stateStorage.outputs.ordersTableName
    requestsTableName: stateStorage.outputs.requestsTableName
    headsEndpoint: stateStorage.outputs.blobEndpoint
    headsContainer: stateStorage.outputs.headsContainer
    auditRetentionMonths: auditRetentionMonths
    instanceId: instanceId
    vaultUrl: keyVault.outputs.url
    applicationInsightsName: monitoring.outputs.applicationInsightsName
    scimTenant: scimTenant
    publicBaseUrl: publicBaseUrl
    announceCursors: announceCursors
    maximumInstanceCount: maximumInstanceCount
    instanceMemoryMB: instanceMemoryMB
    alwaysReadyInstances: alwaysReadyInstances
    drillPrincipalId: drill == 'true' ? drillLeaver!.outputs.principalId : ''
    drillEveryHours: drill == 'true' ? drillEveryHours : ''
    hasDrill: drill == 'true'
  }
}

var origin = empty(publicBaseUrl) ? 'https://${functionApp.outputs.hostName}' : publicBaseUrl

module alerts 'app/alerts.bicep' = {
  name: 'alerts'
  scope: group
  params: {
    suffix: suffix
    location: location
    tags: tags
    workspaceId: monitoring.outputs.workspaceId
    insightsId: monitoring.outputs.applicationInsightsId
    email: alertEmail
    off: alertsOff
    thresholds: alertThresholds
    silenceLabels: silenceLabels
    activityLogAlert: activityLogAlert == 'true'
    hasDailyCap: !empty(dailyCapGB)
    healthTest: healthTest == 'true'
    healthUrl: '${origin}/healthz'
    servicePrincipalId: identity.outputs.principalId
    serviceClientId: identity.outputs.clientId
  }
}

module workbook 'app/workbook.bicep' = {
  name: 'workbook'
  scope: group
  params: {
    suffix: suffix
    location: location
    tags: tags
    workspaceId: monitoring.outputs.workspaceId
  }
}

output AZURE_LOCATION string = location
output AZURE_RESOURCE_GROUP string = group.name
@description('What goes into the field "Tenant URL" of the identity provider.')
output SCIM_BASE_URL string = '${origin}/scim/v2'
output FUNCTION_APP_NAME string = functionApp.outputs.name
output KEY_VAULT_NAME string = keyVault.outputs.name
@description('For the commands on the machine of an auditor or an operator.')
output TABLES_ENDPOINT string = stateStorage.outputs.tablesEndpoint
@description('For `audit verify`, and for lock-heads.sh.')
output AUDIT_HEADS_ENDPOINT string = stateStorage.outputs.blobEndpoint
output AUDIT_HEADS_CONTAINER string = stateStorage.outputs.headsContainer
output AUDIT_HEADS_ACCOUNT string = stateStorage.outputs.accountName
output AUDIT_HEADS_DAYS int = auditHeadsDays
output SERVICE_CLIENT_ID string = identity.outputs.clientId
@description('For delegation.bicep, where the activity log is watched.')
output WORKSPACE_ID string = monitoring.outputs.workspaceId
@description('The leaver of drills, for `drill --scim`. Empty: there are no drills.')
output DRILL_PRINCIPAL_ID string = drill == 'true' ? drillLeaver!.outputs.principalId : ''
@description('For delegation.bicep.')
output SERVICE_PRINCIPAL_ID string = identity.outputs.principalId

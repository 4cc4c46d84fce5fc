// The service's own right to hand out backup roles, at the scopes of bindings.json and nowhere else.
//
// At each of them the identity gets Role Based Access Control Administrator with a condition: it may create assignments
// of the roles that are bound at exactly that scope, and delete assignments of the backup roles. A scope that is only
// retired gets the delete half alone.
//
// A deployment of its own, run by delegate.sh after main.bicep: see there why. Where another team hands out such rights,
// they run it: az deployment sub create --template-file infra/delegation.bicep (docs/deploy.md).
//
// Bicep removes nothing: the right at a scope that left the file stays until somebody takes it away.
targetScope = 'subscription'

@description('The principal (object) id of the service\'s user-assigned identity.')
@minLength(36)
@maxLength(36)
param principalId string

@description('The workspace of the service, where it watches who changes role assignments. Empty: it does not.')
param workspaceId string = ''

@description('The empty resource group of drills, where they are set. It is bound by the package alone (package.sh). Empty: there are no drills.')
param drillScope string = ''

// any(): the optional keys of the file may be absent.
var file = any(loadJsonContent('../bindings.json'))
var closed = loadJsonContent('backup-roles.json')
var template = trim(replace(replace(loadTextContent('delegation-condition.txt'), '\r', ''), '\n', ' '))

// No role has this id. A write clause that lists nothing else allows nothing.
var noRole = '00000000-0000-0000-0000-000000000000'
// No subscription has this id. The bindings.json of a fresh checkout names it, and nothing is delegated there.
var noSubscription = '/subscriptions/00000000-0000-0000-0000-000000000000'

// A scope is compared as the service compares it: without case, one trailing slash dropped.
var inFile = map(file.bindings, binding => {
  scope: toLower(substring(binding.scope, 0, length(binding.scope) - (endsWith(binding.scope, '/') ? 1 : 0)))
  role: binding.role
})
var bound = union(inFile, empty(drillScope) ? [] : [
  {
    scope: toLower(drillScope)
    role: 'Backup Reader'
  }
])
var retired = map(file.?retired ?? [], scope => toLower(substring(scope, 0, length(scope) - (endsWith(scope, '/') ? 1 : 0))))
var scopes = filter(union(map(bound, binding => binding.scope), retired), scope => !startsWith(scope, noSubscription))

// items() orders by name, so that the text does not change with the order of the bindings.
var wanted = map(scopes, scope => {
  scope: scope
  segments: split(scope, '/')
  roles: map(
    filter(items(closed.roles), role => contains(map(filter(bound, binding => binding.scope == scope), binding => binding.role), role.key)),
    role => role.value
  )
})

var writeTypes = join(map(closed.principalTypes.write, kind => '\'${kind}\''), ', ')
var deleteTypes = join(map(closed.principalTypes.delete, kind => '\'${kind}\''), ', ')
var deleteRoles = join(map(items(closed.roles), role => role.value), ', ')
var common = replace(replace(replace(template, '__WRITE_PRINCIPAL_TYPES__', writeTypes), '__DELETE_PRINCIPAL_TYPES__', deleteTypes), '__DELETE_ROLES__', deleteRoles)
var delegations = map(wanted, at => {
  scope: at.scope
  segments: at.segments
  condition: replace(common, '__WRITE_ROLES__', empty(at.roles) ? noRole : join(at.roles, ', '))
})

// By kind of scope: /subscriptions/{id}, …/resourceGroups/{name}, …/providers/{namespace}/{type}/{name}.
var atSubscriptions = filter(delegations, at => length(at.segments) == 3)
var atResourceGroups = filter(delegations, at => length(at.segments) == 5)
var atResources = filter(delegations, at => length(at.segments) == 9)
var atRecoveryVaults = filter(atResources, at => at.segments[7] == 'vaults')
var atBackupVaults = filter(atResources, at => at.segments[7] == 'backupvaults')

module subscriptionDelegations 'app/delegation-subscription.bicep' = [for at in atSubscriptions: {
  name: 'delegation-${uniqueString(principalId, at.scope)}'
  scope: subscription(at.segments[2])
  params: {
    principalId: principalId
    condition: at.condition
  }
}]

module resourceGroupDelegations 'app/delegation-resource-group.bicep' = [for at in atResourceGroups: {
  name: 'delegation-${uniqueString(principalId, at.scope)}'
  scope: resourceGroup(at.segments[2], at.segments[4])
  params: {
    principalId: principalId
    condition: at.condition
  }
}]

module recoveryVaultDelegations 'app/delegation-recovery-vault.bicep' = [for at in atRecoveryVaults: {
  name: 'delegation-${uniqueString(principalId, at.scope)}'
  scope: resourceGroup(at.segments[2], at.segments[4])
  params: {
    vaultName: at.segments[8]
    principalId: principalId
    condition: at.condition
  }
}]

module backupVaultDelegations 'app/delegation-backup-vault.bicep' = [for at in atBackupVaults: {
  name: 'delegation-${uniqueString(principalId, at.scope)}'
  scope: resourceGroup(at.segments[2], at.segments[4])
  params: {
    vaultName: at.segments[8]
    principalId: principalId
    condition: at.condition
  }
}]

// One setting for each subscription, however many scopes are in it.
var watchedSubscriptions = empty(workspaceId) ? [] : union(map(wanted, at => at.segments[2]), [])

module activityLogs 'app/activity-log.bicep' = [for id in watchedSubscriptions: {
  name: 'activity-log-${uniqueString(workspaceId, id)}'
  scope: subscription(id)
  params: {
    workspaceId: workspaceId
  }
}]

@description('Where the service may create and delete assignments, and under which condition.')
output delegations array = map(delegations, at => {
  scope: at.scope
  condition: at.condition
})

// The rules of alert-rules.json, which is made of alerts.json, and where they send mail. Every query gives the rows that
// make its rule fire, so each rule fires from one row on.
param suffix string
param location string
param tags object
param workspaceId string

@description('Resource id of Application Insights, which the test from outside belongs to.')
param insightsId string

@description('Where mail goes. Empty: rules fire in the portal only.')
param email string

@description('Names of rules that are left out, separated by commas.')
param off string

@description('Other thresholds, by the name of the rule.')
param thresholds object

@description('Labels of bearer tokens that have to call, separated by commas. Empty: silence is no alert.')
param silenceLabels string

@description('Whether the bound subscriptions send their activity log here (delegation.bicep).')
param activityLogAlert bool

@description('Whether the workspace has a daily cap.')
param hasDailyCap bool

@description('Whether the health check is asked from outside, every five minutes.')
param healthTest bool
param healthUrl string

@description('The service\'s own identity: what it assigns is expected.')
param servicePrincipalId string
param serviceClientId string

var rules = loadJsonContent('../alert-rules.json').rules
// any(): the optional keys of the file may be absent.
var file = any(loadJsonContent('../../bindings.json'))

var without = map(split(off, ','), name => trim(name))
// Drills from outside call when they are played, and are no identity provider.
var labels = filter(map(split(silenceLabels, ','), label => trim(label)), label => !empty(label) && label != 'drill')
var turnedOn = union(['always'], empty(labels) ? [] : ['silenceLabels'], activityLogAlert ? ['activityLogAlert'] : [], hasDailyCap ? ['dailyCapGB'] : [], healthTest ? ['healthTest'] : [])
var wanted = filter(rules, rule => contains(turnedOn, rule.on) && !contains(without, rule.name))
var tested = filter(wanted, rule => rule.kind == 'web')

// The text of a query is limited. With more scopes than that, a change anywhere in their subscriptions counts.
var scopesMax = 30
var named = union(map(file.bindings, binding => binding.scope), file.?retired ?? [])
var scopes = union(map(named, scope => toLower(substring(scope, 0, length(scope) - (endsWith(scope, '/') ? 1 : 0)))), [])
var subscriptions = union(map(scopes, scope => join(take(split(scope, '/'), 3), '/')), [])
var watched = length(scopes) > scopesMax ? subscriptions : scopes
var ours = union([servicePrincipalId], [serviceClientId])

var queried = map(filter(wanted, rule => rule.kind != 'web'), rule => union(rule, {
  filled: replace(replace(replace(rule.query, '__THRESHOLD__', string(thresholds[?rule.name] ?? rule.threshold)), '__LABELS__', string(labels)), '__SCOPES__', string(watched))
}))

resource mail 'Microsoft.Insights/actionGroups@2023-01-01' = if (!empty(email)) {
  name: 'ag-${suffix}'
  location: 'global'
  tags: tags
  properties: {
    enabled: true
    groupShortName: 'backup-scim'
    emailReceivers: [
      {
        name: 'operators'
        emailAddress: email
        useCommonAlertSchema: true
      }
    ]
  }
}

var mailId = resourceId('Microsoft.Insights/actionGroups', 'ag-${suffix}')

resource queries 'Microsoft.Insights/scheduledQueryRules@2023-12-01' = [for rule in queried: {
  name: '${rule.name}-${suffix}'
  location: location
  tags: tags
  kind: 'LogAlert'
  dependsOn: [
    mail
  ]
  properties: {
    displayName: 'Azure Backup SCIM: ${rule.name}'
    description: rule.description
    severity: rule.severity
    enabled: true
    scopes: [
      workspaceId
    ]
    evaluationFrequency: rule.every
    windowSize: rule.window
    autoMitigate: rule.autoMitigate
    // A rule without a state fires at every evaluation in whose window the line is.
    muteActionsDuration: rule.autoMitigate ? null : rule.window
    // A new workspace has no table yet in which nothing was written.
    skipQueryValidation: true
    criteria: {
      allOf: [
        {
          query: rule.kind == 'activity' ? replace(rule.filled, '__OURS__', string(ours)) : rule.filled
          timeAggregation: 'Count'
          operator: 'GreaterThan'
          threshold: 0
          dimensions: map(rule.dimensions, name => {
            name: name
            operator: 'Include'
            values: [
              '*'
            ]
          })
          failingPeriods: {
            numberOfEvaluationPeriods: 1
            minFailingPeriodsToAlert: 1
          }
        }
      ]
    }
    actions: {
      actionGroups: empty(email) ? [] : [
        mailId
      ]
    }
  }
}]

var webTests = '${resourceGroup().id}/providers/Microsoft.Insights/webtests'
// Asked from three places: one that fails alone is the network's trouble.
var places = [
  'emea-nl-ams-azr'
  'us-va-ash-azr'
  'apac-sg-sin-azr'
]

resource health 'Microsoft.Insights/webtests@2022-06-15' = [for rule in tested: {
  name: '${rule.name}-${suffix}'
  location: location
  tags: union(tags, {
    'hidden-link:${insightsId}': 'Resource'
  })
  kind: 'standard'
  properties: {
    SyntheticMonitorId: '${rule.name}-${suffix}'
    Name: 'Azure Backup SCIM: ${rule.name}'
    Enabled: true
    Frequency: 300
    Timeout: 30
    Kind: 'standard'
    RetryEnabled: true
    Locations: map(places, place => {
      Id: place
    })
    Request: {
      RequestUrl: healthUrl
      HttpVerb: 'GET'
      ParseDependentRequests: false
    }
    ValidationRules: {
      ExpectedHttpStatusCode: 200
      ContentValidation: {
        ContentMatch: rule.expects
        IgnoreCase: false
        PassIfTextFound: true
      }
    }
  }
}]

resource unhealthy 'Microsoft.Insights/metricAlerts@2018-03-01' = [for rule in tested: {
  name: '${rule.name}-${suffix}'
  location: 'global'
  tags: tags
  dependsOn: [
    mail
    health
  ]
  properties: {
    description: rule.description
    severity: rule.severity
    enabled: true
    scopes: [
      '${webTests}/${rule.name}-${suffix}'
      insightsId
    ]
    evaluationFrequency: rule.every
    windowSize: rule.window
    autoMitigate: true
    criteria: {
      'odata.type': 'Microsoft.Azure.Monitor.WebtestLocationAvailabilityCriteria'
      webTestId: '${webTests}/${rule.name}-${suffix}'
      componentId: insightsId
      failedLocationCount: thresholds[?rule.name] ?? rule.threshold
    }
    actions: empty(email) ? [] : [
      {
        actionGroupId: mailId
      }
    ]
  }
}]

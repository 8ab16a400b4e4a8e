// What somebody must learn of. The queries read what shared/telemetry.py declares; tests hold them to it.
param location string
param tags object
param token string
param insightsId string
param vaultTopicId string
param topicId string
param provisioningServiceId string
param hubId string
param actionGroupId string

var actionGroups = empty(actionGroupId) ? [] : [actionGroupId]
var told = [for id in actionGroups: { actionGroupId: id }]

var runbook = 'What to do: docs/runbook.md#'

// A dead-man query counts records: there is one for each minute in which something was measured, else none.
// Severity 0 wakes somebody up. `window` is how far a query looks back, `every` how often it is asked.
var rules = [
  {
    name: 'no-sweep'
    severity: 1
    every: 'PT15M'
    window: 'PT3H'
    description: 'Dead man: the hourly sweep did not come to its end for three hours, whether or not it began. Nothing would notice an expiring certificate.'
    section: 'the-sweep-does-not-run'
    query: 'customMetrics | where name == "rollover.timer.completed" and customDimensions.timer == "sweep_certificates" | summarize runs = count() | where runs == 0'
  }
  {
    name: 'no-clock'
    severity: 1
    every: 'PT5M'
    window: 'PT15M'
    description: 'Dead man: the timer that moves waiting rollovers on, every minute, did not come to its end for a quarter of an hour.'
    section: 'the-sweep-does-not-run'
    query: 'customMetrics | where name == "rollover.timer.completed" and customDimensions.timer == "resume_rollovers" | summarize runs = count() | where runs == 0'
  }
  {
    name: 'no-watch'
    severity: 2
    every: 'PT15M'
    window: 'PT1H'
    description: 'Dead man: the timer that tells of what waits too long or is not as it was left, every five minutes, did not come to its end for an hour.'
    section: 'the-sweep-does-not-run'
    query: 'customMetrics | where name == "rollover.timer.completed" and customDimensions.timer == "watch_rollovers" | summarize runs = count() | where runs == 0'
  }
  {
    name: 'no-baseline'
    severity: 2
    every: 'PT1H'
    window: 'PT3H'
    description: 'What the hub pins to each device could not be read for an hour. Nothing else stops; a breach of a CA of a group could spare fewer devices, or none.'
    section: 'the-sweep-does-not-run'
    query: 'traces | where customDimensions.event == "pins_failed" | summarize turns = count() | where turns >= 12'
  }
  {
    name: 'not-contained'
    severity: 0
    every: 'PT5M'
    window: 'P1D'
    description: 'A breach was begun more than 15 minutes ago and is not contained. Of a group it takes as long as the quota of the hub makes it; in mode reprovision until the device is back.'
    section: 'a-breach-is-not-contained'
    query: 'let done = traces | where customDimensions.event == "decided" and customDimensions.step == "verify_containment" and customDimensions.verdict == "AlreadyDone" | extend id = tostring(customDimensions.rollover_id) | distinct id; traces | where customDimensions.event == "rollover_started" and tostring(customDimensions.plan) in ("breach", "breach_reprovision", "group_breach") and timestamp < ago(15m) | extend id = tostring(customDimensions.rollover_id) | where id !in (done) | project timestamp, id, device = tostring(customDimensions.registration_id), group = tostring(customDimensions.group_id)'
  }
  {
    name: 'breached-tried'
    severity: 1
    every: 'PT5M'
    window: 'PT5M'
    description: 'The hub refused a contained device: a certificate that was reported compromised may have been tried again, or the device itself has not found its way back.'
    section: 'a-contained-certificate-is-tried-again'
    query: 'traces | where customDimensions.event == "breached_certificate_tried"'
  }
  {
    name: 'breach-nominated'
    severity: 1
    every: 'PT5M'
    window: 'PT5M'
    description: 'A hub identity accepts a certificate that nobody knows of. Nothing was done: look, and call a breach if it is one.'
    section: 'the-hub-accepts-a-certificate-that-nobody-knows'
    query: 'traces | where customDimensions.event == "breach_nominated"'
  }
  {
    name: 'glass-broken'
    severity: 0
    every: 'PT5M'
    window: 'PT5M'
    description: 'Somebody confirmed a breach of more devices than the fuse allows, alone.'
    section: 'a-breach-waits-for-a-second-person'
    query: 'traces | where customDimensions.event == "glass_broken"'
  }
  {
    name: 'needs-person'
    severity: 1
    every: 'PT5M'
    window: 'PT5M'
    description: 'A rollover cannot go on without a person. GET /api/rollovers?status=needs_person says what to do.'
    section: 'a-rollover-is-stuck'
    query: 'traces | where customDimensions.event == "decided" and customDimensions.verdict == "NeedsPerson"'
  }
  {
    name: 'waiting-too-long'
    severity: 1
    every: 'PT5M'
    window: 'PT5M'
    description: 'A rollover waits at one step for longer than its budget, or undoes and is undone. The line says for what and what to do; so does GET /api/rollovers?overdue=true.'
    section: 'a-rollover-is-stuck'
    query: 'traces | where customDimensions.event == "waiting_too_long"'
  }
  {
    name: 'compromised-back'
    severity: 0
    every: 'PT5M'
    window: 'PT5M'
    description: 'What was contained is accepted again: a compromised certificate is back at DPS or hub, or a device that is kept out is let in. Nothing was done: call the breach again.'
    section: 'a-breach-is-not-contained'
    query: 'traces | where customDimensions.event == "drifted" and tostring(customDimensions.finding) in ("compromised_back", "let_in_again")'
  }
  {
    name: 'drifted'
    severity: 2
    every: 'PT15M'
    window: 'PT15M'
    description: 'DPS or hub do not hold what a rollover left there: somebody changed it. Nothing was done.'
    section: 'the-hub-accepts-a-certificate-that-nobody-knows'
    query: 'traces | where customDimensions.event == "drifted" and tostring(customDimensions.finding) in ("never_issued", "apart", "slots", "status", "gone")'
  }
  {
    name: 'poisoned'
    severity: 1
    every: 'PT5M'
    window: 'PT5M'
    description: 'A step failed five times without a verdict.'
    section: 'a-message-was-poisoned'
    query: 'traces | where customDimensions.event == "poisoned"'
  }
  {
    name: 'cannot-begin'
    severity: 2
    every: 'PT1H'
    window: 'PT1H'
    description: 'A certificate that is due belongs to no enrollment, cannot be read, or its rollover was refused. It will expire.'
    section: 'a-certificate-cannot-begin'
    query: 'traces | where tostring(customDimensions.event) in ("cannot_begin", "target_failed", "source_unread", "row_unreadable") or (customDimensions.event == "decided" and customDimensions.verdict == "Refuse")'
  }
  {
    name: 'uncovered'
    severity: 2
    every: 'PT1H'
    window: 'PT3H'
    description: 'Certificates near their end that nothing would roll. GET /api/certificates?uncovered=true says which, and what is missing.'
    section: 'a-certificate-cannot-begin'
    query: 'customMetrics | where name == "rollover.horizon.uncovered" | summarize arg_max(timestamp, valueMax) | where valueMax > 0'
  }
  {
    name: 'storage-down'
    severity: 1
    every: 'PT5M'
    window: 'PT15M'
    description: 'The ledger or its queues do not answer, or lifecycle events cannot be published.'
    section: 'the-ledger-or-a-topic-does-not-answer'
    query: 'traces | where tostring(customDimensions.event) in ("storage_down", "announce_failed")'
  }
]

resource logAlerts 'Microsoft.Insights/scheduledQueryRules@2022-08-01-preview' = [
  for rule in rules: {
    name: 'rollover-${rule.name}-${token}'
    location: location
    tags: tags
    kind: 'LogAlert'
    properties: {
      displayName: 'Rollover: ${rule.name}'
      description: '${rule.description} ${runbook}${rule.section}'
      severity: rule.severity
      enabled: true
      scopes: [insightsId]
      evaluationFrequency: rule.every
      windowSize: rule.window
      autoMitigate: true
      // Before the first log line there is no table to check the query against.
      skipQueryValidation: true
      criteria: {
        allOf: [
          {
            query: rule.query
            timeAggregation: 'Count'
            operator: 'GreaterThan'
            threshold: 0
            failingPeriods: { numberOfEvaluationPeriods: 1, minFailingPeriodsToAlert: 1 }
          }
        ]
      }
      actions: { actionGroups: actionGroups }
    }
  }
]

resource undelivered 'Microsoft.Insights/metricAlerts@2018-03-01' = {
  name: 'rollover-undelivered-${token}'
  location: 'global'
  tags: tags
  properties: {
    description: 'Vault events could not be delivered for a day and lie in the container dead-letters. The sweep finds what they were about. ${runbook}the-ledger-or-a-topic-does-not-answer'
    severity: 2
    enabled: true
    scopes: [vaultTopicId]
    evaluationFrequency: 'PT15M'
    windowSize: 'PT1H'
    autoMitigate: true
    criteria: {
      'odata.type': 'Microsoft.Azure.Monitor.SingleResourceMultipleMetricCriteria'
      allOf: [
        {
          criterionType: 'StaticThresholdCriterion'
          name: 'dead-lettered'
          metricName: 'DeadLetteredCount'
          timeAggregation: 'Total'
          operator: 'GreaterThan'
          threshold: 0
        }
      ]
    }
    actions: told
  }
}

resource unpublished 'Microsoft.Insights/metricAlerts@2018-03-01' = {
  name: 'rollover-unpublished-${token}'
  location: 'global'
  tags: tags
  properties: {
    description: 'Subscribers of the lifecycle topic lose events: tickets or pages are missing. ${runbook}the-ledger-or-a-topic-does-not-answer'
    severity: 2
    enabled: true
    scopes: [topicId]
    evaluationFrequency: 'PT15M'
    windowSize: 'PT1H'
    autoMitigate: true
    criteria: {
      'odata.type': 'Microsoft.Azure.Monitor.SingleResourceMultipleMetricCriteria'
      allOf: [
        {
          criterionType: 'StaticThresholdCriterion'
          name: 'dropped'
          metricName: 'DroppedEventCount'
          timeAggregation: 'Total'
          operator: 'GreaterThan'
          threshold: 0
        }
      ]
    }
    actions: told
  }
}

// Keys of shared access policies pass every role by. Nobody needs them any more, so whoever reads or sets one is news.
resource keysRead 'Microsoft.Insights/activityLogAlerts@2020-10-01' = {
  name: 'rollover-keys-read-${token}'
  location: 'global'
  tags: tags
  properties: {
    description: 'Somebody read, or could have set, the keys of DPS or hub. ${runbook}somebody-read-the-keys'
    enabled: true
    scopes: [provisioningServiceId, hubId]
    condition: {
      allOf: [
        { field: 'category', equals: 'Administrative' }
        {
          anyOf: [
            { field: 'operationName', equals: 'Microsoft.Devices/provisioningServices/listkeys/action' }
            { field: 'operationName', equals: 'Microsoft.Devices/provisioningServices/keys/listkeys/action' }
            { field: 'operationName', equals: 'Microsoft.Devices/provisioningServices/write' }
            { field: 'operationName', equals: 'Microsoft.Devices/iotHubs/listkeys/action' }
            { field: 'operationName', equals: 'Microsoft.Devices/iotHubs/iotHubKeys/listkeys/action' }
            { field: 'operationName', equals: 'Microsoft.Devices/iotHubs/write' }
          ]
        }
      ]
    }
    actions: { actionGroups: told }
  }
}

/** How limits stand to each other, so that none makes another untrue. */

import type { LIMITS } from './limits.ts'

/** Throws when one contradicts another. */
export function assertRelations(limits: typeof LIMITS): void {
  for (const [holds, name] of relationsOf(limits)) {
    if (!holds) throw new Error(`Limit ${name} contradicts another limit.`)
  }
}

function relationsOf(limits: typeof LIMITS): readonly (readonly [boolean, string])[] {
  return [
    [limits.memoryPagesDefault <= limits.memoryPagesMax, 'memoryPagesDefault'],
    [limits.executionMsDefault <= limits.executionMsMax, 'executionMsDefault'],
    [limits.poolInstancesMin <= limits.poolInstancesMax, 'poolInstancesMin'],
    [2 * limits.functionsMax <= limits.armsMax, 'armsMax'],
    [limits.poolInstancesMax < limits.processInstancesMax, 'poolInstancesMax'],
    [limits.processInstancesMax < 10_500, 'processInstancesMax'],
    [
      limits.processInstancesMax * limits.mappingsPerInstance < limits.processMappingsMax,
      'processMappingsMax',
    ],
    [limits.queueFunctionRequestsMax < limits.queueRequestsMax, 'queueFunctionRequestsMax'],
    [limits.inlineMeanMsMax < limits.inlineSlowMs, 'inlineSlowMs'],
    [limits.inlineSlowMs < limits.inlineMsMax, 'inlineMsMax'],
    [limits.inlineMsMax < limits.inlineWallMsMax, 'inlineWallMsMax'],
    [limits.inlineQuickMs < limits.inlineMeanMsMax, 'inlineQuickMs'],
    [limits.inlineTurnMsMax < limits.inlineTurnQuickMsMax, 'inlineTurnMsMax'],
    [limits.inlineMsMax < limits.inlineWastedMsMax, 'inlineWastedMsMax'],
    [limits.stackBytesMax < limits.inlineStackBytesMin, 'inlineStackBytesMin'],
    [limits.queueWaitMsMin < limits.queueWaitMsMax, 'queueWaitMsMin'],
    [limits.kvKeyBytesMax + limits.kvValueBytesMax <= limits.kvBytesMax, 'kvBytesMax'],
    [limits.sqlValueBytesMax <= limits.sqlResultBytesMax, 'sqlValueBytesMax'],
    [limits.schemaSqlBytesMax < limits.apiBodyBytesMax, 'schemaSqlBytesMax'],
    [limits.guestSeriesMax <= limits.guestSeriesShownMax, 'guestSeriesShownMax'],
    [limits.breakerOpenMsMin <= limits.breakerOpenMsMax, 'breakerOpenMsMin'],
    [limits.breakerProbesMax < limits.breakerCallsMin, 'breakerProbesMax'],
    [limits.quarantineMsMin <= limits.quarantineMsMax, 'quarantineMsMin'],
    [limits.suspectWaitMsMin <= limits.suspectWaitMsMax, 'suspectWaitMsMin'],
    [limits.suspectWaitMsMax < limits.queueWaitMsMax, 'suspectWaitMsMax'],
    [limits.backoffMsMin < limits.backoffMsMax, 'backoffMsMin'],
    [limits.fetchUrlBytesMax < limits.fetchRequestHeadBytesMax, 'fetchUrlBytesMax'],
    [limits.sleepingThreadsPerFunctionMax < limits.sleepingThreadsMax, 'sleepingThreadsMax'],
    [limits.sleepingThreadsPerFunctionMax <= limits.fetchesPerFunctionMax, 'fetchesPerFunctionMax'],
    [limits.fetchesPerCallMax <= limits.fetchesPerFunctionMax, 'fetchesPerCallMax'],
    [limits.fetchesPerFunctionMax <= limits.fetchesPerWorkerMax, 'fetchesPerFunctionMax'],
    [limits.fetchIdlePerFunctionMax <= limits.fetchIdlePerWorkerMax, 'fetchIdlePerFunctionMax'],
    [limits.fetchIdleOnceMsMax <= limits.fetchIdleMsMax, 'fetchIdleOnceMsMax'],
    [limits.previewTokenSecondsMin <= limits.previewTokenSecondsDefault, 'previewTokenSecondsMin'],
    [limits.previewTokenSecondsDefault <= limits.previewTokenSecondsMax, 'previewTokenSecondsMax'],
    [limits.previewIdleMsMin <= limits.previewIdleMsMax, 'previewIdleMsMin'],
    [limits.rolloutWindowSecondsMax < limits.rolloutStepSecondsMax, 'rolloutStepSecondsMax'],
    [limits.rolloutWindowSecondsDefault < limits.rolloutStepSecondsDefault, 'rolloutStepSeconds'],
    [
      limits.telemetryBatchFunctionsMax * 1000 < limits.telemetryUploadBytesMax,
      'telemetryBatchFunctionsMax',
    ],
    [
      limits.telemetryUploadBytesMax + 64 * 1024 < limits.mqttPacketBytesMax,
      'telemetryUploadBytesMax',
    ],
    [limits.telemetryUploadBytesMax < limits.apiBodyBytesMax, 'telemetryUploadBytesMax'],
    [limits.telemetryStoredMsMax <= limits.telemetryHourSecondsMax * 1000, 'telemetryStoredMsMax'],
    [limits.joinTokenSecondsDefault <= limits.joinTokenSecondsMax, 'joinTokenSecondsDefault'],
  ]
}

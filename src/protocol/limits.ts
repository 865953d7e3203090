/** Every limit that more than one part of edgefn must agree on: name, unit, value. How they stand to each other is `limit-relations.ts`. */

import { assertRelations } from './limit-relations.ts'

const KIB = 1024
const MIB = 1024 * KIB
const GIB = 1024 * MIB

export const LIMITS = {
  /** WebAssembly pages of 64 KiB [R1.4]. */
  memoryPagesMin: 1,
  memoryPagesMax: 256,
  memoryPagesDefault: 16,
  /** Milliseconds one call may run [R6.2]. */
  executionMsMin: 1,
  executionMsMax: 900_000,
  executionMsDefault: 500,
  /** Bytes of an uploaded module. */
  moduleBytesMax: 64 * MIB,
  /** Bytes of a JSON body to the control plane. */
  apiBodyBytesMax: 1 * MIB,
  /** Bytes of one MQTT packet, either way. */
  mqttPacketBytesMax: 1 * MIB,
  /** Bytes of a request body at the edge (413 beyond). */
  requestBodyBytesMax: 10 * MIB,
  /** Bytes of a guest's response body (502 beyond). */
  responseBodyBytesMax: 6 * MIB,
  /** Header fields and their bytes (names and values) that a guest's response may have. */
  responseHeadersMax: 100,
  responseHeaderBytesMax: 64 * KIB,
  /** Bytes of one log message of a guest and messages per second and function [R13.4]. */
  logMessageBytesMax: 2 * KIB,
  logMessagesPerSecondMax: 1000,
  /** What a function may keep on a node with `kv_put`, and keys of one page of `kv_list`. */
  kvKeyBytesMax: 512,
  kvValueBytesMax: 1 * MIB,
  kvKeysMax: 65_536,
  kvBytesMax: 64 * MIB,
  kvListKeysMax: 1000,
  /** Counters of a guest (`metrics_increment`): time series per function and node, labels of one, their bytes. */
  guestSeriesMax: 100,
  guestLabelsMax: 8,
  guestMetricNameBytesMax: 64,
  guestLabelNameBytesMax: 64,
  guestLabelValueBytesMax: 128,
  /** Series of all functions together that `/metrics` shows; each function gets an equal share of them. */
  guestSeriesShownMax: 20_000,
  /**
   * Schemas of a function, bytes of one's text and of all of them, characters of a label, and milliseconds that one may take on a
   * node, and all of a function when the control plane tries them.
   */
  schemasPerFunctionMax: 500,
  schemaSqlBytesMax: 256 * KIB,
  schemasSqlBytesMax: 4 * MIB,
  schemaLabelCharsMax: 200,
  schemaMsMax: 60_000,
  schemaCheckMsMax: 10_000,
  /** The database of a function on a node, with what a log holds that is not written back yet besides. */
  sqlDatabaseBytesMax: 64 * MIB,
  sqlLogBytesMax: 64 * MIB,
  /** What one statement of a guest may be, take and bring: the document of a result ends up in the guest's memory. */
  sqlStatementBytesMax: 64 * KIB,
  sqlParametersMax: 1000,
  sqlParameterBytesMax: 1 * MIB,
  sqlRowsMax: 10_000,
  sqlColumnsMax: 200,
  sqlResultBytesMax: 1 * MIB,
  /** Bytes of one value or row; every step of SQLite works on no more. */
  sqlValueBytesMax: 256 * KIB,
  /**
   * The same of statements with functions that search one value for another, how often one may use those, LIKE and GLOB, and the
   * bytes of a pattern: what runs between two looks at the deadline takes two seconds at most then.
   */
  sqlSearchedBytesMax: 16 * KIB,
  sqlSlowUsesMax: 16,
  sqlPatternBytesMax: 128,
  /** Milliseconds that a statement waits for others that write, less when the call has less left. */
  sqlBusyMsMax: 2_000,
  /**
   * Bytes of native stack that a guest's counted calls may take (`wasm/rewrite/`). The threads that run guests have 4 MiB, as
   * Bun makes them; the rest is for calls that are not counted, the engine, and host functions.
   */
  stackBytesMax: 2.5 * MIB,
  /** Hot instances per function and worker, and how long an idle one is kept [R5]. */
  poolInstancesMin: 1,
  poolInstancesMax: 10,
  poolIdleMsMax: 5 * 60_000,
  /**
   * Resident bytes that one function version may take in a worker by its code, and what interpreted code takes on each
   * thread for each byte of the module: 32 were measured for a Go program. A large module is therefore run by few threads.
   */
  functionCodeBytesMax: 512 * MIB,
  codeBytesPerModuleByte: 40,
  /** Bytes of modules, verified and made ready to be loaded, that a worker keeps for its threads. */
  formBytesMax: 64 * MIB,
  /** Of a compiled file; 2.6 to 2.9 were measured. */
  codeBytesPerCompiledByte: 4,
  /**
   * What one instance takes besides its linear memory and tables: so much for each byte of the module, its copy of the
   * interpreted code, and a fixed part. 15 to 18, and 31 KiB beside 17 KiB of page tables, were measured.
   */
  instanceCodeBytesPerModuleByte: 16,
  instanceBytesFixed: 48 * KIB,
  /** Resident bytes of a worker, and threads of one that run guests. */
  workerMemoryBytesDefault: 2 * GIB,
  executorThreadsDefault: 8,
  /**
   * The inline lane, on a worker's HTTP thread. A function is let in after so many calls in the thread lane, and a hundred more for
   * each that took more processor time than its mean may be there. A call in the lane is stopped and run again in the thread
   * lane when it has had so much processor time, or has taken so long on a machine that gives it none. More than one call in a
   * hundred that is slow, or a mean that is too long, sends a function back to prove itself.
   */
  inlineProofCallsMin: 20,
  inlineMeanMsMax: 0.5,
  inlineSlowMs: 2,
  inlineMsMax: 10,
  inlineWallMsMax: 100,
  /**
   * How long it must stay away the first time that it had to go, doubled each time up to the most; after so many calls it begins
   * anew, for garbage is collected in somebody's call too.
   */
  inlinePauseMsMin: 1_000,
  inlinePauseMsMax: 3600_000,
  inlineForgivenCalls: 16_000,
  /** Time wasted by calls that were stopped or slow, halved every so often, above which nobody is let in and who is slow has to go. */
  inlineWastedMsMax: 100,
  inlineWasteHalfMs: 5_000,
  /**
   * What guests may take of one turn of the HTTP thread's event loop, in which it answers all that has arrived, when it has had calls
   * of several functions in so long a time: up to the first of these any may, up to the second those that are quick in the
   * mean, for which the way to a thread and back takes longer. Who finds no room runs in the thread lane.
   */
  inlineTurnMsMax: 2,
  inlineTurnQuickMsMax: 20,
  inlineQuickMs: 0.05,
  inlineSharedMs: 10_000,
  /** What the lane's modules may be in bytes of compiled code: they are loaded by the thread that everybody waits for. */
  inlineCodeBytesMax: 8 * MIB,
  /** Stack of the main thread without which no guest runs there; an executor thread has as much. */
  inlineStackBytesMin: 4 * MIB,
  executorThreadsMax: 64,
  /**
   * Threads of a worker whose guests wait in a host function and which therefore do not count as busy, and those of one
   * function among them: what waits besides counts.
   */
  sleepingThreadsMax: 128,
  sleepingThreadsPerFunctionMax: 104,
  /** Milliseconds that a thread beyond the usual number is kept when it has nothing to run. */
  threadIdleMsMax: 60_000,
  /** A compile process: resident bytes, seconds of processor time for each level of a module. */
  compileBytesMax: 3 * GIB,
  compileSecondsFirstMax: 60,
  compileSecondsFullMax: 300,
  /** Bytes of compiled files that a node keeps; the least recently used go. */
  compiledBytesMax: 4 * GIB,
  /**
   * Instances per worker process; the address space ends at 10 920 (RELIABILITY finding 6). And memory mappings of one: a compiled
   * instance has 4, the code of a compiled module 2 on each thread. The kernel allows 65 530; the rest is for threads and libraries.
   */
  processInstancesMax: 10_000,
  processMappingsMax: 56_000,
  mappingsPerInstance: 4,
  mappingsPerModule: 2,
  /**
   * Requests waiting in one worker for an executor, those of one function version, and how long one may take from its
   * admission until its guest begins (503 beyond). A function's own `queue_wait_ms` may be less.
   */
  queueRequestsMax: 1024,
  queueFunctionRequestsMax: 512,
  queueWaitMsMin: 10,
  queueWaitMsMax: 10_000,
  /**
   * Worker processes that a function version may end within the window before it is quarantined on the node. A quarantine
   * lasts the first time as long as the least says, then twice as long each time, up to the most.
   */
  workerDeathsMax: 3,
  workerDeathsWindowMs: 10 * 60_000,
  quarantineMsMin: 10 * 60_000,
  quarantineMsMax: 24 * 3600_000,
  /**
   * Milliseconds that a suspect of workers' deaths waits at most until no other suspect runs beside it: as many at first as
   * the least says, then four times as many with each death that does not tell which of them it was.
   */
  suspectWaitMsMin: 50,
  suspectWaitMsMax: 3_200,
  /**
   * The circuit breaker of a function: it opens when in the window at least so many calls ended and so large a part of them
   * failed; stays open as long as the least says and, when its probes fail, twice as long each time up to the most; and
   * closes after so many probes have succeeded. While all probes are out, others are told to come again after the last.
   */
  breakerWindowMs: 10_000,
  breakerCallsMin: 50,
  breakerFailurePercent: 50,
  breakerOpenMsMin: 5_000,
  breakerOpenMsMax: 60_000,
  breakerProbesMax: 3,
  breakerProbeRetryMs: 1_000,
  /** The edge's artifact cache [R15]. */
  cacheBytesMax: 10 * GIB,
  cacheFilesMax: 1000,
  /** Tries to fetch an artifact before the failure is reported [R3.5]. */
  fetchAttemptsMax: 5,
  /** Exponential backoff between retries [R2.4]. */
  backoffMsMin: 1_000,
  backoffMsMax: 60_000,
  /** Heartbeats [R7.1]; a node is degraded after two missed and offline after three. */
  heartbeatMsDefault: 30_000,
  /** Seconds that presigned URLs are good for [C7.2]. */
  uploadUrlSecondsMax: 3_600,
  downloadUrlSecondsMax: 3_600,
  /** Seconds that a node's token and a join token live. */
  nodeTokenSecondsMax: 30 * 24 * 3600,
  joinTokenSecondsDefault: 15 * 60,
  joinTokenSecondsMax: 7 * 24 * 3600,
  /** Routing table of a node. */
  routesMax: 200_000,
  routePathCharsMax: 500,
  routeHostCharsMax: 253,
  /** Functions of a node. */
  functionsMax: 16_384,
  /**
   * Versions of functions that a node has records of (statistics, breaker, verdicts): those that serve and, beside each of them, one
   * that is being brought up.
   */
  armsMax: 32_768,
  /** Versions of a function that share its traffic, and characters of the name of the field that makes a user. */
  splitVersionsMax: 8,
  stickyNameCharsMax: 64,
  /**
   * Previews: seconds that a token is good for; versions that a node runs for previews at a time; how long one stays that nobody
   * calls, and how long it must have been so before another may take its place.
   */
  previewTokenSecondsMin: 60,
  previewTokenSecondsDefault: 3_600,
  previewTokenSecondsMax: 7 * 24 * 3600,
  previewsMax: 8,
  previewIdleMsMax: 10 * 60_000,
  previewIdleMsMin: 60_000,
  /** Variables of a version; characters of the name and of the value of one. */
  variablesMax: 64,
  variableNameCharsMax: 128,
  variableValueCharsMax: 4096,
  /** Patterns of a version's allow-list for http_fetch, and characters of one. */
  httpAllowMax: 64,
  httpAllowCharsMax: 280,
  /** What one http_fetch of a guest may send. */
  fetchUrlBytesMax: 8 * KIB,
  fetchHeadersMax: 100,
  fetchRequestHeadBytesMax: 32 * KIB,
  fetchRequestBodyBytesMax: 1 * MIB,
  /** What it may bring: the head (status and headers), and the body as it comes over the wire. */
  fetchResponseHeadBytesMax: 64 * KIB,
  fetchResponseBodyBytesMax: 10 * MIB,
  /** Milliseconds of one fetch from call to last byte, whatever is left to the call; and redirects it follows. */
  fetchMsMax: 30_000,
  fetchRedirectsMax: 5,
  /** How often a request may come back to edgefn by fetches before one more is refused. */
  fetchLoopsMax: 3,
  /** Fetches open at the same time: of one call, of one function version in a worker, of a worker. */
  fetchesPerCallMax: 8,
  fetchesPerFunctionMax: 128,
  fetchesPerWorkerMax: 256,
  /**
   * Connections of fetches that wait for the next one: of one function version in a worker, of a worker; how long they do, and how long
   * at most when what is to be sent must not be sent twice. Most servers close theirs after 5 s or more.
   */
  fetchIdlePerFunctionMax: 64,
  fetchIdlePerWorkerMax: 256,
  fetchIdleMsMax: 10_000,
  fetchIdleOnceMsMax: 2_000,
  /** A rollout: nodes, steps, selectors of its POP order, nodes named by its evidence. */
  rolloutNodesMax: 1_000_000,
  rolloutStepsMax: 20,
  rolloutPopOrderMax: 100,
  rolloutEvidenceNodesMax: 20,
  /** Nodes of a batch when nobody says. */
  rolloutBatchDefault: 1,
  /** Requests that a gate may ask for; those that a canary's gates ask for when nobody says. */
  rolloutSamplesMax: 1_000_000_000,
  rolloutSamplesDefault: 20,
  /** Part of the requests that may be errors in a canary when nobody says. */
  rolloutErrorRateDefault: 0.05,
  /** Milliseconds that a gate may allow 95 of 100 requests: histograms tell no times beyond apart. */
  rolloutP95MsMax: 10_000,
  /** Seconds that a step is watched, or that lie between two batches; and that a canary's is watched when nobody says. */
  rolloutWindowSecondsMax: 7 * 24 * 3600,
  rolloutWindowSecondsDefault: 60,
  /** Seconds from the beginning of a step to its end. */
  rolloutStepSecondsMax: 14 * 24 * 3600,
  rolloutStepSecondsDefault: 600,
  /** Seconds in which a command may reach its node: usually, and at most. Open commands of a node. */
  commandSecondsDefault: 15 * 60,
  commandSecondsMax: 7 * 24 * 3600,
  commandsOpenMax: 100,
  /** Seconds that a node may be told to be isolated, or to log otherwise than it is configured. */
  isolateSecondsMax: 24 * 3600,
  commandLogLevelSecondsMax: 7 * 24 * 3600,
  /** Limits of latency histograms (`LATENCY_BUCKETS`); what is slower is counted beside them. */
  latencyBuckets: 16,
  /** Milliseconds that a node can say a sync took. */
  syncMsMax: 30 * 86_400_000,
  /**
   * Telemetry (docs/TELEMETRY.md). How often a node makes a batch; versions in one, of 300 to 800 bytes each; batches and bytes of
   * one upload, below a packet's limit.
   */
  telemetryMsDefault: 10_000,
  telemetryBatchFunctionsMax: 700,
  telemetryUploadBatchesMax: 500,
  telemetryUploadBytesMax: 700 * KIB,
  /** What a node keeps that is not acknowledged, in bytes and milliseconds; the oldest is dropped. */
  telemetryStoredBytesMax: 128 * MIB,
  telemetryStoredMsMax: 7 * 86_400_000,
  /** What the control plane keeps, in seconds: batches as they came, sums of a minute, sums of an hour. */
  telemetryRawSecondsMax: 3 * 3600,
  telemetryMinuteSecondsMax: 3 * 86_400,
  telemetryHourSecondsMax: 100 * 86_400,
  /**
   * Uploads that wait for the control plane's transactions, and versions and nodes in all of them, of some hundred bytes each; versions
   * and nodes in one transaction: it holds up everybody else for as long.
   */
  telemetryWaitingUploadsMax: 20_000,
  telemetryWaitingRowsMax: 200_000,
  telemetryTransactionRowsMax: 500,
  /** Points of an answer. */
  telemetryPointsMax: 2_000,
  /** Events that are kept: how many, and milliseconds. Those that wait to be written when they stand in no transaction. */
  eventsKeptMax: 100_000,
  eventsKeptMsMax: 7 * 24 * 3600_000,
  eventsWaitingMax: 20_000,
  /** Types and kinds that a reader of events or a webhook may name. */
  eventFiltersMax: 50,
  /** Readers of `GET /events` at a time. */
  eventReadersMax: 200,
  /** Milliseconds without anything after which a reader is sent a comment, so that nobody takes the connection for dead. */
  eventKeepAliveMs: 15_000,
  /** Milliseconds after which a reader is dropped that does not take what it is sent. */
  eventStallMsMax: 30_000,
  /** Webhooks, characters of the URL and of the secret of one. */
  webhooksMax: 100,
  webhookUrlCharsMax: 2_000,
  webhookSecretCharsMin: 16,
  webhookSecretCharsMax: 256,
  /** Milliseconds that a receiver may take to answer, and for which a delivery that fails is tried again. */
  webhookAttemptMsMax: 10_000,
  webhookRetryMsMax: 24 * 3600_000,
  /** Deliveries that wait for one webhook, and those that ended and are remembered; milliseconds for which they are. */
  webhookPendingMax: 10_000,
  webhookHistoryMax: 1_000,
  webhookHistoryMsMax: 7 * 24 * 3600_000,
  /** Rows of one page of a list. */
  pageRowsMax: 500,
  pageRowsDefault: 100,
} as const

/** Bytes of a WebAssembly page. */
export const PAGE_BYTES = 64 * KIB

assertRelations(LIMITS)

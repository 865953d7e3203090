/** Every limit that more than one part of edgefn must agree on: name, unit, value. Relations are asserted below. */

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
   * interpreted code, and a fixed part. 15 to 18 and 12 KiB were measured for C, Rust and AssemblyScript guests.
   */
  instanceCodeBytesPerModuleByte: 16,
  instanceBytesFixed: 12 * KIB,
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
  /** Functions of a node; also the number of statistics slots per worker. */
  functionsMax: 16_384,
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
  /** Rows of one page of a list. */
  pageRowsMax: 500,
  pageRowsDefault: 100,
} as const

/** Bytes of a WebAssembly page. */
export const PAGE_BYTES = 64 * KIB

const RELATIONS: readonly (readonly [boolean, string])[] = [
  [LIMITS.memoryPagesDefault <= LIMITS.memoryPagesMax, 'memoryPagesDefault'],
  [LIMITS.executionMsDefault <= LIMITS.executionMsMax, 'executionMsDefault'],
  [LIMITS.poolInstancesMin <= LIMITS.poolInstancesMax, 'poolInstancesMin'],
  [LIMITS.poolInstancesMax < LIMITS.processInstancesMax, 'poolInstancesMax'],
  [LIMITS.processInstancesMax < 10_500, 'processInstancesMax'],
  [
    LIMITS.processInstancesMax * LIMITS.mappingsPerInstance < LIMITS.processMappingsMax,
    'processMappingsMax',
  ],
  [LIMITS.queueFunctionRequestsMax < LIMITS.queueRequestsMax, 'queueFunctionRequestsMax'],
  [LIMITS.inlineMeanMsMax < LIMITS.inlineSlowMs, 'inlineSlowMs'],
  [LIMITS.inlineSlowMs < LIMITS.inlineMsMax, 'inlineMsMax'],
  [LIMITS.inlineMsMax < LIMITS.inlineWallMsMax, 'inlineWallMsMax'],
  [LIMITS.inlineQuickMs < LIMITS.inlineMeanMsMax, 'inlineQuickMs'],
  [LIMITS.inlineTurnMsMax < LIMITS.inlineTurnQuickMsMax, 'inlineTurnMsMax'],
  [LIMITS.inlineMsMax < LIMITS.inlineWastedMsMax, 'inlineWastedMsMax'],
  [LIMITS.stackBytesMax < LIMITS.inlineStackBytesMin, 'inlineStackBytesMin'],
  [LIMITS.queueWaitMsMin < LIMITS.queueWaitMsMax, 'queueWaitMsMin'],
  [LIMITS.kvKeyBytesMax + LIMITS.kvValueBytesMax <= LIMITS.kvBytesMax, 'kvBytesMax'],
  [LIMITS.guestSeriesMax <= LIMITS.guestSeriesShownMax, 'guestSeriesShownMax'],
  [LIMITS.breakerOpenMsMin <= LIMITS.breakerOpenMsMax, 'breakerOpenMsMin'],
  [LIMITS.breakerProbesMax < LIMITS.breakerCallsMin, 'breakerProbesMax'],
  [LIMITS.quarantineMsMin <= LIMITS.quarantineMsMax, 'quarantineMsMin'],
  [LIMITS.suspectWaitMsMin <= LIMITS.suspectWaitMsMax, 'suspectWaitMsMin'],
  [LIMITS.suspectWaitMsMax < LIMITS.queueWaitMsMax, 'suspectWaitMsMax'],
  [LIMITS.backoffMsMin < LIMITS.backoffMsMax, 'backoffMsMin'],
  [LIMITS.fetchUrlBytesMax < LIMITS.fetchRequestHeadBytesMax, 'fetchUrlBytesMax'],
  [LIMITS.sleepingThreadsPerFunctionMax < LIMITS.sleepingThreadsMax, 'sleepingThreadsMax'],
  [LIMITS.sleepingThreadsPerFunctionMax <= LIMITS.fetchesPerFunctionMax, 'fetchesPerFunctionMax'],
  [LIMITS.fetchesPerCallMax <= LIMITS.fetchesPerFunctionMax, 'fetchesPerCallMax'],
  [LIMITS.fetchesPerFunctionMax <= LIMITS.fetchesPerWorkerMax, 'fetchesPerFunctionMax'],
  [LIMITS.joinTokenSecondsDefault <= LIMITS.joinTokenSecondsMax, 'joinTokenSecondsDefault'],
]
for (const [holds, name] of RELATIONS) {
  if (!holds) throw new Error(`Limit ${name} contradicts another limit.`)
}

/** Who may import what (docs of the layout: slices in the control plane, stages on the edge, one owner per package). */

import type { Import, Source } from './sources.ts'

/** Where a package may be imported, as path prefixes; tests may use any. A package that is not here has no owner yet. */
const OWNERS: Readonly<Record<string, readonly string[]>> = {
  'bun:ffi': ['ffi/'],
  'bun:sqlite': [
    'ffi/sqlite-library.ts',
    'src/edge/agent/cache/',
    'src/edge/agent/telemetry/',
    'src/edge/worker/host/kv/',
  ],
  '@libsql/client': ['src/cp/db/'],
  libsql: ['src/cp/db/'],
  aedes: ['src/cp/broker/'],
  'aedes-persistence': ['src/cp/broker/'],
  hono: ['src/cp/', 'src/http/'],
  'ipaddr.js': ['src/edge/worker/fetch/'],
  jose: ['src/cp/auth/'],
  mqtt: ['src/edge/agent/mqtt/', 'src/cp/broker/'],
  'prom-client': ['src/telemetry/'],
  yaml: ['src/config/', 'src/cli/'],
  zod: ['src/'],
  bun: ['src/', 'ffi/', 'scripts/'],
}

/** Slices of the control plane; the other folders of `cp/` are what slices stand on. */
const SLICES = [
  'functions',
  'routes',
  'deployments',
  'nodes',
  'schemas',
  'commands',
  'builds',
  'previews',
  'telemetry',
  'secrets',
]

interface Rule {
  /** Sources the rule is about. */
  readonly of: RegExp
  /** Files of ours (or packages) that these may not import. */
  readonly not: (imported: Import, source: Source) => boolean
  readonly message: string
}

const under =
  (...folders: readonly string[]) =>
  (imported: Import) =>
    folders.some((folder) => imported.file?.startsWith(folder) ?? false)

const RULES: readonly Rule[] = [
  {
    of: /^src\/cp\//,
    not: under('src/edge/', 'src/cli/', 'src/main.ts', 'ffi/'),
    message: 'cp knows neither edge nor cli; what both sides need belongs to src/protocol/',
  },
  {
    of: /^src\/edge\//,
    not: under('src/cp/', 'src/cli/', 'src/main.ts'),
    message: 'edge knows neither cp nor cli; what both sides need belongs to src/protocol/',
  },
  {
    of: /^src\/edge\/agent\//,
    not: under('ffi/', 'src/edge/worker/'),
    message: 'the agent never runs guest code; talk to workers by src/edge/ipc.ts',
  },
  {
    of: /^src\/edge\/worker\//,
    not: under('src/edge/agent/'),
    message: 'a worker knows nothing of the agent; talk to it by src/edge/ipc.ts',
  },
  {
    of: /^src\/cli\//,
    not: under('src/cp/', 'src/edge/', 'ffi/', 'src/main.ts'),
    message: 'the cli talks to the API only; src/main.ts hands the modes over',
  },
  {
    of: /^src\/protocol\//,
    not: (imported) =>
      imported.file === null
        ? imported.package !== 'zod'
        : !/^src\/(?:protocol\/|errors\.ts$)/.test(imported.file),
    message: 'protocol imports nothing but zod, itself and src/errors.ts',
  },
  {
    of: /^src\/wasm\//,
    not: (imported) =>
      imported.file === null || !/^src\/(?:wasm\/|errors\.ts$)/.test(imported.file),
    message: 'wasm is pure: it imports nothing but itself and src/errors.ts',
  },
  {
    of: /^src\/(?:http|telemetry|config|errors\.ts|version\.ts)/,
    not: under('src/cp/', 'src/edge/', 'src/cli/', 'ffi/'),
    message: 'what everybody stands on knows nobody above it',
  },
  {
    of: /^src\/sql\//,
    not: under('src/cp/', 'src/edge/', 'src/cli/', 'src/main.ts'),
    message: 'sql is the same on both sides, and knows neither',
  },
  { of: /^ffi\//, not: under('src/'), message: 'ffi knows libwasmedge and nothing of edgefn' },
  {
    of: /^(?:src|ffi)\//,
    not: under('test/', 'scripts/'),
    message: 'the program does not import its tests or scripts',
  },
  {
    of: /^src\/cp\/[^/]+\//,
    not: (imported, source) => {
      const own = sliceOf(source.path)
      const other = sliceOf(imported.file ?? '')
      return own !== null && other !== null && own !== other
    },
    message:
      'a slice never imports a slice: declare the need in src/cp/lookup.ts, cp/compose.ts hands it across',
  },
]

function sliceOf(path: string): string | null {
  const name = /^src\/cp\/([^/]+)\//.exec(path)?.[1] ?? ''
  return SLICES.includes(name) ? name : null
}

/** One line per violation: where, what, and what to do. */
export function importViolations(source: Source): string[] {
  return source.imports.flatMap((imported) => {
    const where = `${source.path}:${imported.line} imports ${imported.specifier}`
    const broken = RULES.filter((rule) => rule.of.test(source.path) && rule.not(imported, source))
    return [
      ...broken.map((rule) => `${where}: ${rule.message}`),
      ...packageViolations(source, imported, where),
      ...(imported.file !== null && !/\.(?:ts|json|sql|html|css)$/.test(imported.file)
        ? [`${where}: write the extension`]
        : []),
    ]
  })
}

function packageViolations(source: Source, imported: Import, where: string): string[] {
  const name = imported.package
  if (name === null || name.startsWith('node:') || source.path.startsWith('test/')) return []
  const owners = OWNERS[name]
  if (owners === undefined) return [`${where}: give the package an owner folder in OWNERS`]
  if (owners.some((owner) => source.path.startsWith(owner))) return []
  return [`${where}: only ${owners.join(' and ')} may import ${name}`]
}

/** Builds `./edgefn`: one compiled file with everything inside. `bun run build [--target bun-linux-arm64] [--outfile PATH]` */

import { existsSync, mkdtempSync, renameSync, rmSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { parseArgs } from 'node:util'

import packageFile from '../package.json' with { type: 'json' }

const ROOT = join(import.meta.dir, '..')

/** The package with libSQL's native addon, by compile target. */
const LIBSQL_ADDONS: Readonly<Record<string, string>> = {
  'bun-linux-x64': '@libsql/linux-x64-gnu',
  'bun-linux-x64-baseline': '@libsql/linux-x64-gnu',
  'bun-linux-x64-musl': '@libsql/linux-x64-musl',
  'bun-linux-arm64': '@libsql/linux-arm64-gnu',
  'bun-linux-arm64-musl': '@libsql/linux-arm64-musl',
}

/** `requireNative` of libsql/index.js: it computes the addon's name at run time, which a bundler cannot follow. */
const COMPUTED_REQUIRE = 'return require(`@libsql/${target}`);'

/** Names the addon literally, so that it is embedded; fails when libsql is no longer written the way it was. */
function libsqlAddonPlugin(addon: string): Bun.BunPlugin {
  return {
    name: 'libsql-addon',
    setup(builder) {
      builder.onLoad({ filter: /[\\/]libsql[\\/](?:index|promise)\.js$/ }, async ({ path }) => {
        const source = await Bun.file(path).text()
        if (!source.includes(COMPUTED_REQUIRE)) {
          throw new Error(`${path} has no ${COMPUTED_REQUIRE} any more: look at libsqlAddonPlugin.`)
        }
        const contents = source.replace(
          COMPUTED_REQUIRE,
          `return require(${JSON.stringify(addon)});`,
        )
        return { contents, loader: 'js' }
      })
    },
  }
}

/** `0.1.0`, with the commit behind it and a mark for changes that are in no commit, as far as git can tell. */
function buildVersion(): string {
  if (Bun.which('git') === null) return packageFile.version
  const described = Bun.spawnSync(['git', 'describe', '--always', '--dirty', '--exclude', '*'], {
    cwd: ROOT,
    stderr: 'ignore',
  })
  const commit = described.exitCode === 0 ? described.stdout.toString().trim() : ''
  return commit === '' ? packageFile.version : `${packageFile.version}+${commit}`
}

function hostTarget(): string {
  return `bun-linux-${process.arch}`
}

async function build(target: string, outfile: string): Promise<void> {
  const addon = LIBSQL_ADDONS[target]
  if (addon === undefined) {
    throw new Error(`--target must be ${Object.keys(LIBSQL_ADDONS).join(', ')}, got ${target}.`)
  }
  if (!existsSync(join(ROOT, 'node_modules', addon))) {
    throw new Error(
      `${addon} is not installed: bun install --os=linux --cpu='*', then build again.`,
    )
  }
  const result = await Bun.build({
    entrypoints: [join(ROOT, 'src/main.ts')],
    compile: {
      target: target as Bun.Build.CompileTarget,
      outfile,
      autoloadDotenv: false,
      autoloadBunfig: false,
    },
    format: 'esm',
    minify: true,
    bytecode: true,
    // Each mode and each thread reads its own part: a thread starts in half the time, and takes half the memory.
    splitting: true,
    sourcemap: 'inline',
    define: { EDGEFN_BUILD_VERSION: JSON.stringify(buildVersion()) },
    plugins: [libsqlAddonPlugin(addon)],
  })
  for (const message of result.logs) console.error(message)
  if (!result.success) throw new Error('The build failed.')
}

const { values } = parseArgs({
  options: { target: { type: 'string' }, outfile: { type: 'string' } },
})
const outfile = resolve(values.outfile ?? join(ROOT, 'edgefn'))
// Beside its place and then renamed: a binary that runs cannot be written to, and nobody meets half of one.
const folder = mkdtempSync(join(dirname(outfile), '.edgefn-build-'))
try {
  const built = join(folder, 'edgefn')
  await build(values.target ?? hostTarget(), built)
  renameSync(built, outfile)
} finally {
  rmSync(folder, { recursive: true })
}
console.log(`${outfile} ${(Bun.file(outfile).size / 2 ** 20).toFixed(0)} MiB, ${buildVersion()}`)

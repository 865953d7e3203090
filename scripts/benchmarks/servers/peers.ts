/** The peers that edgefn is measured against, each as lean as it can be written. */

import { existsSync, mkdirSync, writeFileSync } from 'node:fs'
import { join, relative } from 'node:path'

import { startPeer } from './peer-process.ts'
import type { Server } from './server.ts'

const PEERS = join(import.meta.dir, '../peers')
/** The program itself; what the package `workerd` has in its place may be a script that starts it. */
const WORKERD = join(
  PEERS,
  `node_modules/@cloudflare/workerd-${process.platform}-${process.arch === 'x64' ? '64' : process.arch}`,
  'bin/workerd',
)
/** Of workerd's flags: what a worker of the pinned version may rely on. */
const COMPATIBILITY_DATE = '2026-11-01'

/** Throws when scripts/bench-setup has not been run. */
export function assertPeersInstalled(): void {
  const missing = [
    ...(existsSync(WORKERD) ? [] : ['workerd']),
    ...['wrk', 'nginx', 'node'].filter((name) => commandPath(name) === null),
  ]
  if (missing.length > 0) throw new Error(`${missing.join(', ')}: run scripts/bench-setup first.`)
}

function commandPath(name: string): string | null {
  return Bun.which(name, { PATH: `${process.env['PATH'] ?? ''}:/usr/sbin:/sbin` })
}

/** Plain `Bun.serve`, of the version that edgefn is built with, with a script of `peers/workers`; several processes share the port. */
export function startBun(
  script: string,
  processes = 1,
  name = processes === 1 ? 'Bun.serve' : `${processes} × Bun.serve`,
): Promise<Server> {
  const path = join(PEERS, 'workers', script)
  const command = (port: number) => [process.execPath, join(PEERS, 'bun-serve.ts'), path, `${port}`]
  return startPeer({
    name,
    commands: (port) => Array.from({ length: processes }, () => command(port)),
  })
}

export function startNodeHttp(): Promise<Server> {
  const script = join(PEERS, 'node-http.mjs')
  return startPeer({ name: 'node:http', commands: (port) => [['node', script, `${port}`]] })
}

/** A file of that text, at every path. */
export function startNginx(dir: string, text: string): Promise<Server> {
  const home = join(dir, 'nginx')
  mkdirSync(home, { recursive: true })
  writeFileSync(join(home, 'hello.txt'), text)
  const config = join(home, 'nginx.conf')
  const nginx = commandPath('nginx') ?? 'nginx'
  return startPeer({
    name: 'nginx static',
    commands: (port) => {
      writeFileSync(config, nginxConfig(home, port))
      return [[nginx, '-p', home, '-e', join(home, 'error.log'), '-c', config]]
    },
  })
}

function nginxConfig(home: string, port: number): string {
  // Started as root its worker would be another user, who may not read a temporary directory.
  const user = process.getuid?.() === 0 ? 'user root;\n' : ''
  return `${user}daemon off;
worker_processes 1;
pid ${home}/nginx.pid;
events { worker_connections 1024; }
http {
  access_log off;
  keepalive_requests 1000000000;
  default_type text/plain;
  open_file_cache max=16;
  sendfile on;
  tcp_nopush on;
  server {
    listen 127.0.0.1:${port};
    root ${home};
    location / { try_files /hello.txt =404; }
  }
}
`
}

/** A worker of its own in JavaScript, or, with a module, the one that calls the module through the edgefn ABI. */
export interface Worker {
  readonly name: string
  /** A file of `peers/workers`. */
  readonly script: string
  /** Path of a wasm module that the script imports as `guest.wasm`. */
  readonly module?: string
}

export function startWorkerd(dir: string, { name, script, module }: Worker): Promise<Server> {
  const config = join(dir, `${name.replaceAll(/[^a-z]+/gi, '-')}.capnp`)
  // Paths in a config are relative to its file.
  const main = relative(dir, join(PEERS, 'workers', script))
  const guest = module === undefined ? null : relative(dir, module)
  return startPeer({
    name,
    commands: (port) => {
      writeFileSync(config, workerdConfig(main, guest, port))
      return [[WORKERD, 'serve', config]]
    },
  })
}

function workerdConfig(script: string, module: string | null, port: number): string {
  const guest = module === null ? '' : `, (name = "guest.wasm", wasm = embed "${module}")`
  return `using Workerd = import "/workerd/workerd.capnp";
const config :Workerd.Config = (
  services = [(name = "main", worker = .main)],
  sockets = [(name = "http", address = "127.0.0.1:${port}", http = (), service = "main")]
);
const main :Workerd.Worker = (
  modules = [(name = "main", esModule = embed "${script}")${guest}],
  compatibilityDate = "${COMPATIBILITY_DATE}"
);
`
}

/** Plain `Bun.serve` with a worker's handler, the reference. Usage: bun bun-serve.ts SCRIPT PORT */

import { resolve } from 'node:path'

interface Worker {
  fetch(request: Request): Response | Promise<Response>
}

const [script = '', port = ''] = process.argv.slice(2)
const { default: worker } = (await import(resolve(script))) as { default: Worker }
Bun.serve({ hostname: '127.0.0.1', port: Number(port), reusePort: true, fetch: worker.fetch })

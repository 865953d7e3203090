/** Plain `Bun.serve`, the reference. Usage: bun bun-serve.ts HANDLER PORT */

const HANDLERS: Readonly<Record<string, (request: Request) => Response | Promise<Response>>> = {
  hello: () => new Response('Hello, edge!\n'),
}

const [name = '', port = ''] = process.argv.slice(2)
const handler = HANDLERS[name]
if (handler === undefined) throw new Error(`There is no handler ${name}.`)
Bun.serve({ hostname: '127.0.0.1', port: Number(port), reusePort: true, fetch: handler })

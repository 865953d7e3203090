/** node:http with a constant answer. Usage: node node-http.mjs PORT */

import { createServer } from 'node:http'

const server = createServer((_request, response) => {
  response.writeHead(200, { 'content-type': 'text/plain', 'content-length': '13' })
  response.end('Hello, edge!\n')
})
server.listen(Number(process.argv[2]), '127.0.0.1')

/**
 * The same answer by a handler that reads what edgefn has to read of a request, its URL and header fields, and gives it the
 * two fields that edgefn's answer has: what there is to be won.
 */

const headers = new Headers({ 'content-type': 'text/plain; charset=utf-8' })
const body = new TextEncoder().encode('Hello, edge!\n')
let requests = 0

export default {
  fetch(request) {
    const fields = request.headers.toJSON()
    const path = request.url.slice(request.url.indexOf('/', 7))
    requests += 1
    headers.set('x-request-id', `${fields.host.length}-${path.length}-${requests}`)
    return new Response(body.slice(), { headers })
  },
}

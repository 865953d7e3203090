// Counts the visits of each path, on this node. Two visits at the same moment may count as one: keys have no locks.
import { increment, kvGetText, kvPutText, onRequest, Request, Response } from 'edgefn'
export { alloc, handle } from 'edgefn'

onRequest((request: Request) => {
  const before = kvGetText(request.path)
  const visits = (before === null ? 0 : i64(parseInt(before))) + 1
  const result = kvPutText(request.path, visits.toString())
  increment('visits', 'language=as')
  return Response.text(visits.toString(), result < 0 ? 503 : 200)
})

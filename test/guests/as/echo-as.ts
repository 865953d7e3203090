/** Answers with the request as JSON, through the edgefn ABI. */
import { respond, text } from './edgefn'

export function alloc(size: i32): usize {
  return heap.alloc(size)
}

function quote(value: string): string {
  let quoted = '"'
  let from = 0
  for (let i = 0; i < value.length; i++) {
    const code = value.charCodeAt(i)
    if (code >= 0x20 && code != 0x22 && code != 0x5c) continue
    quoted += value.substring(from, i) + '\\u' + code.toString(16).padStart(4, '0')
    from = i + 1
  }
  return quoted + value.substring(from) + '"'
}

function headersObject(headers: string): string {
  const members = new Array<string>()
  const lines = headers.split('\r\n')
  for (let i = 0; i < lines.length; i++) {
    const colon = lines[i].indexOf(':')
    if (colon < 0) continue
    members.push(
      quote(lines[i].substring(0, colon)) + ':' + quote(lines[i].substring(colon + 1).trimStart()),
    )
  }
  return '{' + members.join(',') + '}'
}

export function handle(
  method: usize,
  methodLength: i32,
  path: usize,
  pathLength: i32,
  headers: usize,
  headersLength: i32,
  body: usize,
  bodyLength: i32,
  response: usize,
  responseCap: i32,
): i32 {
  const target = text(path, pathLength)
  const mark = target.indexOf('?')
  const json =
    '{"method":' +
    quote(text(method, methodLength)) +
    ',"path":' +
    quote(mark < 0 ? target : target.substring(0, mark)) +
    ',"query":' +
    quote(mark < 0 ? '' : target.substring(mark + 1)) +
    ',"headers":' +
    headersObject(text(headers, headersLength)) +
    ',"body":' +
    quote(text(body, bodyLength)) +
    '}'
  return respond('content-type: application/json\r\nx-guest: as\r\n', json, response, responseCap)
}

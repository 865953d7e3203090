/** Answers with the request's x-field headers, a line each, and its body. */

export default {
  async fetch(request) {
    let lines = ''
    for (const [name, value] of request.headers) {
      if (name.startsWith('x-field-')) lines += `${name}: ${value}\n`
    }
    return new Response(lines + (await request.text()))
  },
}

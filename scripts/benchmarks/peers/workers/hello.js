/** A constant answer. */

export default {
  fetch() {
    return new Response('Hello, edge!\n')
  },
}

/** Answers after 50 ms. */

export default {
  async fetch() {
    await new Promise((resolve) => setTimeout(resolve, 50))
    return new Response('slept\n')
  },
}

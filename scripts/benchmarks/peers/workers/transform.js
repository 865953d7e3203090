/** Reads orders as JSON, and answers with the active ones, their totals and the sum, as JSON. */

export default {
  async fetch(request) {
    const input = await request.json()
    const orders = []
    let sum = 0
    for (const { id, customer, active, quantity, price_cents, tags } of input.orders) {
      if (!active) continue
      const total = quantity * price_cents
      sum += total
      orders.push({ id, customer, total_cents: total, tags: tags.map((tag) => tag.toUpperCase()) })
    }
    return Response.json({ orders, count: orders.length, sum_cents: sum })
  },
}

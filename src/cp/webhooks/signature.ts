/** How deliveries are signed (docs/EVENTS.md): a receiver recomputes it over the time and the bytes that it got. */

/** `t=UNIX_SECONDS,v1=HEX` of HMAC-SHA256 with `secret`. */
export function signDelivery(secret: string, unixSeconds: number, body: string): string {
  const hmac = new Bun.CryptoHasher('sha256', secret)
  const hex = hmac.update(`${unixSeconds}.${body}`).digest('hex')
  return `t=${unixSeconds},v1=${hex}`
}

/** A secret of 256 random bits. */
export function newSecret(): string {
  const random = crypto.getRandomValues(new Uint8Array(32))
  return `whsec_${Buffer.from(random).toString('base64url')}`
}

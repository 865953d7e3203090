/** A process whose environment names a proxy: fetches a URL by Bun's fetch and by ours, and prints what each got. */

import { fetched, guestRequest } from './fetching.ts'

const [url = ''] = process.argv.slice(2)
const byBun = await (await fetch(url)).text()
const ours = await fetched(guestRequest(`GET ${url}`), { allow: [new URL(url).host] })
process.stdout.write(JSON.stringify({ byBun, ours: ours.body }))

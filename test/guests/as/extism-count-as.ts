// An Extism plug-in made with the AssemblyScript PDK: counts the vowels of its input, and its calls in a variable.
import { Config, Host, Var } from '@extism/as-pdk'

export function count_vowels(): i32 {
  const text = Host.inputString()
  let count = 0
  for (let i = 0; i < text.length; i++) {
    if ('aeiouAEIOU'.includes(text.charAt(i))) count++
  }
  const before = Var.getMemory('calls')
  const calls = before === null ? 1 : I32.parseInt(before.toString()) + 1
  Var.set('calls', Uint8Array.wrap(String.UTF8.encode(calls.toString())))
  const path = Config.get('http.path')
  const place = Config.get('PLACE')
  Host.outputString(
    '{"count":' +
      count.toString() +
      ',"calls":' +
      calls.toString() +
      ',"path":"' +
      (path === null ? '' : path) +
      '","place":"' +
      (place === null ? '' : place) +
      '"}',
  )
  return 0
}

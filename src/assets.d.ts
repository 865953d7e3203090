/** Files that are embedded into the binary as text. */

declare module '*.sql' {
  const text: string
  export default text
}

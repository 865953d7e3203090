/** What host functions answer below zero. */
export namespace Result {
  /** No header, variable or key of that name. */
  export const NotFound: i32 = -1
  /** An argument out of range, or a call at the wrong time. */
  export const Invalid: i32 = -2
  /** A key, value, name or label over its limit. */
  export const TooLarge: i32 = -3
  /** The function has used up what it may store. */
  export const QuotaFull: i32 = -4
  /** The node cannot do it now. */
  export const Unavailable: i32 = -5
  /** Of a fetch: the URL is not on the version's allow-list. */
  export const NotAllowed: i32 = -6
  /** Of a fetch: the host is at an address that is not public. */
  export const ForbiddenAddress: i32 = -7
  /** Of a fetch: it took longer than one may. */
  export const Timeout: i32 = -8
  /** Of a fetch: no such name, no connection, or a broken answer. */
  export const Network: i32 = -9
  /** Of a fetch: too many are open. */
  export const TooManyFetches: i32 = -10
  export const TooManyRedirects: i32 = -11
  /** Others were writing to the tables all the time. */
  export const Busy: i32 = -12
  /** SQLite refuses the statement. */
  export const SqlError: i32 = -13
}

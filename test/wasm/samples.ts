/** Valid modules that between them use every kind of section, type and immediate. */

export const HANDLE = `(func (export "handle") (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32)
  (result i32) i32.const 0)`
export const ALLOC = `(func (export "alloc") (param i32) (result i32) i32.const 1024)`
export const MEMORY = `(memory (export "memory") 1)`

/** The smallest module of the edgefn ABI. */
export const EDGEFN = `(module ${MEMORY} ${HANDLE} ${ALLOC})`
/** The smallest WAGI module. */
export const WAGI = `(module ${MEMORY} (func (export "_start")))`

/** Imports, host calls, a start function, globals, a table that may grow. */
export const HOSTED = `(module
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "clock_time_get" (func (param i32 i64 i32) (result i32)))
  (import "edgefn" "log" (func $log (param i32 i32 i32)))
  (import "env" "seed" (func $seed (result f64)))
  (memory (export "memory") 2 20)
  (global $g (mut i32) (i32.const 7))
  (global (export "version") i64 (i64.const -9223372036854775808))
  (global f32 (f32.const 1.5)) (global f64 (f64.const -0.0))
  (table (export "table") 4 funcref)
  (elem (i32.const 1) $write $begin)
  (func $begin (global.set $g (i32.const -1)))
  (start $begin)
  (func (export "_initialize"))
  ${HANDLE} ${ALLOC}
  (data (i32.const 16) "hello\\00world") (data "passive"))`

/** Control flow, multi-value, tables, references, bulk memory, SIMD, sign extension, saturating conversions. */
export const RICH = `(module
  (type $pair (func (param i32 i32) (result i32 i32)))
  (memory (export "memory") 1)
  (table $t 10 100 funcref) (table $x 2 externref)
  (global $v (mut v128) (v128.const i32x4 1 2 3 4))
  (global $f funcref (ref.func $swap)) (global $n externref (ref.null extern))
  (elem $e (table $t) (offset (i32.const 0)) func $swap $run)
  (elem $p func $swap) (elem declare func $run)
  (elem (table $t) (offset (i32.const 4)) funcref (ref.func $swap) (ref.null func))
  (elem $q externref (ref.null extern))
  (data $d "abc") (data (i32.const 8) "xyz")
  (func $swap (type $pair) (local i64 f32 f32 v128 funcref) local.get 1 local.get 0)
  (func $run (export "_start") (local $i i32) (local $r externref)
    (block $a (loop $b (if (local.get $i) (then br $a) (else br $b))
      (br_table $a $b $a (local.get $i))))
    (loop (param) (result i32) i32.const 1) drop
    i32.const 1 i32.const 2 (block (type $pair) call $swap) drop drop
    i32.const 1 i32.const 2 (if (type $pair) (i32.const 1) (then call $swap)) drop drop
    i32.const 3 i32.const 4 (call_indirect $t (type $pair) (i32.const 0)) drop drop
    (local.set $i (select (i32.const 1) (i32.const 2) (i32.const 3)))
    (drop (select (result externref) (local.get $r) (ref.null extern) (i32.const 0)))
    (drop (ref.is_null (table.get $x (i32.const 0)))) (table.set $x (i32.const 0) (local.get $r))
    (drop (table.grow $x (ref.null extern) (i32.const 1))) (drop (table.size $t))
    (table.fill $x (i32.const 0) (ref.null extern) (i32.const 1))
    (table.init $t $p (i32.const 0) (i32.const 0) (i32.const 1)) (elem.drop $p)
    (table.copy $t $t (i32.const 0) (i32.const 1) (i32.const 1))
    (memory.init $d (i32.const 0) (i32.const 0) (i32.const 3)) (data.drop $d)
    (memory.copy (i32.const 0) (i32.const 1) (i32.const 2))
    (memory.fill (i32.const 0) (i32.const 1) (i32.const 2))
    (i64.store offset=4294967295 align=2 (i32.const 0) (i64.const 9223372036854775807))
    (drop (memory.grow (memory.size))) (drop (i32.extend8_s (i32.trunc_sat_f64_u (f64.const 1e9))))
    (global.set $v (i8x16.shuffle 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 31
      (v128.load8_lane 15 (i32.const 0) (global.get $v)) (v128.load64_zero (i32.const 8))))
    (v128.store64_lane 1 (i32.const 0) (global.get $v))
    (drop (i64x2.extract_lane 1 (f32x4.replace_lane 3 (i32x4.splat (i32.const 1)) (f32.const 2))))
    (drop (f64x2.convert_low_i32x4_u (i8x16.swizzle (global.get $v) (global.get $v))))
    return))`

export const SAMPLES = { EDGEFN, WAGI, HOSTED, RICH } as const

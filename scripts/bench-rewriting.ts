/**
 * What the rewriting costs compiled code: each kernel compiled as it is and as edgefn runs it, called in turns in the same
 * process. Prints medians in milliseconds and the ratio of the two. Usage: bun scripts/bench-rewriting.ts [ROUNDS]
 */

import { DirectEngine } from './benchmarks/compute/direct-engine.ts'
import { geometricMean, median } from './benchmarks/statistics.ts'

const KERNELS: Readonly<Record<string, string>> = {
  'fib(30), recursion': `(func $fib (param i32) (result i32)
      (if (result i32) (i32.lt_u (local.get 0) (i32.const 2)) (then (local.get 0)) (else
        (i32.add (call $fib (i32.sub (local.get 0) (i32.const 1))) (call $fib (i32.sub (local.get 0) (i32.const 2)))))))
    (func (export "run") (result i32) (call $fib (i32.const 30)))`,
  'eleven queens, a loop of calls': `(func $place (param $n i32) (param $columns i32) (param $left i32) (param $right i32) (result i32)
      (local $free i32) (local $bit i32) (local $sum i32)
      (if (i32.eq (local.get $columns) (i32.const 2047)) (then (return (i32.const 1))))
      (local.set $free (i32.and (i32.const 2047) (i32.xor (i32.const -1)
        (i32.or (local.get $columns) (i32.or (local.get $left) (local.get $right))))))
      (block $done (loop $next
        (br_if $done (i32.eqz (local.get $free)))
        (local.set $bit (i32.and (local.get $free) (i32.sub (i32.const 0) (local.get $free))))
        (local.set $free (i32.xor (local.get $free) (local.get $bit)))
        (local.set $sum (i32.add (local.get $sum) (call $place (local.get $n)
          (i32.or (local.get $columns) (local.get $bit))
          (i32.shl (i32.or (local.get $left) (local.get $bit)) (i32.const 1))
          (i32.shr_u (i32.or (local.get $right) (local.get $bit)) (i32.const 1)))))
        (br $next)))
      (local.get $sum))
    (func (export "run") (result i32) (call $place (i32.const 11) (i32.const 0) (i32.const 0) (i32.const 0)))`,
  'fib(24) through a table': `(type $t (func (param i32) (result i32))) (table 2 funcref) (elem (i32.const 0) $even $odd)
    (func $even (type $t) (if (result i32) (i32.lt_u (local.get 0) (i32.const 2)) (then (local.get 0)) (else (i32.add
      (call_indirect (type $t) (i32.sub (local.get 0) (i32.const 1)) (i32.const 1))
      (call_indirect (type $t) (i32.sub (local.get 0) (i32.const 2)) (i32.and (local.get 0) (i32.const 1)))))))
    (func $odd (type $t) (call $even (local.get 0)))
    (func (export "run") (result i32) (call $even (i32.const 24)))`,
  'Mandelbrot set, 150 x 100': `(func (export "run") (result i32) (local $x i32) (local $y i32) (local $n i32) (local $sum i32)
      (local $cr f64) (local $ci f64) (local $a f64) (local $b f64) (local $t f64)
      (loop $rows (local.set $x (i32.const 0))
        (local.set $ci (f64.sub (f64.div (f64.convert_i32_u (local.get $y)) (f64.const 50)) (f64.const 1)))
        (loop $columns
          (local.set $cr (f64.sub (f64.div (f64.convert_i32_u (local.get $x)) (f64.const 50)) (f64.const 2)))
          (local.set $a (f64.const 0)) (local.set $b (f64.const 0)) (local.set $n (i32.const 0))
          (block $out (loop $steps
            (local.set $t (f64.add (f64.sub (f64.mul (local.get $a) (local.get $a)) (f64.mul (local.get $b) (local.get $b))) (local.get $cr)))
            (local.set $b (f64.add (f64.mul (f64.const 2) (f64.mul (local.get $a) (local.get $b))) (local.get $ci)))
            (local.set $a (local.get $t))
            (br_if $out (f64.gt (f64.add (f64.mul (local.get $a) (local.get $a)) (f64.mul (local.get $b) (local.get $b))) (f64.const 4)))
            (br_if $steps (i32.lt_u (local.tee $n (i32.add (local.get $n) (i32.const 1))) (i32.const 100)))))
          (local.set $sum (i32.add (local.get $sum) (local.get $n)))
          (br_if $columns (i32.lt_u (local.tee $x (i32.add (local.get $x) (i32.const 1))) (i32.const 150))))
        (br_if $rows (i32.lt_u (local.tee $y (i32.add (local.get $y) (i32.const 1))) (i32.const 100))))
      (local.get $sum))`,
  'sieve of 400 000': `(func (export "run") (result i32) (local $i i32) (local $j i32) (local $n i32)
      (memory.fill (i32.const 0) (i32.const 0) (i32.const 400000))
      (local.set $i (i32.const 2))
      (loop $outer
        (if (i32.eqz (i32.load8_u (local.get $i))) (then
          (local.set $n (i32.add (local.get $n) (i32.const 1)))
          (local.set $j (i32.add (local.get $i) (local.get $i)))
          (block $done (loop $inner
            (br_if $done (i32.ge_u (local.get $j) (i32.const 400000)))
            (i32.store8 (local.get $j) (i32.const 1))
            (local.set $j (i32.add (local.get $j) (local.get $i)))
            (br $inner)))))
        (br_if $outer (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 400000))))
      (local.get $n))`,
  'hash of 4 MB, a short loop': `(func (export "run") (result i32) (local $i i32) (local $h i32)
      (local.set $h (i32.const 0x811c9dc5))
      (loop $l
        (local.set $h (i32.mul (i32.xor (local.get $h) (i32.load8_u (i32.and (local.get $i) (i32.const 0xffff)))) (i32.const 16777619)))
        (br_if $l (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 4000000))))
      (local.get $h))`,
  'matrix product 96 x 96': `(func (export "run") (result i32) (local $i i32) (local $j i32) (local $k i32) (local $s f64)
      (local.set $i (i32.const 0))
      (loop $a (local.set $j (i32.const 0))
        (loop $b (local.set $k (i32.const 0)) (local.set $s (f64.const 0))
          (loop $c
            (local.set $s (f64.add (local.get $s) (f64.mul
              (f64.load (i32.shl (i32.add (i32.mul (local.get $i) (i32.const 96)) (local.get $k)) (i32.const 3)))
              (f64.load offset=80000 (i32.shl (i32.add (i32.mul (local.get $k) (i32.const 96)) (local.get $j)) (i32.const 3))))))
            (br_if $c (i32.lt_u (local.tee $k (i32.add (local.get $k) (i32.const 1))) (i32.const 96))))
          (f64.store offset=160000 (i32.shl (i32.add (i32.mul (local.get $i) (i32.const 96)) (local.get $j)) (i32.const 3)) (local.get $s))
          (br_if $b (i32.lt_u (local.tee $j (i32.add (local.get $j) (i32.const 1))) (i32.const 96))))
        (br_if $a (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 96))))
      (i32.const 1))`,
  'a chain of small calls': `(func $f (param i32) (result i32) (i32.xor (call $g (local.get 0)) (i32.const 5)))
    (func $g (param i32) (result i32) (i32.rotl (local.get 0) (i32.const 3)))
    (func (export "run") (result i32) (local $i i32) (local $x i32)
      (loop $l (local.set $x (call $f (local.get $x)))
        (br_if $l (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 3000000))))
      (local.get $x))`,
}

const rounds = Number(process.argv[2] ?? 15)
const engine = new DirectEngine()

function assemble(text: string): Uint8Array<ArrayBuffer> {
  const built = Bun.spawnSync(['wat2wasm', '-', '--output=-'], { stdin: Buffer.from(text) })
  if (built.exitCode !== 0) throw new Error(built.stderr.toString())
  return new Uint8Array(built.stdout)
}

const ratios: number[] = []
for (const [name, body] of Object.entries(KERNELS)) {
  const module = assemble(`(module (memory (export "memory") 8) ${body})`)
  const plain = engine.load(engine.compile(module), 0)
  const guarded = engine.load(engine.compile(engine.rewrite(module)), 0)
  const milliseconds = (call: typeof plain) => call().nanoseconds / 1e6
  const times = Array.from(
    { length: rounds },
    () => [milliseconds(plain), milliseconds(guarded)] as const,
  )
  const ratio = median(times.map(([before, after]) => after / before))
  ratios.push(ratio)
  const [before, after] = [0, 1].map((at) => median(times.map((pair) => pair[at] ?? 0)))
  console.log(
    `${name.padEnd(32)} as it is ${before?.toFixed(2)} ms   rewritten ${after?.toFixed(2)} ms   x ${ratio.toFixed(3)}`,
  )
}
console.log(`${'geometric mean'.padEnd(32)} x ${geometricMean(ratios).toFixed(3)}`)
process.exit(0)

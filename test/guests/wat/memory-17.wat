;; An edgefn guest whose memory starts at 17 pages, one more than memory_pages allows by default.
(module
  (memory (export "memory") 17)
  (data (i32.const 1024) "Content-Type: text/plain\0d\0a\0d\0aseventeen pages\0a")
  (global $next (mut i32) (i32.const 65536))
  (func (export "alloc") (param $size i32) (result i32)
    (global.get $next)
    (global.set $next (i32.add (global.get $next) (local.get $size))))
  (func (export "handle")
    (param $method i32) (param $method_len i32) (param $path i32) (param $path_len i32)
    (param $headers i32) (param $headers_len i32) (param $body i32) (param $body_len i32)
    (param $response i32) (param $response_cap i32) (result i32)
    (local $i i32)
    (loop $copy
      (i32.store8 (i32.add (local.get $response) (local.get $i))
        (i32.load8_u (i32.add (i32.const 1024) (local.get $i))))
      (local.set $i (i32.add (local.get $i) (i32.const 1)))
      (br_if $copy (i32.lt_u (local.get $i) (i32.const 44))))
    (i32.const 44)))

;; sleep: waits a minute in a call to the host (where no guest code runs that could be interrupted), then returns ok.
(component
  (import "fermyon:spin/redis-types" (instance $types
    (type $error (enum "success" "error")) (export "error" (type (eq $error)))))
  (alias export $types "error" (type $error))
  (import "wasi:io/poll@0.2.0" (instance $poll
    (export "pollable" (type $pollable (sub resource)))
    (export "[method]pollable.block" (func (param "self" (borrow $pollable))))))
  (alias export $poll "pollable" (type $pollable))
  (import "wasi:clocks/monotonic-clock@0.2.0" (instance $clock
    (alias outer 1 $pollable (type $pollable))
    (export "pollable" (type $pollable-export (eq $pollable)))
    (export "subscribe-duration" (func (param "when" u64) (result (own $pollable-export))))))
  (core func $subscribe (canon lower (func $clock "subscribe-duration")))
  (core func $block (canon lower (func $poll "[method]pollable.block")))
  (core module $program
    (import "host" "subscribe" (func $subscribe (param i64) (result i32)))
    (import "host" "block" (func $block (param i32)))
    (memory (export "memory") 17) ;; room for a payload of 1 MiB
    (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 16))
    (func (export "handle-message") (param i32 i32) (result i32)
      (call $block (call $subscribe (i64.const 60_000_000_000))) ;; nanoseconds
      (i32.const 0)))
  (core instance $program (instantiate $program (with "host" (instance
    (export "subscribe" (func $subscribe))
    (export "block" (func $block))))))
  (func $handle-message (param "message" (list u8)) (result (result (error $error)))
    (canon lift (core func $program "handle-message")
      (memory (core memory $program "memory")) (realloc (core func $program "realloc"))))
  (instance $handler (export "handle-message" (func $handle-message)))
  (export "fermyon:spin/inbound-redis" (instance $handler)))

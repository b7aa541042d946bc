;; slow: waits 50 ms for each message, then prints `Done: <payload>`. A payload may have 4000 bytes, since one
;; write prints it.
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
  (import "wasi:io/error@0.2.0" (instance $io-error (export "error" (type (sub resource)))))
  (alias export $io-error "error" (type $write-error))
  (import "wasi:io/streams@0.2.0" (instance $streams
    (export "output-stream" (type $output-stream (sub resource)))
    (alias outer 1 $write-error (type $write-error))
    (type $stream-error (variant (case "last-operation-failed" (own $write-error)) (case "closed")))
    (export "stream-error" (type $stream-error-export (eq $stream-error)))
    (export "[method]output-stream.blocking-write-and-flush" (func
      (param "self" (borrow $output-stream)) (param "contents" (list u8))
      (result (result (error $stream-error-export)))))))
  (alias export $streams "output-stream" (type $output-stream))
  (import "wasi:cli/stdout@0.2.0" (instance $stdout
    (alias outer 1 $output-stream (type $output-stream))
    (export "output-stream" (type $output-stream-export (eq $output-stream)))
    (export "get-stdout" (func (result (own $output-stream-export))))))

  ;; 0: the answer of a write, 12: the answer `ok`, 26: the words before the payload, 32: the payload.
  (core module $memory
    (memory (export "memory") 1)
    (data (i32.const 26) "Done: ")
    (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 32)))
  (core instance $memory (instantiate $memory))

  (core func $subscribe (canon lower (func $clock "subscribe-duration")))
  (core func $block (canon lower (func $poll "[method]pollable.block")))
  (core func $drop-pollable (canon resource.drop $pollable))
  (core func $get-stdout (canon lower (func $stdout "get-stdout")))
  (core func $write (canon lower (func $streams "[method]output-stream.blocking-write-and-flush")
    (memory (core memory $memory "memory"))))
  (core func $drop-stream (canon resource.drop $output-stream))

  (core module $program
    (import "host" "memory" (memory 1))
    (import "host" "subscribe" (func $subscribe (param i64) (result i32)))
    (import "host" "block" (func $block (param i32)))
    (import "host" "drop-pollable" (func $drop-pollable (param i32)))
    (import "host" "get-stdout" (func $get-stdout (result i32)))
    (import "host" "write" (func $write (param i32 i32 i32 i32)))
    (import "host" "drop-stream" (func $drop-stream (param i32)))
    (func (export "handle-message") (param $payload i32) (param $length i32) (result i32)
      (local $handle i32)
      (local.set $handle (call $subscribe (i64.const 50_000_000))) ;; nanoseconds
      (call $block (local.get $handle))
      (call $drop-pollable (local.get $handle))
      (i32.store8 (i32.add (local.get $payload) (local.get $length)) (i32.const 10)) ;; newline
      (local.set $handle (call $get-stdout))
      (call $write (local.get $handle) (i32.const 26) (i32.add (local.get $length) (i32.const 7)) (i32.const 0))
      (call $drop-stream (local.get $handle))
      (i32.const 12)))
  (core instance $program (instantiate $program (with "host" (instance
    (export "memory" (memory $memory "memory"))
    (export "subscribe" (func $subscribe))
    (export "block" (func $block))
    (export "drop-pollable" (func $drop-pollable))
    (export "get-stdout" (func $get-stdout))
    (export "write" (func $write))
    (export "drop-stream" (func $drop-stream))))))
  (func $handle-message (param "message" (list u8)) (result (result (error $error)))
    (canon lift (core func $program "handle-message")
      (memory (core memory $memory "memory")) (realloc (core func $memory "realloc"))))
  (instance $handler (export "handle-message" (func $handle-message)))
  (export "fermyon:spin/inbound-redis" (instance $handler)))

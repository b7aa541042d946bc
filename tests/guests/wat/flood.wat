;; flood: prints one line of 1 MiB (all x), then a thousand short lines `line 000` to `line 999`.
(component
  (import "fermyon:spin/redis-types" (instance $types
    (type $error (enum "success" "error")) (export "error" (type (eq $error)))))
  (alias export $types "error" (type $error))
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

  ;; 0: the answer of a write, 12: the answer `ok`, 16: a short line, 32: the payload, which is not used,
  ;; 65536: the x's. The payload may overwrite them: they are filled in for each call.
  (core module $memory
    (memory (export "memory") 18)
    (data (i32.const 16) "line 000\n")
    (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 32)))
  (core instance $memory (instantiate $memory))

  (core func $get-stdout (canon lower (func $stdout "get-stdout")))
  (core func $write (canon lower (func $streams "[method]output-stream.blocking-write-and-flush")
    (memory (core memory $memory "memory"))))

  (core module $program
    (import "host" "memory" (memory 1))
    (import "host" "get-stdout" (func $get-stdout (result i32)))
    (import "host" "write" (func $write (param i32 i32 i32 i32)))
    (func (export "handle-message") (param i32 i32) (result i32)
      (local $stream i32) (local $n i32)
      (local.set $stream (call $get-stdout))
      (memory.fill (i32.const 65536) (i32.const 120) (i32.const 1048576))
      (i32.store8 (i32.const 1114112) (i32.const 10)) ;; newline behind the x's
      (loop $pieces ;; 256 writes of 4096 bytes, the most that one may have
        (call $write (local.get $stream)
          (i32.add (i32.const 65536) (i32.mul (local.get $n) (i32.const 4096))) (i32.const 4096) (i32.const 0))
        (local.set $n (i32.add (local.get $n) (i32.const 1)))
        (br_if $pieces (i32.lt_u (local.get $n) (i32.const 256))))
      (call $write (local.get $stream) (i32.const 1114112) (i32.const 1) (i32.const 0))
      (local.set $n (i32.const 0))
      (loop $lines
        ;; The three digits of n; 48 is the character 0.
        (i32.store8 (i32.const 21) (i32.add (i32.const 48) (i32.div_u (local.get $n) (i32.const 100))))
        (i32.store8 (i32.const 22) (i32.add (i32.const 48)
          (i32.rem_u (i32.div_u (local.get $n) (i32.const 10)) (i32.const 10))))
        (i32.store8 (i32.const 23) (i32.add (i32.const 48) (i32.rem_u (local.get $n) (i32.const 10))))
        (call $write (local.get $stream) (i32.const 16) (i32.const 9) (i32.const 0))
        (local.set $n (i32.add (local.get $n) (i32.const 1)))
        (br_if $lines (i32.lt_u (local.get $n) (i32.const 1000))))
      (i32.const 12)))
  (core instance $program (instantiate $program (with "host" (instance
    (export "memory" (memory $memory "memory"))
    (export "get-stdout" (func $get-stdout))
    (export "write" (func $write))))))
  (func $handle-message (param "message" (list u8)) (result (result (error $error)))
    (canon lift (core func $program "handle-message")
      (memory (core memory $memory "memory")) (realloc (core func $memory "realloc"))))
  (instance $handler (export "handle-message" (func $handle-message)))
  (export "fermyon:spin/inbound-redis" (instance $handler)))

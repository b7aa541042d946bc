;; env: prints each environment variable as `NAME=VALUE` and each argument as `arg: VALUE` to stdout, then the line
;; `this line goes to stderr` to stderr. A name or value may have 4 KiB, the most of one write.
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
  (import "wasi:cli/stderr@0.2.0" (instance $stderr
    (alias outer 1 $output-stream (type $output-stream))
    (export "output-stream" (type $output-stream-export (eq $output-stream)))
    (export "get-stderr" (func (result (own $output-stream-export))))))
  (import "wasi:cli/environment@0.2.0" (instance $environment
    (export "get-environment" (func (result (list (tuple string string)))))
    (export "get-arguments" (func (result (list string))))))

  ;; 0: the answer of a write, 12: the answer `ok`, 16: address and length of a list, 32: the words,
  ;; 1024: whatever the host hands in, one behind the other, never freed.
  (core module $memory
    (memory (export "memory") 17)
    (data (i32.const 32) "=\narg: this line goes to stderr\n")
    (global $free (mut i32) (i32.const 1024))
    (func (export "realloc") (param $old i32) (param $old-size i32) (param $align i32) (param $size i32) (result i32)
      (local $start i32)
      ;; Rounded up to a multiple of 4, the strictest alignment here.
      (local.set $start (i32.and (i32.add (global.get $free) (i32.const 3)) (i32.const -4)))
      (global.set $free (i32.add (local.get $start) (local.get $size)))
      (local.get $start)))
  (core instance $memory (instantiate $memory))

  (core func $get-stdout (canon lower (func $stdout "get-stdout")))
  (core func $get-stderr (canon lower (func $stderr "get-stderr")))
  (core func $write (canon lower (func $streams "[method]output-stream.blocking-write-and-flush")
    (memory (core memory $memory "memory"))))
  (core func $get-environment (canon lower (func $environment "get-environment")
    (memory (core memory $memory "memory")) (realloc (core func $memory "realloc"))))
  (core func $get-arguments (canon lower (func $environment "get-arguments")
    (memory (core memory $memory "memory")) (realloc (core func $memory "realloc"))))

  (core module $program
    (import "host" "memory" (memory 1))
    (import "host" "get-stdout" (func $get-stdout (result i32)))
    (import "host" "get-stderr" (func $get-stderr (result i32)))
    (import "host" "write" (func $write (param i32 i32 i32 i32)))
    (import "host" "get-environment" (func $get-environment (param i32)))
    (import "host" "get-arguments" (func $get-arguments (param i32)))
    (global $stdout (mut i32) (i32.const 0))
    (func $print (param $start i32) (param $length i32)
      (call $write (global.get $stdout) (local.get $start) (local.get $length) (i32.const 0)))
    ;; Prints the string whose address and length lie at $at.
    (func $print-string (param $at i32)
      (call $print (i32.load (local.get $at)) (i32.load offset=4 (local.get $at))))
    (func (export "handle-message") (param i32 i32) (result i32)
      (local $item i32) (local $end i32)
      (global.set $stdout (call $get-stdout))
      (call $get-environment (i32.const 16))
      (local.set $item (i32.load (i32.const 16)))
      (local.set $end (i32.add (local.get $item) (i32.mul (i32.load (i32.const 20)) (i32.const 16))))
      (block $done
        (loop $next
          (br_if $done (i32.eq (local.get $item) (local.get $end)))
          (call $print-string (local.get $item))
          (call $print (i32.const 32) (i32.const 1)) ;; =
          (call $print-string (i32.add (local.get $item) (i32.const 8)))
          (call $print (i32.const 33) (i32.const 1)) ;; newline
          (local.set $item (i32.add (local.get $item) (i32.const 16)))
          (br $next)))
      (call $get-arguments (i32.const 16))
      (local.set $item (i32.load (i32.const 16)))
      (local.set $end (i32.add (local.get $item) (i32.mul (i32.load (i32.const 20)) (i32.const 8))))
      (block $done
        (loop $next
          (br_if $done (i32.eq (local.get $item) (local.get $end)))
          (call $print (i32.const 34) (i32.const 5)) ;; arg:
          (call $print-string (local.get $item))
          (call $print (i32.const 33) (i32.const 1))
          (local.set $item (i32.add (local.get $item) (i32.const 8)))
          (br $next)))
      (call $write (call $get-stderr) (i32.const 39) (i32.const 25) (i32.const 0))
      (i32.const 12)))
  (core instance $program (instantiate $program (with "host" (instance
    (export "memory" (memory $memory "memory"))
    (export "get-stdout" (func $get-stdout))
    (export "get-stderr" (func $get-stderr))
    (export "write" (func $write))
    (export "get-environment" (func $get-environment))
    (export "get-arguments" (func $get-arguments))))))
  (func $handle-message (param "message" (list u8)) (result (result (error $error)))
    (canon lift (core func $program "handle-message")
      (memory (core memory $memory "memory")) (realloc (core func $memory "realloc"))))
  (instance $handler (export "handle-message" (func $handle-message)))
  (export "fermyon:spin/inbound-redis" (instance $handler)))

;; async: prints `Got message: <payload>` through the asynchronous handler of the Spin SDKs since 6, in the form they
;; produce it: a function that is started, returns its result by a call (`task.return`) and says by a code that it is
;; done. examples/hello/hello.wat explains the rest.
(component
  (import "spin:redis/redis@3.0.0" (instance $redis
    (type $error (variant
      (case "invalid-address") (case "too-many-connections") (case "type-error") (case "other" string)))
    (export "error" (type (eq $error)))))
  (alias export $redis "error" (type $error))
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

  ;; 0: the answer of a write. 19: the words before the payload, 32: the payload (at most 4000 bytes, since one write
  ;; prints it).
  (core module $memory
    (memory (export "memory") 1)
    (data (i32.const 19) "Got message: ")
    (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 32)))
  (core instance $memory (instantiate $memory))

  (core func $get-stdout (canon lower (func $stdout "get-stdout")))
  (core func $write (canon lower (func $streams "[method]output-stream.blocking-write-and-flush")
    (memory (core memory $memory "memory"))))
  (core func $drop-stream (canon resource.drop $output-stream))
  (core func $task-return (canon task.return (result (result (error $error))) (memory (core memory $memory "memory"))))

  (core module $program
    (import "host" "memory" (memory 1))
    (import "host" "get-stdout" (func $get-stdout (result i32)))
    (import "host" "write" (func $write (param i32 i32 i32 i32)))
    (import "host" "drop-stream" (func $drop-stream (param i32)))
    ;; ok or err, and for err: which error, address and length of its text
    (import "host" "task-return" (func $task-return (param i32 i32 i32 i32)))
    (func (export "handle-message") (param $payload i32) (param $length i32) (result i32)
      (local $stream i32)
      (i32.store8 (i32.add (local.get $payload) (local.get $length)) (i32.const 10))
      (local.set $stream (call $get-stdout))
      (call $write (local.get $stream) (i32.const 19) (i32.add (local.get $length) (i32.const 14)) (i32.const 0))
      (call $drop-stream (local.get $stream))
      (call $task-return (i32.load8_u (i32.const 0)) (i32.const 0) (i32.const 0) (i32.const 0))
      (i32.const 0)) ;; EXIT: nothing is waited for
    ;; Called with the event that was waited for: there is never one.
    (func (export "callback") (param i32 i32 i32) (result i32) (unreachable)))
  (core instance $program (instantiate $program
    (with "host" (instance
      (export "memory" (memory $memory "memory"))
      (export "get-stdout" (func $get-stdout))
      (export "write" (func $write))
      (export "drop-stream" (func $drop-stream))
      (export "task-return" (func $task-return))))))

  (func $handle-message async (param "message" (list u8)) (result (result (error $error)))
    (canon lift (core func $program "handle-message")
      async (callback (core func $program "callback"))
      (memory (core memory $memory "memory")) (realloc (core func $memory "realloc"))))
  (instance $handler (export "handle-message" (func $handle-message)))
  (export "spin:redis/inbound-redis@3.0.0" (instance $handler)))

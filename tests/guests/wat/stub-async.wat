;; stub-async: calls the asynchronous `open-async` of `spin:sqlite/sqlite@3.1.0`, which this runtime has not, for a payload
;; that begins with `s`. Any other payload is handled without a call.
(component
  (import "spin:redis/redis@3.0.0" (instance $redis
    (type $error (variant
      (case "invalid-address") (case "too-many-connections") (case "type-error") (case "other" string)))
    (export "error" (type (eq $error)))))
  (alias export $redis "error" (type $error))
  (import "spin:sqlite/sqlite@3.1.0" (instance $sqlite
    (export "connection" (type $connection (sub resource)))
    (type $error (variant
      (case "no-such-database") (case "access-denied") (case "invalid-connection") (case "database-full") (case "io" string)))
    (export "error" (type $sqlite-error (eq $error)))
    (export "[static]connection.open-async" (func async (param "database" string)
      (result (result (own $connection) (error $sqlite-error)))))))

  (core module $memory
    (memory (export "memory") 17) ;; room for a payload of 1 MiB
    (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 64)))
  (core instance $memory (instantiate $memory))

  ;; Lowered without `async`: the call returns when the answer is there.
  (core func $open (canon lower (func $sqlite "[static]connection.open-async")
    (memory (core memory $memory "memory")) (realloc (core func $memory "realloc"))))
  (core func $task-return (canon task.return (result (result (error $error))) (memory (core memory $memory "memory"))))

  (core module $program
    (import "host" "memory" (memory 17))
    ;; name, address for the answer
    (import "host" "open" (func $open (param i32 i32 i32)))
    ;; ok or err, and for err: which error, address and length of its text
    (import "host" "task-return" (func $task-return (param i32 i32 i32 i32)))
    (func (export "handle-message") (param $payload i32) (param $length i32) (result i32)
      (if (i32.eq (i32.load8_u (local.get $payload)) (i32.const 0x73)) ;; s
        (then (call $open (local.get $payload) (local.get $length) (i32.const 8))))
      (call $task-return (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0))
      (i32.const 0)) ;; EXIT: nothing is waited for
    ;; Called with the event that was waited for: there is never one.
    (func (export "callback") (param i32 i32 i32) (result i32) (unreachable)))
  (core instance $program (instantiate $program
    (with "host" (instance
      (export "memory" (memory $memory "memory"))
      (export "open" (func $open))
      (export "task-return" (func $task-return))))))

  (func $handle-message async (param "message" (list u8)) (result (result (error $error)))
    (canon lift (core func $program "handle-message")
      async (callback (core func $program "callback"))
      (memory (core memory $memory "memory")) (realloc (core func $memory "realloc"))))
  (instance $handler (export "handle-message" (func $handle-message)))
  (export "spin:redis/inbound-redis@3.0.0" (instance $handler)))

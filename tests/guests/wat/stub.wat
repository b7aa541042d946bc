;; stub: calls what this runtime has not: `open` of `spin:sqlite/sqlite@3.1.0` for a payload that begins with `s`, and
;; `infer` of `fermyon:spin/llm@2.0.0` for one that begins with `l`. Any other payload is handled without a call.
(component
  (import "fermyon:spin/redis-types" (instance $types
    (type $error (enum "success" "error")) (export "error" (type (eq $error)))))
  (alias export $types "error" (type $error))

  (import "spin:sqlite/sqlite@3.1.0" (instance $sqlite
    (export "connection" (type $connection (sub resource)))
    (type $error (variant
      (case "no-such-database") (case "access-denied") (case "invalid-connection") (case "database-full") (case "io" string)))
    (export "error" (type $sqlite-error (eq $error)))
    (export "[static]connection.open" (func (param "database" string) (result (result (own $connection) (error $sqlite-error)))))))

  (import "fermyon:spin/llm@2.0.0" (instance $llm
    (type $params (record
      (field "max-tokens" u32) (field "repeat-penalty" f32) (field "repeat-penalty-last-n-token-count" u32)
      (field "temperature" f32) (field "top-k" u32) (field "top-p" f32)))
    (export "inferencing-params" (type $llm-params (eq $params)))
    (type $usage (record (field "prompt-token-count" u32) (field "generated-token-count" u32)))
    (export "inferencing-usage" (type $llm-usage (eq $usage)))
    (type $answer (record (field "text" string) (field "usage" $llm-usage)))
    (export "inferencing-result" (type $llm-answer (eq $answer)))
    (type $error (variant (case "model-not-supported") (case "runtime-error" string) (case "invalid-input" string)))
    (export "error" (type $llm-error (eq $error)))
    (export "infer" (func (param "model" string) (param "prompt" string) (param "params" (option $llm-params))
      (result (result $llm-answer (error $llm-error)))))))

  (core module $memory
    (memory (export "memory") 17) ;; room for a payload of 1 MiB
    (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 64)))
  (core instance $memory (instantiate $memory))

  (core func $open (canon lower (func $sqlite "[static]connection.open")
    (memory (core memory $memory "memory")) (realloc (core func $memory "realloc"))))
  (core func $infer (canon lower (func $llm "infer")
    (memory (core memory $memory "memory")) (realloc (core func $memory "realloc"))))

  ;; 0: the answer `ok`, 8: the answer of a call.
  (core module $program
    (import "host" "memory" (memory 17))
    ;; name, address for the answer
    (import "host" "open" (func $open (param i32 i32 i32)))
    ;; model, prompt, no parameters and the places of their six fields, address for the answer
    (import "host" "infer" (func $infer (param i32 i32 i32 i32 i32 i32 f32 i32 f32 i32 f32 i32)))
    (func (export "handle-message") (param $payload i32) (param $length i32) (result i32)
      (local $first i32)
      (local.set $first (i32.load8_u (local.get $payload)))
      (if (i32.eq (local.get $first) (i32.const 0x73)) ;; s
        (then (call $open (local.get $payload) (local.get $length) (i32.const 8))))
      (if (i32.eq (local.get $first) (i32.const 0x6c)) ;; l
        (then (call $infer
          (local.get $payload) (local.get $length) (local.get $payload) (local.get $length)
          (i32.const 0) (i32.const 0) (f32.const 0) (i32.const 0) (f32.const 0) (i32.const 0) (f32.const 0)
          (i32.const 8))))
      (i32.const 0)))
  (core instance $program (instantiate $program
    (with "host" (instance
      (export "memory" (memory $memory "memory"))
      (export "open" (func $open))
      (export "infer" (func $infer))))))

  (func $handle-message (param "message" (list u8)) (result (result (error $error)))
    (canon lift (core func $program "handle-message")
      (memory (core memory $memory "memory")) (realloc (core func $memory "realloc"))))
  (instance $handler (export "handle-message" (func $handle-message)))
  (export "fermyon:spin/inbound-redis" (instance $handler)))

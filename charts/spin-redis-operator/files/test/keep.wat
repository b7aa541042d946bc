;; keep: puts each Redis message under the key `answer` of the key-value store `default`, where `helm test` looks for it.
;;
;; A component in the text format of WebAssembly, so that the test needs no registry. What it does with the interfaces of
;; Spin's first SDKs, examples/hello/hello.wat explains line by line.
(component
  (import "fermyon:spin/redis-types" (instance $redis-types
    (type $error (enum "success" "error"))
    (export "error" (type (eq $error)))))
  (alias export $redis-types "error" (type $error))

  (import "fermyon:spin/key-value" (instance $key-value
    (type $number u32)
    (export "store" (type $store (eq $number)))
    (type $why (variant
      (case "store-table-full") (case "no-such-store") (case "access-denied") (case "invalid-store") (case "no-such-key")
      (case "io" string)))
    (export "error" (type $error (eq $why)))
    (export "open" (func (param "name" string) (result (result $store (error $error)))))
    (export "set" (func (param "store" $store) (param "key" string) (param "value" (list u8)) (result (result (error $error)))))))

  ;;    0  what a call answered: 0 at the first byte when it worked, a store's number at 4
  ;;   16  the handler's answer `ok` (two zeros), at 18 `err(error)`
  ;;   32  "default", at 40 "answer"
  ;; 1024  the payload
  (core module $memory
    (memory (export "memory") 1)
    (data (i32.const 18) "\01\01")
    (data (i32.const 32) "default")
    (data (i32.const 40) "answer")
    (func (export "realloc") (param $old i32) (param $old-size i32) (param $align i32) (param $size i32) (result i32)
      (if (i32.gt_u (local.get $size) (i32.const 60000)) (then unreachable)) ;; the test sends less
      (i32.const 1024)))
  (core instance $memory (instantiate $memory))

  (core func $open (canon lower (func $key-value "open")
    (memory (core memory $memory "memory")) (realloc (core func $memory "realloc"))))
  (core func $set (canon lower (func $key-value "set")
    (memory (core memory $memory "memory")) (realloc (core func $memory "realloc"))))

  (core module $program
    (import "host" "memory" (memory 1))
    (import "host" "open" (func $open (param i32 i32 i32)))
    (import "host" "set" (func $set (param i32 i32 i32 i32 i32 i32)))
    (func (export "handle-message") (param $payload i32) (param $length i32) (result i32)
      (call $open (i32.const 32) (i32.const 7) (i32.const 0))
      (if (i32.load8_u (i32.const 0)) (then (return (i32.const 18))))
      (call $set (i32.load (i32.const 4)) (i32.const 40) (i32.const 6) (local.get $payload) (local.get $length) (i32.const 0))
      (if (i32.load8_u (i32.const 0)) (then (return (i32.const 18))))
      (i32.const 16)))
  (core instance $program (instantiate $program
    (with "host" (instance
      (export "memory" (memory $memory "memory"))
      (export "open" (func $open))
      (export "set" (func $set))))))

  (func $handle-message (param "message" (list u8)) (result (result (error $error)))
    (canon lift (core func $program "handle-message")
      (memory (core memory $memory "memory"))
      (realloc (core func $memory "realloc"))))
  (instance $handler (export "handle-message" (func $handle-message)))
  (export "fermyon:spin/inbound-redis" (instance $handler)))

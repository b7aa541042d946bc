;; two-handlers: exports the synchronous and the asynchronous handler, so that nobody can say which one is meant.
(component
  (import "fermyon:spin/redis-types" (instance $types
    (type $error (enum "success" "error")) (export "error" (type (eq $error)))))
  (alias export $types "error" (type $error))
  (import "spin:redis/redis@3.0.0" (instance $redis
    (type $error (variant
      (case "invalid-address") (case "too-many-connections") (case "type-error") (case "other" string)))
    (export "error" (type (eq $error)))))
  (alias export $redis "error" (type $redis-error))
  (core module $program
    (memory (export "memory") 17) ;; room for a payload of 1 MiB
    (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 16))
    (func (export "handle-message") (param i32 i32) (result i32) (i32.const 0))) ;; ok, in either form
  (core instance $program (instantiate $program))
  (func $handle-message (param "message" (list u8)) (result (result (error $error)))
    (canon lift (core func $program "handle-message")
      (memory (core memory $program "memory")) (realloc (core func $program "realloc"))))
  (instance $handler (export "handle-message" (func $handle-message)))
  (export "fermyon:spin/inbound-redis" (instance $handler))
  ;; An async function may also be lifted as an ordinary one; hello and async show the rest.
  (func $handle-message-3 async (param "message" (list u8)) (result (result (error $redis-error)))
    (canon lift (core func $program "handle-message")
      (memory (core memory $program "memory")) (realloc (core func $program "realloc"))))
  (instance $handler-3 (export "handle-message" (func $handle-message-3)))
  (export "spin:redis/inbound-redis@3.0.0" (instance $handler-3)))

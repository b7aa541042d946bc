;; unsupported-import: has the right handler, and needs a function that no runtime offers.
(component
  (import "fermyon:spin/redis-types" (instance $types
    (type $error (enum "success" "error")) (export "error" (type (eq $error)))))
  (alias export $types "error" (type $error))
  (import "acme:host/secret-sauce" (instance $sauce (export "pour" (func))))
  (core func $pour (canon lower (func $sauce "pour")))
  (core module $program
    (import "host" "pour" (func $pour))
    (memory (export "memory") 17) ;; room for a payload of 1 MiB
    (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 16))
    (func (export "handle-message") (param i32 i32) (result i32) (call $pour) (i32.const 0)))
  (core instance $program (instantiate $program (with "host" (instance (export "pour" (func $pour))))))
  (func $handle-message (param "message" (list u8)) (result (result (error $error)))
    (canon lift (core func $program "handle-message")
      (memory (core memory $program "memory")) (realloc (core func $program "realloc"))))
  (instance $handler (export "handle-message" (func $handle-message)))
  (export "fermyon:spin/inbound-redis" (instance $handler)))

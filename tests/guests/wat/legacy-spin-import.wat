;; legacy-spin-import: the core module of Spin of 2022 (see legacy.wat for the ABI) which also wants to publish through Spin:
;; `publish` of `outbound-redis`, as wit/ephemeral/outbound-redis.wit of fermyon/spin named it. Its arguments are address,
;; length and so on of three byte strings (address, channel, payload), then where the result goes.
(module
  (import "outbound-redis" "publish" (func $publish (param i32 i32 i32 i32 i32 i32 i32)))
  (memory (export "memory") 17) ;; room for a payload of 1 MiB
  (data (i32.const 32) "redis://127.0.0.1:6379")
  (data (i32.const 64) "answers")
  (func (export "canonical_abi_realloc") (param i32 i32 i32 i32) (result i32) (i32.const 128))
  (func (export "canonical_abi_free") (param i32 i32 i32))
  (func (export "handle-redis-message") (param $payload i32) (param $length i32) (result i32)
    (call $publish
      (i32.const 32) (i32.const 22)
      (i32.const 64) (i32.const 7)
      (local.get $payload) (local.get $length)
      (i32.const 16))
    (i32.const 0)))

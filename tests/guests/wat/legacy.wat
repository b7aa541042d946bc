;; legacy: a core module as Spin of 2022 (0.1 to 0.10) called it, before there were components. It behaves like the guests of
;; the matrix (see ../README.md).
;;
;; The ABI is the canonical ABI of wit-bindgen of that year, and looks the same for every SDK:
;;   handle-redis-message: (payload: i32, length: i32) -> i32
;;     The caller takes `length` bytes with canonical_abi_realloc(0, 0, 1, length), copies the payload there and passes both;
;;     they belong to the guest from then on. What is returned is the address of `expected<_, error>`, in memory that stays
;;     the guest's: nobody frees it, and there is no post-return function.
;;       until the middle of 2022: slots of 8 bytes; an i32 at +0, 0 for ok and 1 for an error; an i32 at +8, the error
;;       after that: a byte at +0, 0 for ok and 1 for an error; a byte at +1, the error
;;     WebAssembly is little-endian, so the byte at +0 tells ok (0) from an error (1) in both. The error is the enum
;;     {success, error} and carries nothing.
;;   canonical_abi_realloc: (old: i32, old size: i32, align: i32, new size: i32) -> i32
;;   canonical_abi_free: (address: i32, size: i32, align: i32); the host has no use for it here
;; Spin made an instance for each message and called the handler, and nothing before it that the trigger's source shows.
;; Found in fermyon/spin (now spinframework/spin): wit/ephemeral/spin-redis.wit and wit/ephemeral/redis-types.wit for the
;; types, sdk/go/redis/spin-redis.c for both layouts of the result (the file's history has both), crates/redis/src/spin.rs
;; for how it was called.
(module
  (import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $proc_exit (param i32)))
  (memory (export "memory") 1)
  (global $free (mut i32) (i32.const 4096))
  ;; 0: the result. 16: what fd_write takes. 32: how many bytes it wrote. 64 and on: texts. 160: a line that is put together.
  (data (i32.const 64) "ok")
  (data (i32.const 72) "error")
  (data (i32.const 80) "trap")
  (data (i32.const 88) "loop")
  (data (i32.const 96) "memory")
  (data (i32.const 104) "handled ok\n")
  (data (i32.const 120) "got ")
  (data (i32.const 128) " bytes\n")

  (func $realloc (export "canonical_abi_realloc") (param $old i32) (param $old_size i32) (param $align i32) (param $size i32) (result i32)
    (local $at i32)
    (local.set $at
      (i32.and
        (i32.add (global.get $free) (i32.sub (local.get $align) (i32.const 1)))
        (i32.sub (i32.const 0) (local.get $align))))
    (global.set $free (i32.add (local.get $at) (local.get $size)))
    (block $enough
      (loop $more
        (br_if $enough (i32.le_u (global.get $free) (i32.shl (memory.size) (i32.const 16))))
        (br_if $more (i32.ne (memory.grow (i32.const 1)) (i32.const -1)))
        (unreachable)))
    (memory.copy (local.get $at) (local.get $old) (local.get $old_size))
    (local.get $at))
  (func (export "canonical_abi_free") (param i32 i32 i32))

  (func $print (param $text i32) (param $length i32)
    (i32.store (i32.const 16) (local.get $text))
    (i32.store (i32.const 20) (local.get $length))
    (if (call $fd_write (i32.const 1) (i32.const 16) (i32.const 1) (i32.const 32))
      (then (call $proc_exit (i32.const 1)))))

  ;; Whether the payload is that text.
  (func $is (param $text i32) (param $text_length i32) (param $payload i32) (param $length i32) (result i32)
    (if (i32.ne (local.get $text_length) (local.get $length)) (then (return (i32.const 0))))
    (loop $next
      (if (i32.eqz (local.get $length)) (then (return (i32.const 1))))
      (local.set $length (i32.sub (local.get $length) (i32.const 1)))
      (br_if $next
        (i32.eq
          (i32.load8_u (i32.add (local.get $text) (local.get $length)))
          (i32.load8_u (i32.add (local.get $payload) (local.get $length))))))
    (i32.const 0))

  (func $print_number (param $number i32)
    (local $at i32)
    (local.set $at (i32.const 176))
    (loop $digit
      (local.set $at (i32.sub (local.get $at) (i32.const 1)))
      (i32.store8 (local.get $at) (i32.add (i32.const 48) (i32.rem_u (local.get $number) (i32.const 10))))
      (local.set $number (i32.div_u (local.get $number) (i32.const 10)))
      (br_if $digit (local.get $number)))
    (call $print (local.get $at) (i32.sub (i32.const 176) (local.get $at))))

  (func (export "handle-redis-message") (param $payload i32) (param $length i32) (result i32)
    (i64.store (i32.const 0) (i64.const 0))
    (i64.store (i32.const 8) (i64.const 0))
    (if (call $is (i32.const 64) (i32.const 2) (local.get $payload) (local.get $length))
      (then
        (call $print (i32.const 104) (i32.const 11))
        (return (i32.const 0))))
    (if (call $is (i32.const 72) (i32.const 5) (local.get $payload) (local.get $length))
      (then
        (i32.store (i32.const 0) (i32.const 1))
        (i32.store (i32.const 8) (i32.const 1))
        (return (i32.const 0))))
    (if (call $is (i32.const 80) (i32.const 4) (local.get $payload) (local.get $length)) (then (unreachable)))
    (if (call $is (i32.const 88) (i32.const 4) (local.get $payload) (local.get $length)) (then (loop $forever (br $forever))))
    (if (call $is (i32.const 96) (i32.const 6) (local.get $payload) (local.get $length))
      (then
        (loop $more
          (br_if $more (i32.ne (memory.grow (i32.const 16)) (i32.const -1))))
        (unreachable)))
    (call $print (i32.const 120) (i32.const 4))
    (call $print_number (local.get $length))
    (call $print (i32.const 128) (i32.const 7))
    (i32.const 0)))

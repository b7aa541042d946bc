;; hello: prints `Got message: <payload>` for each Redis message.
;;
;; This is what the Rust source beside it (src/lib.rs) does, written by hand in the text format of WebAssembly, so that
;; it runs without a build. It also fits as it is under `data` of a ConfigMap. Write your own handlers in Rust,
;; JavaScript, Python or Go; read this one to see what such a language produces for you.
;;
;; A component is a box with typed imports and exports. Inside it are core modules: code that knows only numbers and
;; its own memory. The component's job is to turn a typed call into numbers ("lift") and back ("lower").

(component
  ;; ---- Imports: what the host must offer ---------------------------------------------------------------------------

  ;; Types only: what a handler returns when it fails. The Spin SDKs import it the same way.
  (import "fermyon:spin/redis-types" (instance $redis-types
    (type $error (enum "success" "error"))
    (export "error" (type (eq $error)))))
  (alias export $redis-types "error" (type $error))

  ;; The part of wasi:io and wasi:cli that is needed to print. A resource is a handle to something the host keeps.
  (import "wasi:io/error@0.2.0" (instance $io-error
    (export "error" (type (sub resource)))))
  (alias export $io-error "error" (type $write-error))

  (import "wasi:io/streams@0.2.0" (instance $streams
    (export "output-stream" (type $output-stream (sub resource)))
    (alias outer 1 $write-error (type $write-error))
    (type $stream-error (variant (case "last-operation-failed" (own $write-error)) (case "closed")))
    (export "stream-error" (type $stream-error-export (eq $stream-error)))
    (export "[method]output-stream.blocking-write-and-flush" (func
      (param "self" (borrow $output-stream))
      (param "contents" (list u8))
      (result (result (error $stream-error-export)))))))
  (alias export $streams "output-stream" (type $output-stream))

  (import "wasi:cli/stdout@0.2.0" (instance $stdout
    (alias outer 1 $output-stream (type $output-stream))
    (export "output-stream" (type $output-stream-export (eq $output-stream)))
    (export "get-stdout" (func (result (own $output-stream-export))))))

  ;; ---- Memory: a module of its own, because both sides of a call need it -------------------------------------------
  ;;
  ;;    0  what a write answered: 0 at the first byte when it worked
  ;;   12  the handler's answer `ok`      (two zeros)
  ;;   14  the handler's answer `err(error)`  (1: err, 1: the second name of the enum)
  ;;   19  "Got message: "
  ;;   32  the payload, then a newline: so the whole line lies in one piece
  (core module $memory
    (memory (export "memory") 1)
    (data (i32.const 14) "\01\01")
    (data (i32.const 19) "Got message: ")

    ;; The host asks for room for the payload here. There is one payload for a call, so it always gets the same place;
    ;; the memory grows when the payload is larger than what is there.
    (func (export "realloc") (param $old i32) (param $old-size i32) (param $align i32) (param $size i32) (result i32)
      (local $missing-pages i32)
      (local.set $missing-pages
        (i32.sub
          ;; Pages of 64 KiB needed: 32 bytes before the payload, 1 behind it, rounded up.
          (i32.add (i32.shr_u (i32.add (local.get $size) (i32.const 32)) (i32.const 16)) (i32.const 1))
          (memory.size)))
      (if (i32.gt_s (local.get $missing-pages) (i32.const 0))
        (then
          (if (i32.eq (memory.grow (local.get $missing-pages)) (i32.const -1))
            (then unreachable)))) ;; the memory limit is reached: end this call
      (i32.const 32)))
  (core instance $memory (instantiate $memory))

  ;; ---- Lower the imports: typed functions become core functions ----------------------------------------------------

  (core func $get-stdout (canon lower (func $stdout "get-stdout")))
  (core func $write (canon lower (func $streams "[method]output-stream.blocking-write-and-flush")
    (memory (core memory $memory "memory"))))
  (core func $drop-stream (canon resource.drop $output-stream))

  ;; ---- The program --------------------------------------------------------------------------------------------------

  (core module $program
    (import "host" "memory" (memory 1))
    (import "host" "get-stdout" (func $get-stdout (result i32)))
    ;; stream, address, length, address for the answer
    (import "host" "write" (func $write (param i32 i32 i32 i32)))
    (import "host" "drop-stream" (func $drop-stream (param i32)))

    ;; Called with the place and length of the payload; returns the address of its answer.
    (func (export "handle-message") (param $payload i32) (param $length i32) (result i32)
      (local $stream i32) (local $next i32) (local $left i32) (local $chunk i32)
      (i32.store8 (i32.add (local.get $payload) (local.get $length)) (i32.const 10)) ;; newline
      (local.set $stream (call $get-stdout))
      (local.set $next (i32.const 19))
      (local.set $left (i32.add (local.get $length) (i32.const 14))) ;; 13 bytes before the payload, 1 behind it
      (loop $write-more
        ;; One write may not be longer than 4096 bytes.
        (local.set $chunk
          (select (local.get $left) (i32.const 4096) (i32.lt_u (local.get $left) (i32.const 4096))))
        (call $write (local.get $stream) (local.get $next) (local.get $chunk) (i32.const 0))
        (if (i32.load8_u (i32.const 0))
          (then
            (call $drop-stream (local.get $stream))
            (return (i32.const 14)))) ;; err(error)
        (local.set $next (i32.add (local.get $next) (local.get $chunk)))
        (local.set $left (i32.sub (local.get $left) (local.get $chunk)))
        (br_if $write-more (local.get $left)))
      (call $drop-stream (local.get $stream))
      (i32.const 12))) ;; ok
  (core instance $program (instantiate $program
    (with "host" (instance
      (export "memory" (memory $memory "memory"))
      (export "get-stdout" (func $get-stdout))
      (export "write" (func $write))
      (export "drop-stream" (func $drop-stream))))))

  ;; ---- Export: lift the core function to the typed one that the runtime looks for ----------------------------------

  (func $handle-message (param "message" (list u8)) (result (result (error $error)))
    (canon lift (core func $program "handle-message")
      (memory (core memory $memory "memory"))
      (realloc (core func $memory "realloc"))))
  (instance $handler (export "handle-message" (func $handle-message)))
  (export "fermyon:spin/inbound-redis" (instance $handler)))

;; dispatch: does what the first letter of the payload says, and prints a line that tells how it was called:
;; `calls=<how often this very instance was> attempt=<N> channel=<CHANNEL> <PAYLOAD>`, the payload without what is beyond
;; 2000 bytes. A payload may have any size that the memory limit permits.
;;
;;   F<DIGIT>      returns retry("not yet") for attempts below DIGIT
;;   J             returns reject("never")
;;   T             traps
;;   L             never returns
;;   M             takes memory until it is refused, then traps, as an allocator does
;;   G             takes memory until it is refused, and is content
;;   O             takes memory until it is refused, and writes to all of it
;;   W<4 DIGITS>   waits so many milliseconds, then prints
;;   V<4 DIGITS>   waits so many milliseconds and prints nothing
;;   X             prints nothing
;;   other         only prints
(component
  (import "spinredis:trigger/types@0.1.0" (instance $types
    (type $message (record
      (field "payload" (list u8)) (field "channel" string) (field "pattern" (option string)) (field "address" string)
      (field "received-ms" u64) (field "attempt" u32) (field "deadline-ms" u64)))
    (export "message" (type (eq $message)))
    (type $error (variant (case "retry" string) (case "reject" string)))
    (export "error" (type (eq $error)))))
  (alias export $types "message" (type $message))
  (alias export $types "error" (type $error))
  (import "wasi:io/poll@0.2.0" (instance $poll
    (export "pollable" (type $pollable (sub resource)))
    (export "[method]pollable.block" (func (param "self" (borrow $pollable))))))
  (alias export $poll "pollable" (type $pollable))
  (import "wasi:clocks/monotonic-clock@0.2.0" (instance $clock
    (alias outer 1 $pollable (type $pollable))
    (export "pollable" (type $pollable-export (eq $pollable)))
    (export "subscribe-duration" (func (param "when" u64) (result (own $pollable-export))))))
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

  ;; 0: the answer of a write. 16, 32, 48: the answers `ok`, `err(retry("not yet"))` and `err(reject("never"))`. 64: words.
  ;; 1024: the line that is printed. 4096: what the host hands in, one behind the other, freed when the call ends.
  (core module $memory
    (memory (export "memory") 1)
    (data (i32.const 32) "\01\00\00\00\00\00\00\00\60\00\00\00\07\00\00\00")
    (data (i32.const 48) "\01\00\00\00\01\00\00\00\67\00\00\00\05\00\00\00")
    (data (i32.const 64) "calls= attempt= channel= ")
    (data (i32.const 96) "not yetnever")
    (global $free (export "free") (mut i32) (i32.const 4096))
    (func (export "realloc") (param $old i32) (param $old-size i32) (param $align i32) (param $size i32) (result i32)
      (local $start i32) (local $missing-pages i32)
      (local.set $start (global.get $free))
      ;; Nothing that is handed in is aligned to more than 8 bytes.
      (global.set $free (i32.and (i32.add (i32.add (local.get $start) (local.get $size)) (i32.const 7)) (i32.const -8)))
      (local.set $missing-pages
        (i32.sub (i32.add (i32.shr_u (global.get $free) (i32.const 16)) (i32.const 1)) (memory.size)))
      (if (i32.gt_s (local.get $missing-pages) (i32.const 0))
        (then (if (i32.eq (memory.grow (local.get $missing-pages)) (i32.const -1)) (then unreachable))))
      (local.get $start)))
  (core instance $memory (instantiate $memory))

  (core func $subscribe (canon lower (func $clock "subscribe-duration")))
  (core func $block (canon lower (func $poll "[method]pollable.block")))
  (core func $drop-pollable (canon resource.drop $pollable))
  (core func $get-stdout (canon lower (func $stdout "get-stdout")))
  (core func $write (canon lower (func $streams "[method]output-stream.blocking-write-and-flush")
    (memory (core memory $memory "memory"))))
  (core func $drop-stream (canon resource.drop $output-stream))

  (core module $program
    (import "host" "memory" (memory 1))
    (import "host" "free" (global $free (mut i32)))
    (import "host" "subscribe" (func $subscribe (param i64) (result i32)))
    (import "host" "block" (func $block (param i32)))
    (import "host" "drop-pollable" (func $drop-pollable (param i32)))
    (import "host" "get-stdout" (func $get-stdout (result i32)))
    (import "host" "write" (func $write (param i32 i32 i32 i32)))
    (import "host" "drop-stream" (func $drop-stream (param i32)))
    ;; How often this instance was called.
    (global $calls (mut i32) (i32.const 0))
    ;; Where the line ends that is being made.
    (global $end (mut i32) (i32.const 1024))

    (func $append (param $start i32) (param $length i32)
      (memory.copy (global.get $end) (local.get $start) (local.get $length))
      (global.set $end (i32.add (global.get $end) (local.get $length))))
    (func $append-number (param $number i32)
      (if (i32.ge_u (local.get $number) (i32.const 10))
        (then (call $append-number (i32.div_u (local.get $number) (i32.const 10)))))
      (i32.store8 (global.get $end) (i32.add (i32.const 48) (i32.rem_u (local.get $number) (i32.const 10))))
      (global.set $end (i32.add (global.get $end) (i32.const 1))))
    (func $print (param $payload i32) (param $length i32) (param $channel i32) (param $channel-length i32) (param $attempt i32)
      (local $stream i32)
      (global.set $end (i32.const 1024))
      (call $append (i32.const 64) (i32.const 6)) ;; calls=
      (call $append-number (global.get $calls))
      (call $append (i32.const 70) (i32.const 9)) ;; attempt=
      (call $append-number (local.get $attempt))
      (call $append (i32.const 79) (i32.const 9)) ;; channel=
      (call $append (local.get $channel) (local.get $channel-length))
      (call $append (i32.const 70) (i32.const 1)) ;; a space
      (call $append (local.get $payload)
        (select (local.get $length) (i32.const 2000) (i32.lt_u (local.get $length) (i32.const 2000))))
      (i32.store8 (global.get $end) (i32.const 10))
      (local.set $stream (call $get-stdout))
      (call $write (local.get $stream) (i32.const 1024) (i32.sub (global.get $end) (i32.const 1023)) (i32.const 0))
      (call $drop-stream (local.get $stream)))
    (func $digit (param $at i32) (result i32)
      (i32.sub (i32.load8_u (local.get $at)) (i32.const 48)))
    ;; Waits for as many milliseconds as the four digits behind the first letter say.
    (func $wait (param $payload i32)
      (local $pollable i32)
      (local.set $pollable (call $subscribe (i64.mul (i64.const 1000000) (i64.extend_i32_u
        (i32.add
          (i32.add
            (i32.mul (call $digit (i32.add (local.get $payload) (i32.const 1))) (i32.const 1000))
            (i32.mul (call $digit (i32.add (local.get $payload) (i32.const 2))) (i32.const 100)))
          (i32.add
            (i32.mul (call $digit (i32.add (local.get $payload) (i32.const 3))) (i32.const 10))
            (call $digit (i32.add (local.get $payload) (i32.const 4)))))))))
      (call $block (local.get $pollable))
      (call $drop-pollable (local.get $pollable)))
    (func $take-memory
      (loop $more
        (br_if $more (i32.ne (memory.grow (i32.const 16)) (i32.const -1)))))
    (func $fill-memory
      (local $start i32)
      (loop $more
        (local.set $start (memory.grow (i32.const 16)))
        (if (i32.ne (local.get $start) (i32.const -1))
          (then
            (memory.fill (i32.shl (local.get $start) (i32.const 16)) (i32.const 1) (i32.const 1048576))
            (br $more)))))

    ;; payload, channel, pattern (there or not, where, how long), address, received-ms, attempt, deadline-ms
    (func (export "handle") (param $payload i32) (param $length i32) (param $channel i32) (param $channel-length i32)
        (param i32 i32 i32) (param i32 i32) (param i64) (param $attempt i32) (param i64) (result i32)
      (local $letter i32)
      (global.set $calls (i32.add (global.get $calls) (i32.const 1)))
      (global.set $free (i32.const 4096))
      (if (local.get $length) (then (local.set $letter (i32.load8_u (local.get $payload)))))
      (if (i32.or (i32.eq (local.get $letter) (i32.const 87)) (i32.eq (local.get $letter) (i32.const 86))) ;; W, V
        (then (call $wait (local.get $payload))))
      (if (i32.or (i32.eq (local.get $letter) (i32.const 88)) (i32.eq (local.get $letter) (i32.const 86))) ;; X, V
        (then (return (i32.const 16))))
      (call $print (local.get $payload) (local.get $length) (local.get $channel) (local.get $channel-length) (local.get $attempt))
      (if (i32.eq (local.get $letter) (i32.const 70)) ;; F
        (then (if (i32.lt_u (local.get $attempt) (call $digit (i32.add (local.get $payload) (i32.const 1))))
          (then (return (i32.const 32))))))
      (if (i32.eq (local.get $letter) (i32.const 74)) (then (return (i32.const 48)))) ;; J
      (if (i32.eq (local.get $letter) (i32.const 84)) (then unreachable)) ;; T
      (if (i32.eq (local.get $letter) (i32.const 76)) (then (loop $forever (br $forever)))) ;; L
      (if (i32.eq (local.get $letter) (i32.const 77)) (then (call $take-memory) unreachable)) ;; M
      (if (i32.eq (local.get $letter) (i32.const 71)) (then (call $take-memory))) ;; G
      (if (i32.eq (local.get $letter) (i32.const 79)) (then (call $fill-memory))) ;; O
      (i32.const 16)))
  (core instance $program (instantiate $program (with "host" (instance
    (export "memory" (memory $memory "memory"))
    (export "free" (global $memory "free"))
    (export "subscribe" (func $subscribe))
    (export "block" (func $block))
    (export "drop-pollable" (func $drop-pollable))
    (export "get-stdout" (func $get-stdout))
    (export "write" (func $write))
    (export "drop-stream" (func $drop-stream))))))
  (func $handle (param "m" $message) (result (result (error $error)))
    (canon lift (core func $program "handle")
      (memory (core memory $memory "memory")) (realloc (core func $memory "realloc"))))
  (instance $handler (export "handle" (func $handle)))
  (export "spinredis:trigger/handler@0.1.0" (instance $handler)))

;; core-module: a plain module with neither a program's `_start` nor a handler: a library.
(module
  (memory (export "memory") 1)
  (func (export "add") (param i32 i32) (result i32) (i32.add (local.get 0) (local.get 1))))

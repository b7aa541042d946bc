;; core-module: not a component but a plain module with `_start`, as a WASI command is built without bindings.
(module
  (memory (export "memory") 1)
  (func (export "_start")))

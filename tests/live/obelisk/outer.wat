;; A workflow around a workflow, as text: build.py makes outer.wasm of it.
(component
  (import "live:retries/workflow" (instance $workflow
    (export "through" (func (param "name" string) (result (result string (error string)))))))
  (core module $memory
    (memory (export "memory") 1)
    (global $free (mut i32) (i32.const 1024))
    (func (export "allocate") (param i32 i32 i32 i32) (result i32) (local $at i32)
      (local.set $at (i32.and (i32.add (global.get $free) (i32.const 7)) (i32.const -8)))
      (global.set $free (i32.add (local.get $at) (local.get 3)))
      (local.get $at)))
  (core instance $memory (instantiate $memory))
  (core func $through (canon lower (func $workflow "through") (memory (core memory $memory "memory")) (realloc (core func $memory "allocate"))))
  (core module $main
    (import "workflow" "through" (func $through (param i32 i32 i32)))
    (func (export "outer") (param i32 i32) (result i32)
      (call $through (local.get 0) (local.get 1) (i32.const 16))
      (i32.const 16)))
  (core instance $main (instantiate $main (with "workflow" (instance (export "through" (func $through))))))
  (func $outer (param "name" string) (result (result string (error string)))
    (canon lift (core func $main "outer") (memory (core memory $memory "memory")) (realloc (core func $memory "allocate"))))
  (instance $exported (export "outer" (func $outer)))
  (export "live:retries/outer" (instance $exported)))

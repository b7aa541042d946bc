;; no-handler: a valid component that handles no Redis messages.
(component
  (core module $program (func (export "polish")))
  (core instance $program (instantiate $program))
  (func $polish (canon lift (core func $program "polish")))
  (instance $api (export "polish" (func $polish)))
  (export "acme:things/api" (instance $api)))

//! Components in text, and what is left of them.

use super::*;

/// Two libraries and a program, as interpreters are linked: the program is given the first whole and single items of the second.
const LINKED: &str = r#"(component
    (core module $first
        (func (export "sum") (param i32 i32) (result i32) (i32.add (local.get 0) (local.get 1)))
        (func (export "unused"))
        (memory (export "memory") 1))
    (core module $second
        (global (export "base") i32 (i32.const 40))
        (global (export "unused") i32 (i32.const 0)))
    (core module $program
        (import "first" "sum" (func $sum (param i32 i32) (result i32)))
        (import "items" "renamed" (global $base i32))
        (func (export "run") (result i32) (call $sum (global.get $base) (i32.const 2)))
        (func (export "unused")))
    (core instance $f (instantiate $first))
    (core instance $s (instantiate $second))
    (alias core export $s "base" (core global $base))
    (core instance $items (export "renamed" (global $base)))
    (core instance $p (instantiate $program (with "first" (instance $f)) (with "items" (instance $items))))
    (func (export "run") (result s32) (canon lift (core func $p "run"))))"#;

fn pruned(text: &str) -> Option<Vec<u8>> {
    prune(&wat::parse_str(text).unwrap())
}

/// What each core module exports, one text for each.
fn exports(wasm: &[u8]) -> Vec<String> {
    let mut modules = Vec::new();
    for payload in Parser::new(0).parse_all(wasm) {
        if let Payload::ExportSection(section) = payload.unwrap() {
            modules.push(section.into_iter().map(|export| export.unwrap().name.to_owned()).collect::<Vec<_>>().join(" "));
        }
    }
    modules
}

fn customs(wasm: &[u8]) -> Vec<String> {
    let custom = |payload| if let Payload::CustomSection(section) = payload { Some(section.name().to_owned()) } else { None };
    Parser::new(0).parse_all(wasm).filter_map(|payload| custom(payload.unwrap())).collect()
}

fn run(wasm: &[u8]) -> i32 {
    let engine = Engine::default();
    let component = compile(&engine, wasm).unwrap();
    let mut store = wasmtime::Store::new(&engine, ());
    let instance = wasmtime::component::Linker::new(&engine).instantiate(&mut store, &component).unwrap();
    let function = instance.get_typed_func::<(), (i32,)>(&mut store, "run").unwrap();
    function.call(&mut store, ()).unwrap().0
}

#[test]
fn exports_that_no_alias_and_no_import_names_are_left_out() {
    assert_eq!(exports(&pruned(LINKED).unwrap()), ["sum", "base", "run"]);
}

#[test]
fn what_is_left_out_changes_nothing() {
    let whole = wat::parse_str(LINKED).unwrap();
    assert_eq!((run(&whole), run(&pruned(LINKED).unwrap())), (42, 42));
}

#[test]
fn what_is_pruned_once_stays_as_it_is() {
    let once = pruned(LINKED).unwrap();
    assert!(prune(&once).is_none());
}

#[test]
fn components_inside_and_modules_of_the_one_around_are_understood() {
    let text = r#"(component $outer
        (core module $library (func (export "used")) (func (export "unused")))
        (component $inner
            (alias outer $outer $library (core module $l))
            (core module $own (import "l" "used" (func)) (func (export "own")))
            (core instance $i (instantiate $l))
            (core instance (instantiate $own (with "l" (instance $i)))))
        (instance (instantiate $inner))
        (instance (instantiate $inner)))"#;
    assert_eq!(exports(&pruned(text).unwrap()), ["used", ""]);
}

#[test]
fn a_module_that_others_may_instantiate_keeps_its_exports() {
    let library = r#"(core module $library (func (export "a")) (func (export "b")))"#;
    for escape in [
        r#"(export "library" (core module $library))"#,
        r#"(instance (export "library" (core module $library)))"#,
        r#"(component $c (import "m" (core module))) (instance (instantiate $c (with "m" (core module $library))))"#,
        r#"(import "taker" (core module $taker (import "l" "a" (func))))
           (core instance $l (instantiate $library))
           (core instance (instantiate $taker (with "l" (instance $l))))"#,
    ] {
        let text = format!("(component {library} (core module $other (func (export \"unused\"))) {escape})");
        let pruned = pruned(&text).unwrap_or_else(|| panic!("{escape}"));
        assert_eq!(exports(&pruned), ["a b", ""], "{escape}");
    }
}

#[test]
fn an_exported_module_counts_as_one_more_module() {
    let text = r#"(component
        (core module $first (func (export "a")))
        (export $again "first" (core module $first))
        (core module $second (func (export "b")) (func (export "unused")))
        (core instance $s (instantiate $second))
        (alias core export $s "b" (core func)))"#;
    assert_eq!(exports(&pruned(text).unwrap()), ["a", "b"]);
}

#[test]
fn names_of_functions_are_left_out_and_other_custom_sections_are_not() {
    let whole =
        wat::parse_str(r#"(component $c (core module $m (@custom "mine" "kept") (func $f) (start $f)) (core instance (instantiate $m)))"#)
            .unwrap();
    assert!(customs(&whole).iter().any(|name| name == NAMES));
    assert_eq!(customs(&prune(&whole).unwrap()), ["mine", "component-name"]);
}

#[test]
fn what_is_not_valid_is_not_made_valid() {
    let twice = r#"(component (core module (func (export "a")) (func (export "a"))))"#;
    assert!(pruned(twice).is_none());
    assert!(compile(&Engine::default(), &wat::parse_str(twice).unwrap()).is_err());
    assert!(pruned(r#"(module (func (export "a")))"#).is_none(), "a core module is called by its exports");
    let whole = wat::parse_str(LINKED).unwrap();
    for end in 0..whole.len() {
        // Some beginnings are components themselves.
        let is_valid = |wasm: &[u8]| Validator::new().validate_all(wasm).is_ok();
        assert!(prune(&whole[..end]).is_none_or(|pruned| is_valid(&whole[..end]) && is_valid(&pruned)), "{end}");
    }
}

#[test]
fn a_function_that_code_may_refer_to_only_because_it_is_exported_stays_one() {
    let text = r#"(component
        (core module $m
            (func $f (export "only"))
            (func (export "run") (result i32) (ref.is_null (ref.func $f))))
        (core instance $i (instantiate $m))
        (func (export "run") (result s32) (canon lift (core func $i "run"))))"#;
    assert_eq!(exports(&pruned(text).unwrap()), ["run"]);
    assert_eq!(run(&wat::parse_str(text).unwrap()), 0);
}

//! wasi:config, wasi:keyvalue, files and the environment.

use std::{env, fs, io};

use protocol::{Answer, Call, failure, optional, text};
use serde_json::{Value, json};
use spin_sdk::wit::wasi::{
    config::store as config,
    keyvalue::{
        atomics::{self, Cas},
        batch, store,
    },
};

pub fn answer(call: &Call) -> Answer {
    let (interface, function) = call.name().split_once('.').unwrap_or((call.name(), ""));
    match interface {
        "config" => match function {
            "get" => config::get(call.text(0)).map(|value| json!(value)).map_err(failure),
            "get-all" => config::get_all().map(|values| json!(values)).map_err(failure),
            _ => call.unknown(),
        },
        "keyvalue" => keyvalue(function, call),
        "fs" => match function {
            "read" => fs::read(call.text(0)).map(text).map_err(io_failure),
            "write" => fs::write(call.text(0), call.text(1)).map(|()| Value::Null).map_err(io_failure),
            "list" => list(call.text(0)).map_err(io_failure),
            _ => call.unknown(),
        },
        "env" => Ok(json!(env::var(call.text(0)).ok())),
        "args" => Ok(env::args().collect()),
        _ => call.unknown(),
    }
}

fn list(folder: &str) -> io::Result<Value> {
    let entries = fs::read_dir(folder)?.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()));
    let mut names: Vec<String> = entries.collect::<io::Result<_>>()?;
    names.sort();
    Ok(json!(names))
}

fn io_failure(error: io::Error) -> Value {
    json!([error.kind().to_string(), error.to_string()])
}

fn keyvalue(function: &str, call: &Call) -> Answer {
    let bucket = store::open(call.text(0)).map_err(failure)?;
    if function == "swap" {
        // Takes the key as it is, or after setting it behind the handle's back where there is a third argument.
        let cas = Cas::new(&bucket, call.text(1)).map_err(failure)?;
        let current = optional(cas.current().map_err(failure)?);
        if let Some(meanwhile) = call.rest(3).first().and_then(Value::as_str) {
            bucket.set(call.text(1), meanwhile.as_bytes()).map_err(failure)?;
        }
        return atomics::swap(cas, call.text(2).as_bytes()).map(|()| current).map_err(|error| match error {
            atomics::CasError::StoreError(error) => json!(["store-error", failure(error)]),
            atomics::CasError::CasFailed(cas) => match cas.current() {
                Ok(now) => json!(["cas-failed", optional(now)]),
                Err(error) => json!(["cas-failed", failure(error)]),
            },
        });
    }
    run(&bucket, function, call).map_err(failure)
}

fn run(bucket: &store::Bucket, function: &str, call: &Call) -> Result<Value, store::Error> {
    Ok(match function {
        "open" => Value::Null,
        "get" => optional(bucket.get(call.text(1))?),
        "set" => json!(bucket.set(call.text(1), call.text(2).as_bytes())?),
        "delete" => json!(bucket.delete(call.text(1))?),
        "exists" => json!(bucket.exists(call.text(1))?),
        "list-keys" => {
            let page = bucket.list_keys(call.rest(1).first().and_then(Value::as_str))?;
            json!({"keys": page.keys, "cursor": page.cursor})
        }
        "increment" => json!(atomics::increment(bucket, call.text(1), call.number(2))?),
        "get-many" => batch::get_many(bucket, &call.texts(1))?.into_iter().map(|(key, value)| json!([key, optional(value)])).collect(),
        "set-many" => {
            let texts = call.texts(1);
            let pairs: Vec<_> = texts.chunks_exact(2).map(|pair| (pair[0].clone(), pair[1].clone().into_bytes())).collect();
            json!(batch::set_many(bucket, &pairs)?)
        }
        "delete-many" => json!(batch::delete_many(bucket, &call.texts(1))?),
        _ => call.unknown(),
    })
}

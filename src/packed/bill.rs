//! A software bill of what was made of a model: the file by its hash, its source, its licence, the text that it was fitted to.
//!
//! Source: CycloneDX Specification 1.5, JSON. What a board is given beside the model is told by `link`.

use super::Provenance;
use crate::whole_file;
use serde_json::{Value, json};
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};

/// What the bill in a folder is called.
pub const BILL: &str = "sbom.cdx.json";
/// What the page for people in a folder is called.
pub const LICENCES: &str = "LICENSES.md";

/// Where the bill of a single file goes: beside it, under its name.
#[must_use]
pub fn beside(file: &Path) -> PathBuf {
    let mut name = OsString::from(file);
    name.push(".cdx.json");
    name.into()
}

/// Writes the bill of a single file beside it.
///
/// # Errors
/// When the system cannot, or something is there that is no file.
pub fn write_beside(file: &Path, provenance: &Provenance, sha256: &str) -> io::Result<()> {
    whole_file::write_result(&beside(file), of_file(provenance, sha256).as_bytes())
}

/// The bill of a file that holds the model, as text.
#[must_use]
pub fn of_file(provenance: &Provenance, sha256: &str) -> String {
    let model = model(provenance, sha256);
    let subject = json!({ "type": "machine-learning-model", "name": provenance.name });
    text(&document(
        &subject,
        [vec![model], texts(provenance)].concat(),
    ))
}

/// A bill: what it is of, and what that is made of.
#[must_use]
pub fn document(subject: &Value, components: Vec<Value>) -> Value {
    json!({
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {
            "tools": { "components": [{
                "type": "application",
                "name": "whittle",
                "version": env!("CARGO_PKG_VERSION"),
            }] },
            "component": subject,
        },
        "components": components,
    })
}

/// As it stands in a file.
#[must_use]
pub fn text(bill: &Value) -> String {
    format!("{bill:#}\n")
}

/// The model in a file with this hash.
#[must_use]
pub fn model(provenance: &Provenance, sha256: &str) -> Value {
    let recipe = provenance.recipe_sha256.as_ref();
    let recipe = recipe.map(|hash| json!({ "name": "whittle:recipe-sha256", "value": hash }));
    let mut properties = vec![
        json!({ "name": "whittle:source", "value": provenance.file }),
        json!({ "name": "whittle:source-sha256", "value": provenance.sha256 }),
        json!({ "name": "whittle:source-precision", "value": provenance.precision }),
    ];
    properties.extend(recipe);
    let mut told = json!({
        "type": "machine-learning-model",
        "name": provenance.name,
        "hashes": hashes(sha256),
        "properties": properties,
    });
    if let Some(licence) = &provenance.licence {
        // As its files say it, which need not be SPDX.
        told["licenses"] = json!([{ "license": { "name": licence } }]);
    }
    told
}

/// The texts that the model's weights were fitted to.
#[must_use]
pub fn texts(provenance: &Provenance) -> Vec<Value> {
    let told = provenance.calibration.iter().map(|text| {
        json!({
            "type": "data",
            "name": text.text,
            "description": format!("the model's weights were fitted to {} tokens of it", text.tokens),
            "hashes": hashes(&text.sha256),
        })
    });
    told.collect()
}

/// A SHA-256 as components have it.
#[must_use]
pub fn hashes(sha256: &str) -> Value {
    json!([{ "alg": "SHA-256", "content": sha256 }])
}

/// The model's licence in a list for people, by the file that holds it.
#[must_use]
pub fn licence_line(file: &str, provenance: &Provenance) -> String {
    let licence = provenance.licence.as_deref();
    let licence = licence.unwrap_or("its files name none");
    format!("- {file}, {}: {licence}\n", provenance.name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packed::FittedTo;

    #[test]
    fn a_file_is_told_with_what_it_was_made_of() {
        let provenance = |licence: Option<&str>| Provenance {
            name: "m".to_owned(),
            file: "m.gguf".to_owned(),
            sha256: "a".repeat(64),
            licence: licence.map(str::to_owned),
            precision: "F16 100 %".to_owned(),
            engine: None,
            recipe_sha256: Some("b".repeat(64)),
            seed: None,
            calibration: Some(FittedTo {
                text: "t.txt".to_owned(),
                sha256: "c".repeat(64),
                tokens: 7,
            }),
        };
        let bill = of_file(&provenance(Some("our own")), &"d".repeat(64));
        let bill: Value = serde_json::from_str(&bill).unwrap();
        let [model, data] = bill["components"].as_array().unwrap().as_slice() else {
            panic!("expected a model and a text, found {bill}");
        };
        assert_eq!(model["hashes"][0]["content"], "d".repeat(64).as_str());
        assert_eq!(model["licenses"][0]["license"]["name"], "our own");
        assert_eq!(model["properties"][3]["value"], "b".repeat(64).as_str());
        assert_eq!(data["hashes"][0]["content"], "c".repeat(64).as_str());
        // No licence is none, and no empty name of one.
        let bill: Value = serde_json::from_str(&of_file(&provenance(None), "")).unwrap();
        assert!(bill["components"][0].get("licenses").is_none(), "{bill}");
        let line = licence_line("m.gguf", &provenance(None));
        assert_eq!(line, "- m.gguf, m: its files name none\n");
        assert_eq!(
            beside(Path::new("a/m.gguf")),
            Path::new("a/m.gguf.cdx.json")
        );
    }
}

//! What a packed file says of itself: source, engine, recipe, and what else decided its weights.

use super::PackError;
use crate::calibrate::Origin;
use crate::compress::CompressedModel;
use crate::job::{Cancelled, Job};
use crate::model::Model;
use crate::recipe::Recipe;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::fmt::Write as _;

/// Version of the engine and of all else here: the packages of the workspace share one.
pub const ENGINE_VERSION: &str = env!("CARGO_PKG_VERSION");

/// What a packed file was made from, as its section in TOML has it. Files of before lack what is
/// optional; keys that this version does not know are passed over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Provenance {
    /// Name of the model.
    pub name: String,
    /// Its file or folder.
    pub file: String,
    /// SHA-256 of its files.
    pub sha256: String,
    /// The licence that it states.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub licence: Option<String>,
    /// How its weights were stored: "Q4_1 79 %, Q8_0 21 %".
    pub precision: String,
    /// Version of the engine that packed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub engine: Option<String>,
    /// SHA-256 of the recipe as the file has it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recipe_sha256: Option<String>,
    /// Where chance began, if there was any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
    /// The text that weights were fitted to, if there was one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub calibration: Option<FittedTo>,
}

/// A text that weights were fitted to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FittedTo {
    /// Name or file.
    pub text: String,
    /// SHA-256 of its tokens, little-endian 32-bit numbers.
    pub sha256: String,
    /// Tokens of it that were used.
    pub tokens: u64,
}

impl FittedTo {
    fn of(origin: &Origin) -> Self {
        Self {
            text: origin.text.clone(),
            sha256: origin.text_sha256.clone(),
            tokens: origin.tokens as u64,
        }
    }
}

impl Provenance {
    /// That of a model packed here and now.
    pub(super) fn of(
        model: &Model,
        compressed: &CompressedModel,
        job: &Job<'_>,
    ) -> Result<Self, Cancelled> {
        let calibration = compressed.calibration.as_ref();
        Ok(Self {
            sha256: model.sha256(job)?,
            ..Self::unhashed(model, &compressed.recipe, calibration)
        })
    }

    /// The same, as long, with zeros for the hash of the model's files.
    pub(super) fn unhashed(model: &Model, recipe: &Recipe, calibration: Option<&Origin>) -> Self {
        Self {
            name: model.name.clone(),
            file: model.provenance.file_name.clone(),
            sha256: "0".repeat(64),
            licence: model.provenance.licence.clone(),
            precision: model.provenance.source_precision.clone(),
            engine: Some(ENGINE_VERSION.to_owned()),
            recipe_sha256: Some(sha256_hex(recipe.to_toml().as_bytes())),
            seed: None,
            calibration: calibration.map(FittedTo::of),
        }
    }

    /// The same with what `told` says of how the model was called and where it lay, which its weights
    /// do not tell, and without what files of before do not say.
    pub(super) fn told_as(self, told: Self) -> Self {
        Self {
            name: told.name,
            file: told.file,
            engine: self.engine.filter(|_| told.engine.is_some()),
            recipe_sha256: self.recipe_sha256.filter(|_| told.recipe_sha256.is_some()),
            ..self
        }
    }

    pub(super) fn parse(text: &str) -> Result<Self, PackError> {
        toml::from_str(text).map_err(|e| PackError::Text {
            what: "provenance",
            message: e.to_string().trim_end().replace('\n', " "),
        })
    }

    /// As its section has it.
    ///
    /// # Errors
    /// When a number is larger than TOML takes.
    pub(super) fn to_toml(&self) -> Result<String, PackError> {
        toml::to_string(self).map_err(|e| PackError::Text {
            what: "provenance",
            message: e.to_string(),
        })
    }
}

/// SHA-256 of `bytes` as 64 hexadecimal digits.
#[must_use]
pub fn sha256_hex(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// Bytes in hexadecimal.
pub(super) fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        write!(text, "{byte:02x}").expect("a String takes any text");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: &str = "name = 'm'\nfile = 'm.gguf'\nsha256 = 'ab'\nprecision = 'F16 100 %'\n";

    #[test]
    fn files_of_before_and_of_later_are_read() {
        let old = Provenance::parse(OLD).unwrap();
        assert_eq!((&old.engine, &old.calibration), (&None, &None));
        let later = format!(
            "{OLD}engine = '9.9.9'\nseed = 3\nmood = 'good'\n\
             calibration = {{text = 't', sha256 = 'cd', tokens = 7}}"
        );
        let later = Provenance::parse(&later).unwrap();
        assert_eq!(
            (later.seed, later.calibration.as_ref().unwrap().tokens),
            (Some(3), 7)
        );
        assert_eq!(Provenance::parse(&later.to_toml().unwrap()).unwrap(), later);
        // What an old file does not say is not said when it is made again.
        let again = later.told_as(old);
        assert_eq!((again.engine, again.recipe_sha256), (None, None));
        let refused = Provenance::parse("name = 3").unwrap_err().to_string();
        assert!(
            refused.starts_with("provenance of the packed file: "),
            "{refused}"
        );
        assert_eq!(refused.lines().count(), 1, "{refused}");
    }
}

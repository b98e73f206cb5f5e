//! Whisper's tokens: which bytes each stands for, which are special, which are never chosen.
//!
//! Only the way from tokens to text is needed, so this reads the vocabulary of `tokenizer.json`
//! and leaves its merges alone.

use super::RecognizeError;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::collections::{BTreeMap, HashMap};
use std::path::Path;

/// More than any tokenizer or configuration file of a Whisper model has (2.1 MB).
const MAX_FILE_BYTES: u64 = 64 << 20;

/// What the decoder must know of the tokens.
#[derive(Debug)]
pub(super) struct Vocabulary {
    /// The bytes of each token; empty for special ones.
    bytes: Vec<Box<[u8]>>,
    /// What the decoder is started with.
    pub(super) prompt: Vec<usize>,
    /// Ends a transcript.
    pub(super) end: usize,
    /// This token and all after it are special.
    pub(super) first_special: usize,
    /// Tokens that are never chosen.
    pub(super) suppressed: Vec<usize>,
    /// Tokens that are not chosen first: a blank and the end.
    pub(super) suppressed_first: Vec<usize>,
}

#[derive(Deserialize)]
struct TokenizerFile {
    added_tokens: Vec<AddedToken>,
    model: TokenizerModel,
}

#[derive(Deserialize)]
struct AddedToken {
    id: usize,
    content: String,
}

#[derive(Deserialize)]
struct TokenizerModel {
    vocab: BTreeMap<String, usize>,
}

#[derive(Deserialize)]
struct ConfigFile {
    suppress_ids: Vec<usize>,
    suppress_ids_begin: Vec<usize>,
}

impl Vocabulary {
    /// Reads `tokenizer.json` and `config.json` of `folder` for a model with `count` tokens.
    ///
    /// # Errors
    /// When a file cannot be read, lacks a special token, or names a token that the model lacks.
    pub(super) fn load(folder: &Path, count: usize) -> Result<Self, RecognizeError> {
        let tokenizer_path = folder.join("tokenizer.json");
        let tokenizer: TokenizerFile = read_json(&tokenizer_path)?;
        let config: ConfigFile = read_json(&folder.join("config.json"))?;
        let malformed = |why: String| RecognizeError::Settings {
            path: tokenizer_path.clone(),
            why,
        };

        let special: BTreeMap<&str, usize> = tokenizer
            .added_tokens
            .iter()
            .map(|token| (token.content.as_str(), token.id))
            .collect();
        let find = |name: &str| match special.get(name) {
            Some(&id) if id < count => Ok(id),
            Some(id) => Err(malformed(format!(
                "{name} is token {id}, the model has {count}"
            ))),
            None => Err(malformed(format!("there is no token {name}"))),
        };
        let start = find("<|startoftranscript|>")?;
        let end = find("<|endoftext|>")?;
        let without_timestamps = find("<|notimestamps|>")?;
        // The multilingual models have one token more and want language and task named.
        let prompt = if count > 51_864 {
            vec![
                start,
                find("<|en|>")?,
                find("<|transcribe|>")?,
                without_timestamps,
            ]
        } else {
            vec![start, without_timestamps]
        };

        let byte_of = byte_alphabet();
        let mut bytes = vec![Box::default(); count];
        for (text, id) in tokenizer.model.vocab {
            if special.contains_key(text.as_str()) {
                continue;
            }
            let slot = bytes.get_mut(id).ok_or_else(|| {
                malformed(format!("{text:?} is token {id}, the model has {count}"))
            })?;
            *slot = text
                .chars()
                .filter_map(|symbol| byte_of.get(&symbol).copied())
                .collect();
        }
        let known = |ids: Vec<usize>| {
            ids.into_iter()
                .filter(|&id| id < count && id != end)
                .collect()
        };
        Ok(Self {
            bytes,
            prompt,
            end,
            first_special: start,
            suppressed: known(config.suppress_ids),
            suppressed_first: config
                .suppress_ids_begin
                .into_iter()
                .filter(|&id| id < count)
                .collect(),
        })
    }

    /// The text of `tokens`, trimmed.
    pub(super) fn text(&self, tokens: &[usize]) -> String {
        let bytes: Vec<u8> = tokens
            .iter()
            .filter_map(|&id| self.bytes.get(id))
            .flatten()
            .copied()
            .collect();
        String::from_utf8_lossy(&bytes).trim().to_owned()
    }
}

fn read_json<T: DeserializeOwned>(path: &Path) -> Result<T, RecognizeError> {
    let io = |source| RecognizeError::Io {
        path: path.to_owned(),
        source,
    };
    let length = std::fs::metadata(path).map_err(io)?.len();
    if length > MAX_FILE_BYTES {
        let why = format!("has {length} bytes, at most {MAX_FILE_BYTES} are read");
        return Err(RecognizeError::Settings {
            path: path.to_owned(),
            why,
        });
    }
    let text = std::fs::read(path).map_err(io)?;
    serde_json::from_slice(&text).map_err(|error| RecognizeError::Settings {
        path: path.to_owned(),
        why: error.to_string(),
    })
}

/// GPT-2's printable stand-ins for bytes (`bytes_to_unicode` in its `encoder.py`): printable bytes
/// stand for themselves, the others for the characters from U+0100 on.
fn byte_alphabet() -> HashMap<char, u8> {
    let mut stand_in = 0x100;
    (0..=255_u8)
        .map(|byte| {
            let symbol = match byte {
                b'!'..=b'~' | 0xa1..=0xac | 0xae..=0xff => u32::from(byte),
                0..=b' ' | 0x7f..=0xa0 | 0xad => {
                    stand_in += 1;
                    stand_in - 1
                }
            };
            (char::from_u32(symbol).expect("below the surrogates"), byte)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_byte_alphabet_is_gpt2s() {
        let alphabet = byte_alphabet();
        assert_eq!(alphabet.len(), 256);
        for (symbol, byte) in [
            ('A', b'A'),
            ('Ġ', b' '),
            ('Ċ', b'\n'),
            ('é', 0xe9),
            ('Ń', 0xad),
        ] {
            assert_eq!(alphabet.get(&symbol), Some(&byte), "{symbol}");
        }
    }

    #[test]
    fn tokens_become_text_and_special_ones_vanish() {
        let folder = tempfile::tempdir().unwrap();
        let write =
            |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
        write(
            "config.json",
            r#"{"suppress_ids": [1, 99], "suppress_ids_begin": [0, 2]}"#,
        );
        let added = r#"[{"id": 2, "content": "<|endoftext|>"}, {"id": 3, "content": "<|startoftranscript|>"},
            {"id": 4, "content": "<|notimestamps|>"}]"#;
        write(
            "tokenizer.json",
            &format!(
                r#"{{"added_tokens": {added}, "model": {{"vocab": {{"Ġgo": 0, "Ġon": 1}}}}}}"#
            ),
        );
        let vocabulary = Vocabulary::load(folder.path(), 5).unwrap();
        assert_eq!(vocabulary.text(&[3, 0, 1, 2]), "go on");
        assert_eq!(
            (vocabulary.prompt, vocabulary.suppressed),
            (vec![3, 4], vec![1])
        );
        let error = Vocabulary::load(folder.path(), 3).unwrap_err().to_string();
        assert!(
            error.contains("<|startoftranscript|> is token 3, the model has 3"),
            "{error}"
        );
    }
}

//! The same model with the tokens that its users need, and no rows for the others.
//!
//! [`trim()`] keeps what texts are cut into, so that they are cut as before (see
//! [`super::vocabulary`]), and what any other text can be spelled with. Rows of embedding and output head
//! are chosen as they are stored: nothing is quantized again.

use super::RewriteError;
use super::entries::{elements, number, text, unsigned, with_elements};
use super::file::{listed_unchanged, row_bytes, rows_of, unchanged, write};
use super::vocabulary::{BLOCK, Derivations, indispensable, kept, merges_within};
use crate::calibrate::conversations;
use crate::job::Job;
use crate::model::{BpeKind, Generation, Model, ModelError, Specials, Tensor};
use crate::packed::export::{Listed, Metadata, of_model};
use engine::shape::Role;
use std::borrow::Cow;
use std::collections::HashMap;
use std::path::Path;

const TOKENS: &str = "tokenizer.ggml.tokens";

/// What a model will hear and say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sample<'a> {
    /// Plain text.
    Text {
        /// What people call it.
        name: &'a str,
        /// All of it.
        text: &'a str,
    },
    /// Conversations, one a line: `{"messages": [{"role": "user", "content": ".."}, ..]}`.
    Chats {
        /// What people call them.
        name: &'a str,
        /// The lines.
        lines: &'a str,
    },
}

/// What was written.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Trimmed {
    /// Rows of the model's embedding.
    pub tokens_before: usize,
    /// Rows of the new one.
    pub tokens_after: usize,
    /// Different tokens that the samples are cut into.
    pub tokens_in_samples: usize,
    /// Bytes of the model's own files.
    pub bytes_before: u64,
    /// Bytes of the new file.
    pub bytes_after: u64,
}

/// Writes `model` as a GGUF file with the tokens that `samples` need, at most `most` if it is given.
///
/// Control tokens, single bytes and the tokens of the chat template always stay. Where more occur than
/// `most` allows, the rarest go; where there is room, the earliest merges fill it, up to a multiple of 16.
///
/// # Errors
/// When a sample is empty or no conversation, `most` is less than what always stays, or the file cannot be
/// written; then an older file at the path is untouched.
pub fn trim(
    model: &Model,
    samples: &[Sample<'_>],
    most: Option<usize>,
    path: &Path,
    job: &Job<'_>,
) -> Result<Trimmed, RewriteError> {
    let counts = counts(model, samples, job)?;
    let mut metadata = of_model(model)?;
    let tokens = {
        let texts = texts(&metadata)?;
        let tables = model.tokenizer.bpe();
        let derivations = Derivations::new(&texts, tables);
        let needed = of_metadata(model, &metadata).chain(of_template(model)?);
        let needed = indispensable(&model.tokenizer, &derivations, needed);
        let most = match most {
            Some(most) if most / BLOCK * BLOCK < needed.len() => {
                return Err(RewriteError::TooFewTokens {
                    needed: needed.len().next_multiple_of(BLOCK),
                    found: most,
                });
            }
            most => most.map(|most| most / BLOCK * BLOCK),
        };
        kept(&derivations, tables, needed, &counts, most)
    };
    renumber(&mut metadata, model, &tokens)?;
    let tensors: Vec<&Tensor> = model.tensors.iter().collect();
    let listed: Vec<_> = tensors.iter().map(|t| listed(t, tokens.len())).collect();
    let bytes_after = write(&metadata, &listed, path, ("Trimming", job), |index| {
        let tensor = tensors[index];
        Ok(if has_rows_of_tokens(tensor) {
            let rows = tokens.iter().map(|token| *token as usize);
            Cow::Owned(rows_of(model, tensor, rows))
        } else {
            unchanged(model, tensor)
        })
    })?;
    Ok(Trimmed {
        tokens_before: model.hyperparameters.vocab as usize,
        tokens_after: tokens.len(),
        tokens_in_samples: counts.len(),
        bytes_before: model.file_bytes,
        bytes_after,
    })
}

/// How often each token occurs in the samples.
fn counts(
    model: &Model,
    samples: &[Sample<'_>],
    job: &Job<'_>,
) -> Result<HashMap<u32, u64>, RewriteError> {
    let mut counts = HashMap::new();
    let total = samples.len() as u64;
    for (sample, done) in samples.iter().zip(0..) {
        job.report("Reading texts", done, total)?;
        let (name, tokens) = match *sample {
            Sample::Text { name, text } => (name, model.tokenizer.encode(text, Specials::Plain)?),
            Sample::Chats { name, lines } => (name, tokens_of_chats(model, name, lines, job)?),
        };
        if tokens.len() < 2 {
            return Err(RewriteError::EmptyText {
                name: name.to_owned(),
            });
        }
        for token in tokens {
            *counts.entry(token).or_default() += 1;
        }
    }
    Ok(counts)
}

/// Conversations as the chat template writes them, and each message alone: people's words are cut apart
/// from what the template puts around them.
fn tokens_of_chats(
    model: &Model,
    name: &str,
    lines: &str,
    job: &Job<'_>,
) -> Result<Vec<u32>, RewriteError> {
    let mut tokens = Vec::new();
    for chat in conversations(name, lines) {
        job.check()?;
        let chat = chat?;
        let messages = chat.messages();
        let text = model.chat.render(&messages, Generation::None)?;
        tokens.extend(model.tokenizer.encode(&text, Specials::Parse)?);
        for message in messages {
            tokens.extend(model.tokenizer.encode(message.content, Specials::Plain)?);
        }
    }
    Ok(tokens)
}

/// Token i as the file spells it.
fn texts(metadata: &Metadata) -> Result<Vec<&str>, RewriteError> {
    let entry = metadata.entries.iter().find(|(key, _)| key == TOKENS);
    let texts = entry.and_then(|(_, value)| elements(value)?.into_iter().map(text).collect());
    Ok(texts.ok_or_else(|| ModelError::Tokenizer(format!("expected texts in {TOKENS}")))?)
}

/// Whether an entry names a token by its number.
fn names_token(key: &str) -> bool {
    key.starts_with("tokenizer.ggml.") && key.ends_with("_token_id")
}

/// Tokens that the model's files name: beginning, end, unknown, padding.
fn of_metadata<'a>(model: &'a Model, metadata: &'a Metadata) -> impl Iterator<Item = u32> + 'a {
    let known = model.tokenizer.vocab_size();
    let entries = metadata.entries.iter().filter(|(key, _)| names_token(key));
    let named = entries.filter_map(|(_, value)| u32::try_from(unsigned(value)?).ok());
    let own = model
        .tokenizer
        .bos
        .into_iter()
        .chain(model.tokenizer.eos.iter().copied());
    named
        .chain(own)
        .filter(move |token| (*token as usize) < known)
}

/// Tokens of what the chat template puts around people's words.
fn of_template(model: &Model) -> Result<Vec<u32>, ModelError> {
    let pieces = model.chat.pieces()?;
    let texts = [
        Some(pieces.first_user_open),
        pieces.system_open,
        pieces.system_close,
        Some(pieces.user_close),
        Some(pieces.assistant_close),
    ];
    let mut tokens = Vec::new();
    for text in texts.into_iter().flatten() {
        tokens.extend(model.tokenizer.encode(&text, Specials::Parse)?);
    }
    Ok(tokens)
}

/// Leaves what belongs to the tokens that stay, under their new numbers.
fn renumber(metadata: &mut Metadata, model: &Model, tokens: &[u32]) -> Result<(), RewriteError> {
    let vocab = u32::try_from(tokens.len()).unwrap_or(u32::MAX);
    let tables = model.tokenizer.bpe();
    let merges = merges_within(tables, tokens);
    let rows = tokens
        .iter()
        .map(|token| *token as usize)
        .collect::<Vec<_>>();
    let of_size = format!("{}.vocab_size", model.architecture);
    let choose = |value: &[u8], wanted: &[usize], key: &str| {
        let all = elements(value);
        let chosen = all.and_then(|all| {
            wanted
                .iter()
                .map(|i| all.get(*i).copied())
                .collect::<Option<Vec<_>>>()
        });
        let chosen = chosen.map(|chosen| with_elements(value, chosen.into_iter()));
        chosen.ok_or_else(|| {
            ModelError::Tokenizer(format!("expected an element for each token in {key}"))
        })
    };
    let mut entries = Vec::new();
    for (key, value) in std::mem::take(&mut metadata.entries) {
        let value = match key.as_str() {
            TOKENS | "tokenizer.ggml.token_type" | "tokenizer.ggml.scores" => {
                choose(&value, &rows, &key)?
            }
            "tokenizer.ggml.merges" => match tables.kind {
                BpeKind::ByteLevel { .. } => choose(&value, &merges, &key)?,
                // Some files list them, nobody reads them: scores decide.
                BpeKind::SentencePiece { .. } => continue,
            },
            // The whole tokenizer once more, in another form.
            "tokenizer.huggingface.json" => continue,
            _ if key == of_size => number(vocab),
            _ if names_token(&key) => {
                let token = unsigned(&value).and_then(|token| u32::try_from(token).ok());
                let place = token.and_then(|token| tokens.binary_search(&token).ok());
                // What names no token of the vocabulary named none before.
                let Some(place) = place.and_then(|place| u32::try_from(place).ok()) else {
                    continue;
                };
                number(place)
            }
            _ => value,
        };
        entries.push((key, value));
    }
    metadata.entries = entries;
    let before = model.hyperparameters.vocab;
    metadata.text(
        "whittle.rewrite",
        &format!("vocabulary: {vocab} of {before} tokens"),
    );
    Ok(())
}

fn has_rows_of_tokens(tensor: &Tensor) -> bool {
    matches!(tensor.role, Role::Embedding | Role::Output)
}

fn listed(tensor: &Tensor, tokens: usize) -> Listed<'_> {
    let mut listed = listed_unchanged(tensor);
    if has_rows_of_tokens(tensor) {
        listed.dimensions = vec![tensor.cols as u64, tokens as u64];
        listed.bytes = (tokens * row_bytes(tensor)) as u64;
    }
    listed
}

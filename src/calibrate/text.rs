//! What a model is calibrated on: text, or conversations as the model's chat template writes them.

use super::CalibrateError;
use crate::model::{Generation, Message, Model, Specials};
use serde::Deserialize;
use sha2::{Digest as _, Sha256};
use std::fmt::Write as _;

/// Tokens of a window, where the model's context and the text allow it.
pub const WINDOW: usize = 512;
/// Tokens that a calibration takes if nothing else is asked.
pub const DEFAULT_TOKENS: usize = 16_384;
/// Windows of a text that fills none: one shorter window of at least so many tokens.
const SHORTEST: usize = 16;

const DEFAULT_TEXT: &str = include_str!("../../assets/texts/calibration.txt");

/// Tokens in windows that all have the same length, and where they come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CalibrationText {
    /// What people call it: the name of a file, or `default`.
    pub name: String,
    /// SHA-256 of the tokens, little-endian 32-bit numbers, in hexadecimal.
    pub sha256: String,
    /// The windows, each as long as the first.
    pub windows: Vec<Vec<u32>>,
}

/// One line of a file of conversations: `{"messages": [{"role": "user", "content": ".."}, ..]}`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Chat {
    messages: Vec<ChatMessage>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ChatMessage {
    role: String,
    content: String,
}

impl Chat {
    /// What was said, in order.
    pub(crate) fn messages(&self) -> Vec<Message<'_>> {
        let messages = self.messages.iter().map(|m| Message {
            role: &m.role,
            content: &m.content,
        });
        messages.collect()
    }
}

/// The conversations of a file, one a line:
/// `{"messages": [{"role": "user", "content": ".."}, {"role": "assistant", "content": ".."}]}`.
pub(crate) fn conversations(
    name: &str,
    lines: &str,
) -> impl Iterator<Item = Result<Chat, CalibrateError>> {
    let lines = lines.lines().enumerate();
    let filled = lines.filter(|(_, line)| !line.trim().is_empty());
    filled.map(|(index, line)| {
        serde_json::from_str(line).map_err(|e| CalibrateError::Chat {
            name: name.to_owned(),
            line: index + 1,
            message: e.to_string(),
        })
    })
}

impl CalibrationText {
    /// The text that comes along: prose and conversations in English.
    ///
    /// # Errors
    /// When the text cannot be encoded or is too short for this model's tokens.
    pub fn default_of(model: &Model, tokens: usize) -> Result<Self, CalibrateError> {
        Self::of_text(model, "default", DEFAULT_TEXT, tokens)
    }

    /// The first `tokens` tokens of a text.
    ///
    /// # Errors
    /// When the text cannot be encoded or is too short.
    pub fn of_text(
        model: &Model,
        name: &str,
        text: &str,
        tokens: usize,
    ) -> Result<Self, CalibrateError> {
        let ids = model.tokenizer.encode(text, Specials::Plain)?;
        Self::of_tokens(model, name, &ids, tokens)
    }

    /// The first `tokens` tokens of conversations, one a line:
    /// `{"messages": [{"role": "user", "content": ".."}, {"role": "assistant", "content": ".."}]}`.
    ///
    /// # Errors
    /// When a line is no conversation, the chat template refuses it, or all together are too short.
    pub fn of_chats(
        model: &Model,
        name: &str,
        lines: &str,
        tokens: usize,
    ) -> Result<Self, CalibrateError> {
        let mut ids = Vec::new();
        for chat in conversations(name, lines) {
            if ids.len() >= tokens {
                break;
            }
            let chat = chat?;
            let messages = chat.messages();
            let text = model.chat.render(&messages, Generation::None)?;
            ids.extend(model.tokenizer.encode(&text, Specials::Parse)?);
        }
        Self::of_tokens(model, name, &ids, tokens)
    }

    fn of_tokens(
        model: &Model,
        name: &str,
        ids: &[u32],
        tokens: usize,
    ) -> Result<Self, CalibrateError> {
        let longest = WINDOW.min(model.hyperparameters.context as usize);
        let window = longest.min(ids.len());
        if window < SHORTEST {
            return Err(CalibrateError::ShortText {
                name: name.to_owned(),
                tokens: ids.len(),
            });
        }
        let count = (tokens / window).max(1);
        let bos = model.tokenizer.bos.filter(|_| model.tokenizer.adds_bos);
        let windows: Vec<Vec<u32>> = ids
            .chunks_exact(window)
            .take(count)
            .map(|ids| {
                let mut ids = ids.to_vec();
                if let Some(bos) = bos {
                    ids[0] = bos;
                }
                ids
            })
            .collect();
        Ok(Self {
            name: name.to_owned(),
            sha256: sha256_of_tokens(windows.iter().flatten()),
            windows,
        })
    }

    /// Tokens of all windows.
    #[must_use]
    pub fn tokens(&self) -> usize {
        self.windows.iter().map(Vec::len).sum()
    }
}

/// SHA-256 of tokens, little-endian 32-bit numbers, in hexadecimal.
pub(crate) fn sha256_of_tokens<'a>(tokens: impl IntoIterator<Item = &'a u32>) -> String {
    let mut hasher = Sha256::new();
    for token in tokens {
        hasher.update(token.to_le_bytes());
    }
    hasher
        .finalize()
        .iter()
        .fold(String::new(), |mut text, byte| {
            write!(text, "{byte:02x}").expect("a String takes any text");
            text
        })
}

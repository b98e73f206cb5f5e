//! How text goes in and comes out: tokenizer, chat template, stop tokens.

use crate::bytes::FormatError;
use crate::dialogue::Dialogue;
use crate::tokenizer::Tokenizer;

/// How text goes into a model and comes out: tokenizer, chat template, stop tokens.
#[derive(Debug, Clone, Copy)]
pub struct Text<'a> {
    /// Text to tokens and back.
    pub tokenizer: Tokenizer<'a>,
    /// What stands around the user's text.
    pub chat: Chat<'a>,
    stop_tokens: &'a [u8],
}

impl<'a> Text<'a> {
    /// Binds the sections of a packed file for a model of `vocab` tokens.
    ///
    /// # Errors
    /// When a table is damaged.
    pub fn new(
        vocab: u32,
        tokenizer: &[u8],
        vocabulary: &'a [u8],
        merges: &'a [u8],
        chat: &'a [u8],
        stop_tokens: &'a [u8],
    ) -> Result<Self, FormatError> {
        let tokenizer = Tokenizer::new(vocab, tokenizer, vocabulary, merges)?;
        Ok(Self {
            tokenizer,
            chat: Chat::parse(chat)?,
            stop_tokens,
        })
    }

    /// Whether this token ends an answer.
    #[must_use]
    pub fn is_stop(&self, token: u32) -> bool {
        tokens(self.stop_tokens).any(|t| t == token)
    }
}

impl<'a> Chat<'a> {
    fn parse(section: &'a [u8]) -> Result<Self, FormatError> {
        let mut rest = section;
        let mut piece = || {
            let invalid = invalid_chat(section);
            let (count, after) = rest.split_first_chunk::<4>().ok_or(invalid)?;
            match u32::from_le_bytes(*count) {
                u32::MAX => {
                    rest = after;
                    Ok(None)
                }
                count => {
                    let bytes = (count as usize).checked_mul(4).ok_or(invalid)?;
                    let (ids, after) = after.split_at_checked(bytes).ok_or(invalid)?;
                    rest = after;
                    Ok(Some(ids))
                }
            }
        };
        let required = |p: Option<&'a [u8]>| p.ok_or(invalid_chat(section));
        let (first_user_open, system_open, system_close) = (piece()?, piece()?, piece()?);
        let (user_close, assistant_close) = (piece()?, piece()?);
        let dialogue = match *rest {
            [] | [0, 0, 0, 0] => Dialogue::Conversation,
            [1, 0, 0, 0] => Dialogue::Commands,
            _ => return Err(invalid_chat(section)),
        };
        Ok(Chat {
            first_user_open: required(first_user_open)?,
            system: system_open.zip(system_close),
            user_close: required(user_close)?,
            assistant_close: required(assistant_close)?,
            dialogue,
        })
    }
}

const fn invalid_chat(section: &[u8]) -> FormatError {
    let expected = "five lists of tokens, each as long as it says, and 0 or 1";
    FormatError::out_of_range("bytes of the chat template", expected, section.len())
}

/// A chat template as tokens around the user's text; read each piece with [`tokens`].
#[derive(Debug, Clone, Copy)]
pub struct Chat<'a> {
    /// Before the first user's text when no system text is given.
    pub first_user_open: &'a [u8],
    /// Before the system text, and between it and the user's text; `None` without a system role.
    pub system: Option<(&'a [u8], &'a [u8])>,
    /// From the user's text to where the answer begins.
    pub user_close: &'a [u8],
    /// From the answer to the next user's text.
    pub assistant_close: &'a [u8],
    /// How the model is to be asked.
    pub dialogue: Dialogue,
}

/// Reads little-endian token numbers.
pub fn tokens(bytes: &[u8]) -> impl Iterator<Item = u32> + use<'_> {
    bytes
        .as_chunks::<4>()
        .0
        .iter()
        .map(|b| u32::from_le_bytes(*b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_a_model_is_asked_stands_after_the_five_lists() {
        let check = |last: &[u8], expected: Option<Dialogue>| {
            let mut section = [0; 32];
            section[20..20 + last.len()].copy_from_slice(last);
            let chat = Chat::parse(&section[..20 + last.len()]);
            assert_eq!(chat.ok().map(|chat| chat.dialogue), expected, "{last:?}");
        };
        check(&[], Some(Dialogue::Conversation));
        check(&[0, 0, 0, 0], Some(Dialogue::Conversation));
        check(&[1, 0, 0, 0], Some(Dialogue::Commands));
        check(&[2, 0, 0, 0], None);
        check(&[1, 0, 0], None);
        check(&[1, 0, 0, 0, 0], None);
    }
}

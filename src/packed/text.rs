//! The sections of a packed file through which text goes in and comes out.

use super::PackError;
use super::prefix::default_opening;
use crate::model::{BpeKind, Model, SpacePrefix, Specials, TokenKind, Tokenizer, WholeWords};
use engine::dialogue::Dialogue;
use engine::format::{ENTRY_BYTES, FormatError, SHAPE_BYTES, Text, metadata_bytes};
use engine::tokenizer::Pretokenizer;

/// Tokenizer, chat template and stop tokens in the engine's bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TextSections {
    vocab: u32,
    pub(super) tokenizer: Vec<u8>,
    pub(super) vocabulary: Vec<u8>,
    pub(super) merges: Vec<u8>,
    pub(super) chat: Vec<u8>,
    pub(super) stop_tokens: Vec<u8>,
}

impl TextSections {
    /// The text sections of a model.
    ///
    /// # Errors
    /// When the chat template cannot be rendered or its text cannot be encoded.
    pub fn new(model: &Model) -> Result<Self, PackError> {
        let vocab = model.hyperparameters.vocab;
        let tokenizer = &model.tokenizer;
        let (kind, merges) = merges(tokenizer);
        Ok(Self {
            vocab,
            tokenizer: kind,
            vocabulary: vocabulary(tokenizer, vocab),
            merges,
            chat: chat(model)?,
            stop_tokens: words(tokenizer.eos.iter().copied().filter(|t| *t < vocab)),
        })
    }

    /// Bytes before the first tensor of a packed file with this text: of so many tensors, and `others`:
    /// recipe, provenance, prefix.
    #[must_use]
    pub fn metadata_bytes(&self, tensors: usize, others: [usize; 3]) -> usize {
        let [recipe, provenance, prefix] = others;
        let mut lengths = vec![
            SHAPE_BYTES,
            tensors * ENTRY_BYTES,
            self.tokenizer.len(),
            self.vocabulary.len(),
            self.merges.len(),
            self.chat.len(),
            self.stop_tokens.len(),
            recipe,
            provenance,
        ];
        // A file without a prefix does not list one.
        lengths.extend((prefix > 0).then_some(prefix));
        metadata_bytes(&lengths)
    }

    /// Tokens that open a conversation with the system text of the chat template's own; 0 where it has
    /// none.
    #[must_use]
    pub fn own_opening_tokens(&self) -> usize {
        let text = self.text().ok();
        let opening = text.as_ref().and_then(default_opening);
        opening.map_or(0, |tokens| tokens.len())
    }

    /// Makes `opening` the tokens that open a conversation without a system text.
    pub(super) fn open_with(&mut self, opening: &[u32]) {
        // The first of the lists of the chat section, which is always there.
        let count = self
            .chat
            .first_chunk()
            .map_or(0, |c| u32::from_le_bytes(*c));
        let rest = self.chat.split_off(4 + 4 * count as usize);
        self.chat = words([u32::try_from(opening.len()).unwrap_or(0)]);
        self.chat.extend(words(opening.iter().copied()));
        self.chat.extend(rest);
    }

    /// As the engine reads them.
    ///
    /// # Errors
    /// When a table is damaged.
    pub fn text(&self) -> Result<Text<'_>, FormatError> {
        Text::new(
            self.vocab,
            &self.tokenizer,
            &self.vocabulary,
            &self.merges,
            &self.chat,
            &self.stop_tokens,
        )
    }
}

fn words(numbers: impl IntoIterator<Item = u32>) -> Vec<u8> {
    numbers.into_iter().flat_map(u32::to_le_bytes).collect()
}

/// Token count, offsets, numbers in the order of their bytes, bytes. Control tokens have no bytes.
fn vocabulary(tokenizer: &Tokenizer, vocab: u32) -> Vec<u8> {
    let text = |token: u32| match tokenizer.token_kind(token) {
        TokenKind::Control | TokenKind::Unused => &[],
        TokenKind::Normal | TokenKind::UserDefined | TokenKind::Byte => {
            tokenizer.token_bytes(token)
        }
    };
    // Of equal bytes the merged token comes before the byte token, and the lower number first.
    let key = |token: &u32| {
        (
            text(*token),
            tokenizer.token_kind(*token) == TokenKind::Byte,
            *token,
        )
    };
    let mut sorted: Vec<u32> = (0..vocab).collect();
    sorted.sort_unstable_by(|a, b| key(a).cmp(&key(b)));
    // A binary search must meet one token for each text: the others give way to it.
    for i in 1..sorted.len() {
        if text(sorted[i]) == text(sorted[i - 1]) {
            sorted[i] = sorted[i - 1];
        }
    }
    let mut offset = 0;
    let ends = (0..vocab).map(|token| {
        offset += u32::try_from(text(token).len()).unwrap_or(0);
        offset
    });
    let mut bytes = words(std::iter::once(vocab).chain(std::iter::once(0)).chain(ends));
    bytes.extend(words(sorted));
    (0..vocab).for_each(|token| bytes.extend_from_slice(text(token)));
    bytes
}

/// The tokenizer section and the merges: left, right, rank and result, sorted by the pair, in two
/// or three bytes each.
fn merges(tokenizer: &Tokenizer) -> (Vec<u8>, Vec<u8>) {
    let tables = tokenizer.bpe();
    let mut sorted: Vec<(u32, u32, u32, u32)> = (0..)
        .zip(&tables.merges)
        .map(|(rank, m)| (m.left, m.right, rank, m.merged))
        .collect();
    sorted.sort_unstable();
    // A pair that is listed twice has the rank of its last entry.
    sorted.reverse();
    sorted.dedup_by_key(|m| (m.0, m.1));
    sorted.reverse();
    let largest = sorted
        .iter()
        .flat_map(|m| [m.0, m.1, m.2, m.3])
        .max()
        .unwrap_or(0);
    let number_bytes = if largest < 1 << 16 { 2 } else { 3 };
    let number = |n: u32| n.to_le_bytes().into_iter().take(number_bytes);
    let bytes = sorted
        .into_iter()
        .flat_map(|m| [m.0, m.1, m.2, m.3])
        .flat_map(number)
        .collect();
    let (pretokenizer, prefix_space) = match tables.kind {
        BpeKind::ByteLevel { pretokenizer } => (pretokenizer.into(), false),
        BpeKind::SentencePiece { space_prefix } => (
            Pretokenizer::SentencePiece,
            space_prefix == SpacePrefix::EachSegment,
        ),
    };
    let whole_words = tables.whole_words == WholeWords::LookedUp;
    let number_bytes = if number_bytes == 2 { 2 } else { 3 };
    let kind = words([
        pretokenizer.number(),
        u32::from(prefix_space),
        number_bytes,
        u32::from(whole_words),
    ]);
    (kind, bytes)
}

impl From<crate::model::Pretokenizer> for Pretokenizer {
    fn from(pretokenizer: crate::model::Pretokenizer) -> Self {
        match pretokenizer {
            crate::model::Pretokenizer::Gpt2 => Self::Gpt2,
            crate::model::Pretokenizer::SmolLm => Self::SmolLm,
            crate::model::Pretokenizer::Qwen2 => Self::Qwen2,
            crate::model::Pretokenizer::Llama3 => Self::Llama3,
        }
    }
}

/// The pieces of the chat template as tokens, each with its count; absent pieces count `u32::MAX`.
/// Then how the model is to be asked.
fn chat(model: &Model) -> Result<Vec<u8>, PackError> {
    let pieces = model.chat.pieces()?;
    let tokenizer = &model.tokenizer;
    // A piece that opens a conversation begins with the beginning-of-text token where the
    // tokenizer adds one and the template does not.
    let encode = |piece: &str, opens: Opens| -> Result<Vec<u32>, PackError> {
        let mut tokens = tokenizer.encode(piece, Specials::Parse)?;
        if let (Opens::Conversation, true, Some(bos)) = (opens, tokenizer.adds_bos, tokenizer.bos)
            && tokens.first() != Some(&bos)
        {
            tokens.insert(0, bos);
        }
        Ok(tokens)
    };
    let mut bytes = Vec::new();
    let mut put = |piece: Option<Vec<u32>>| match piece {
        None => bytes.extend(u32::MAX.to_le_bytes()),
        Some(tokens) => {
            bytes.extend(u32::try_from(tokens.len()).unwrap_or(0).to_le_bytes());
            bytes.extend(words(tokens));
        }
    };
    put(Some(encode(&pieces.first_user_open, Opens::Conversation)?));
    put(pieces
        .system_open
        .as_deref()
        .map(|p| encode(p, Opens::Conversation))
        .transpose()?);
    put(pieces
        .system_close
        .as_deref()
        .map(|p| encode(p, Opens::Nothing))
        .transpose()?);
    put(Some(encode(&pieces.user_close, Opens::Nothing)?));
    put(Some(encode(&pieces.assistant_close, Opens::Nothing)?));
    match model.dialogue {
        // Left out, so that the files of such models stay as they were.
        Dialogue::Conversation => {}
        Dialogue::Commands => bytes.extend(model.dialogue.number().to_le_bytes()),
    }
    Ok(bytes)
}

#[derive(Clone, Copy)]
enum Opens {
    Conversation,
    Nothing,
}

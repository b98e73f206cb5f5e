//! The tokens with which conversations begin, with the keys and values that the engine makes of them,
//! computed once, when a model is packed.

use super::chat::{ChatError, encode};
use super::{PackError, WeightSource};
use engine::arena::{ArenaLayout, CachePrecision, Limits};
use engine::format::{Text, tokens};
use engine::session::{Session, SessionError};
use engine::shape::Hyperparameters;
use engine::workers::Host;

/// Tokens computed together.
const BATCH: usize = 64;

/// With which text the conversations of a packed model begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PrefixText<'a> {
    /// With the system text that the chat template gives where none is said; none, if it gives none.
    OfTemplate,
    /// With this system text.
    System(&'a str),
    /// With exactly these tokens, as those of another packed file of the model.
    Tokens(&'a [u32]),
    /// With the chat template's opening, which is computed in each conversation.
    None,
}

/// What is computed when a model is packed.
#[derive(Debug, Clone, Copy)]
pub struct PrefixChoice<'a> {
    /// The text.
    pub text: PrefixText<'a>,
    /// Bits of an element of keys and values that the file is made for: those of the text are computed at
    /// these, and conversations at others compute them themselves.
    pub cache: CachePrecision,
}

/// The tokens from the start of a conversation to where the user's text begins; `None` where nothing is
/// to be computed beforehand.
///
/// # Errors
/// When the chat template has no place for a system text, or the text cannot be encoded.
pub(super) fn opening(
    text: &Text<'_>,
    choice: PrefixText<'_>,
) -> Result<Option<Vec<u32>>, ChatError> {
    match choice {
        PrefixText::None => Ok(None),
        PrefixText::Tokens(tokens) => Ok(Some(tokens.to_vec())),
        PrefixText::OfTemplate => Ok(default_opening(text)),
        PrefixText::System(system) => {
            let (open, close) = text.chat.system.ok_or(ChatError::NoSystemRole)?;
            let mut opening: Vec<u32> = tokens(open).collect();
            encode(text, system, &mut opening)?;
            opening.extend(tokens(close));
            Ok(Some(opening))
        }
    }
}

/// What opens a conversation without a system text, where a system text of the template's own stands in
/// it.
pub(super) fn default_opening(text: &Text<'_>) -> Option<Vec<u32>> {
    let (open, _) = text.chat.system?;
    let first = text.chat.first_user_open;
    let has_own = !open.is_empty() && first.len() > open.len() && first.starts_with(open);
    has_own.then(|| tokens(first).collect())
}

/// Checks that a conversation can go on after these tokens.
///
/// # Errors
/// When they fill the model's context.
pub(super) fn require_room(shape: &Hyperparameters, opening: &[u32]) -> Result<(), ChatError> {
    let (needed, context) = (opening.len() + 1, shape.context as usize);
    if needed > context {
        return Err(SessionError::ContextFull { needed, context }.into());
    }
    Ok(())
}

/// The section of a packed file: precision, tokens, and what the engine keeps of them.
///
/// # Errors
/// When the tokens fill the model's context.
pub(super) fn section(
    source: &dyn WeightSource,
    host: &Host<'_>,
    opening: &[u32],
    cache: CachePrecision,
) -> Result<Vec<u8>, PackError> {
    let shape = source.shape();
    require_room(shape, opening)?;
    let limits = Limits {
        context: opening.len(),
        batch: opening.len().min(BATCH),
        cache,
    };
    let mut arena = vec![0; ArenaLayout::new(shape, limits).words()];
    let mut section = Vec::new();
    let mut result = Ok(());
    source.lend(&mut |weights| {
        result = Session::new(weights.shape(), limits, &mut arena).and_then(|mut session| {
            session.forward(weights, host, opening, &mut [])?;
            let start = [cache.bits(), opening.len()].map(|n| u32::try_from(n).unwrap_or(0));
            let words = start.iter().chain(opening).chain(session.cache_words());
            section = words.flat_map(|word| word.to_le_bytes()).collect();
            Ok(())
        });
    });
    result.map_err(ChatError::from)?;
    Ok(section)
}

//! Which tokens of a vocabulary stay when it is trimmed to what a model's users say.
//!
//! Byte pair encoding of a text passes through tokens that its result does not show: *the* may be made of
//! *t* and *he*. A vocabulary that holds all of them, with the merges whose three tokens stayed, cuts the
//! text as before: at each step the pair that merges first is among those that stayed, and no pair is there
//! that was not there before.

use crate::model::{BpeTables, TokenKind, Tokenizer};
use std::cmp::Reverse;
use std::collections::{BTreeSet, HashMap};

/// Rows that a block of the engine's matrices has: a vocabulary is filled up to whole blocks.
pub(super) const BLOCK: usize = engine::encoding::BLOCK_ROWS;

/// What tokens are made of.
pub(super) struct Derivations<'a> {
    /// Token i as its file spells it.
    texts: &'a [&'a str],
    /// The first token of each text.
    ids: HashMap<&'a str, u32>,
    /// Rank and result of each pair.
    ranks: HashMap<(u32, u32), (usize, u32)>,
}

impl<'a> Derivations<'a> {
    pub(super) fn new(texts: &'a [&'a str], tables: &BpeTables) -> Self {
        let mut ids = HashMap::with_capacity(texts.len());
        for (text, id) in texts.iter().zip(0_u32..) {
            ids.entry(*text).or_insert(id);
        }
        // Of a pair that is listed twice the last rank counts.
        let ranked = tables.merges.iter().enumerate();
        let ranks = ranked.map(|(rank, m)| ((m.left, m.right), (rank, m.merged)));
        Self {
            texts,
            ids,
            ranks: ranks.collect(),
        }
    }

    /// Every token that `token` is made through, itself included: single characters, and what their pairs
    /// become one after another. Itself alone when merging does not lead to it.
    fn of(&self, token: u32) -> BTreeSet<u32> {
        let text = self.texts.get(token as usize).copied().unwrap_or("");
        let alone = BTreeSet::from([token]);
        let mut letter = [0; 4];
        let letters = text.chars();
        let letters = letters.map(|c| self.ids.get(&*c.encode_utf8(&mut letter)).copied());
        let Some(mut parts) = letters.collect::<Option<Vec<u32>>>() else {
            return alone;
        };
        let mut passed: BTreeSet<u32> = parts.iter().copied().collect();
        while let Some((_, merged, at)) = self.first_pair(&parts) {
            parts.splice(at..at + 2, [merged]);
            passed.insert(merged);
        }
        if parts == [token] { passed } else { alone }
    }

    /// Rank, result and place of the pair that merges first.
    fn first_pair(&self, parts: &[u32]) -> Option<(usize, u32, usize)> {
        let pairs = parts.windows(2).enumerate().filter_map(|(at, pair)| {
            let (rank, merged) = self.ranks.get(&(pair[0], pair[1]))?;
            Some((*rank, *merged, at))
        });
        pairs.min_by_key(|(rank, _, at)| (*rank, *at))
    }

    /// Adds all that `tokens` are made through.
    fn close(&self, tokens: &mut BTreeSet<u32>) {
        let passed: Vec<u32> = tokens.iter().flat_map(|token| self.of(*token)).collect();
        tokens.extend(passed);
    }

    /// Text length of a token.
    fn length(&self, token: u32) -> usize {
        self.texts.get(token as usize).map_or(0, |text| text.len())
    }
}

/// Tokens that any text needs: controls, those that are found whole, single bytes, and `others` with what
/// they are made of.
pub(super) fn indispensable(
    tokenizer: &Tokenizer,
    derivations: &Derivations<'_>,
    others: impl IntoIterator<Item = u32>,
) -> BTreeSet<u32> {
    let mut kept: BTreeSet<u32> = others.into_iter().collect();
    for (token, text) in (0_u32..).zip(derivations.texts) {
        let is_letter =
            || tokenizer.token_bytes(token).len() == 1 && tokenizer.token_text(token) == **text;
        let stays = match tokenizer.token_kind(token) {
            TokenKind::Control | TokenKind::UserDefined | TokenKind::Byte => true,
            TokenKind::Normal => is_letter(),
            TokenKind::Unused => false,
        };
        if stays {
            kept.insert(token);
        }
    }
    derivations.close(&mut kept);
    kept
}

/// The tokens that stay, ascending: `indispensable`, those that occur and what they are made of, the often
/// used ones first, up to `most`; then the earliest merges up to whole blocks, or up to `most`.
///
/// `counts` says how often each token occurs.
pub(super) fn kept(
    derivations: &Derivations<'_>,
    tables: &BpeTables,
    indispensable: BTreeSet<u32>,
    counts: &HashMap<u32, u64>,
    most: Option<usize>,
) -> Vec<u32> {
    // A part is used at least as often as what is made of it and is shorter, so that it comes first.
    let mut uses = HashMap::<u32, u64>::new();
    let mut occurring: Vec<_> = counts.iter().collect();
    occurring.sort_unstable();
    for (token, count) in occurring {
        for part in derivations.of(*token) {
            *uses.entry(part).or_default() += count;
        }
    }
    let mut kept = indispensable;
    let mut wanted: Vec<_> = uses
        .into_iter()
        .filter(|(token, _)| !kept.contains(token))
        .collect();
    wanted
        .sort_unstable_by_key(|(token, uses)| (Reverse(*uses), derivations.length(*token), *token));
    let room = most.map_or(wanted.len(), |most| most.saturating_sub(kept.len()));
    kept.extend(wanted.iter().take(room).map(|(token, _)| *token));
    let target = most.unwrap_or(kept.len().next_multiple_of(BLOCK));
    for merge in &tables.merges {
        if kept.len() >= target {
            break;
        }
        if kept.contains(&merge.left) && kept.contains(&merge.right) {
            kept.insert(merge.merged);
        }
    }
    kept.into_iter().collect()
}

/// The ranks of the merges of which all three tokens stay, in order.
pub(super) fn merges_within(tables: &BpeTables, kept: &[u32]) -> Vec<usize> {
    let stays = |token: u32| kept.binary_search(&token).is_ok();
    let merges = tables.merges.iter().enumerate();
    merges
        .filter(|(_, m)| stays(m.left) && stays(m.right) && stays(m.merged))
        .map(|(rank, _)| rank)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{BpeKind, Merge, Normalization, Pretokenizer, WholeWords};

    const TEXTS: [&str; 9] = ["h", "e", "l", "o", "he", "ll", "hell", "hello", "lo"];

    fn tables() -> BpeTables {
        let merge = |left, right, merged| Merge {
            left,
            right,
            merged,
        };
        BpeTables {
            kind: BpeKind::ByteLevel {
                pretokenizer: Pretokenizer::Gpt2,
            },
            whole_words: WholeWords::Merged,
            normalization: Normalization::None,
            merges: vec![
                merge(0, 1, 4),
                merge(2, 2, 5),
                merge(4, 5, 6),
                merge(2, 3, 8),
                merge(6, 3, 7),
            ],
        }
    }

    #[test]
    fn a_token_is_made_through_its_parts() {
        let tables = tables();
        let derivations = Derivations::new(&TEXTS, &tables);
        let check = |token, expected: &[u32]| {
            assert_eq!(derivations.of(token), expected.iter().copied().collect());
        };
        check(0, &[0]);
        check(5, &[2, 5]);
        check(7, &[0, 1, 2, 3, 4, 5, 6, 7]);
        // Not a token at all.
        check(99, &[99]);
    }

    #[test]
    fn what_merging_does_not_lead_to_stands_alone() {
        let tables = tables();
        let texts = [
            "h", "e", "l", "o", "he", "ll", "hell", "hello", "lo", "ho", "x!",
        ];
        let derivations = Derivations::new(&texts, &tables);
        assert_eq!(derivations.of(9), BTreeSet::from([9]));
        assert_eq!(derivations.of(10), BTreeSet::from([10]));
    }

    #[test]
    fn the_rarest_go_first_and_parts_stay_with_the_whole() {
        let tables = tables();
        let derivations = Derivations::new(&TEXTS, &tables);
        let letters = BTreeSet::from([0, 1, 2, 3]);
        let counts = HashMap::from([(7, 5), (8, 9)]);
        let check = |most, expected: &[u32]| {
            let kept = kept(&derivations, &tables, letters.clone(), &counts, most);
            assert_eq!(kept, expected, "{most:?}");
        };
        check(Some(4), &[0, 1, 2, 3]);
        check(Some(5), &[0, 1, 2, 3, 8]);
        check(Some(6), &[0, 1, 2, 3, 4, 8]);
        check(Some(8), &[0, 1, 2, 3, 4, 5, 6, 8]);
        check(None, &[0, 1, 2, 3, 4, 5, 6, 7, 8]);
    }

    #[test]
    fn the_earliest_merges_fill_what_is_left() {
        let tables = tables();
        let derivations = Derivations::new(&TEXTS, &tables);
        let letters = BTreeSet::from([0, 1, 2, 3]);
        let kept = kept(&derivations, &tables, letters, &HashMap::new(), Some(6));
        assert_eq!(kept, [0, 1, 2, 3, 4, 5]);
        assert_eq!(merges_within(&tables, &kept), [0, 1]);
    }

    /// Merges in rank order until none is left.
    fn cut(derivations: &Derivations<'_>, text: &str) -> Vec<u32> {
        let letter = |c: char| derivations.ids[&*c.to_string()];
        let mut parts: Vec<u32> = text.chars().map(letter).collect();
        while let Some((_, merged, at)) = derivations.first_pair(&parts) {
            parts.splice(at..at + 2, [merged]);
        }
        parts
    }

    proptest::proptest! {
        /// Whatever the merges are, and in whatever order: texts are cut as before.
        #[test]
        fn texts_are_cut_as_before(
            pairs in proptest::collection::vec((0_usize..40, 0_usize..40), 0..30),
            words in proptest::collection::vec("[abc]{1,12}", 1..6),
        ) {
            let mut texts: Vec<String> = ["a", "b", "c"].map(str::to_owned).to_vec();
            let mut merges = Vec::new();
            for (left, right) in pairs {
                let (left, right) = (left % texts.len(), right % texts.len());
                let merged = texts[left].clone() + &texts[right];
                let place = texts.iter().position(|t| *t == merged).unwrap_or(texts.len());
                if place == texts.len() {
                    texts.push(merged);
                }
                let [left, right, merged] = [left, right, place].map(|i| u32::try_from(i).unwrap());
                merges.push(Merge { left, right, merged });
            }
            let all = BpeTables { merges, ..tables() };
            let spelled: Vec<&str> = texts.iter().map(String::as_str).collect();
            let derivations = Derivations::new(&spelled, &all);
            let mut counts = HashMap::new();
            for token in words.iter().flat_map(|word| cut(&derivations, word)) {
                *counts.entry(token).or_default() += 1;
            }
            let stay = kept(&derivations, &all, BTreeSet::from([0, 1, 2]), &counts, None);
            let ranks = merges_within(&all, &stay);
            let fewer = BpeTables {
                merges: ranks.into_iter().map(|rank| all.merges[rank]).collect(),
                ..tables()
            };
            let trimmed = Derivations::new(&spelled, &fewer);
            for word in &words {
                proptest::prop_assert_eq!(cut(&trimmed, word), cut(&derivations, word));
            }
        }
    }
}

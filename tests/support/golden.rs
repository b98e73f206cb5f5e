//! Golden answers: the tokens that packed files gave to one prompt, and the hash of their logits, as they
//! were written down in `tests/golden/`.
//!
//! Include with `#[path = "support/golden.rs"] mod golden;`.
#![allow(dead_code, reason = "each test binary uses its own part")]

use engine::arena::{ArenaLayout, CachePrecision, Limits};
use engine::float;
use engine::format::{Packed, tokens};
use engine::sampler::{LogitsHash, Sampler, Sampling};
use engine::session::Session;
use engine::weights::{Weights, table_len};
use engine::workers::Host;
use std::fmt;
use std::path::{Path, PathBuf};

/// What every golden file is asked.
pub(crate) const PROMPT: &str = "Hello, board: is 2 + 2 = 4?";
/// Longest answer in tokens.
pub(crate) const MAX_TOKENS: usize = 6;
/// Tokens of the conversation at most.
pub(crate) const CONTEXT: usize = 128;
/// Tokens of a prefill batch.
const BATCH: usize = 5;

/// The answer of one file with keys and values of one precision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Golden {
    /// The file, without its extension.
    pub(crate) name: String,
    pub(crate) cache: CachePrecision,
    pub(crate) hash: LogitsHash,
    pub(crate) tokens: Vec<u32>,
}

impl fmt::Display for Golden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, bits) = (&self.name, self.cache.bits());
        write!(f, "{name} {bits} {:016x}", self.hash.0)?;
        self.tokens
            .iter()
            .try_for_each(|token| write!(f, " {token}"))
    }
}

/// Reads a table, without the header where insta wrote it.
pub(crate) fn text(path: &Path) -> String {
    let text = std::fs::read_to_string(path)
        .unwrap_or_else(|error| panic!("cannot read {}: {error}", path.display()));
    match text.strip_prefix("---\n") {
        Some(rest) => rest
            .split_once("\n---\n")
            .expect("the end of the header")
            .1
            .to_owned(),
        None => text,
    }
}

/// Reads a table of answers, a line each.
pub(crate) fn read(path: &Path) -> Vec<Golden> {
    let answers: Vec<Golden> = text(path).lines().map(parse).collect();
    assert!(!answers.is_empty(), "no answers in {}", path.display());
    answers
}

fn parse(line: &str) -> Golden {
    let mut words = line.split(' ');
    let mut word = || {
        words
            .next()
            .unwrap_or_else(|| panic!("a short line: {line}"))
    };
    let (name, bits, hash) = (word().to_owned(), word(), word());
    let bits = bits.parse().expect("bits of keys and values");
    Golden {
        name,
        cache: CachePrecision::from_bits(bits).expect("16, 8 or 4 bits"),
        hash: LogitsHash(u64::from_str_radix(hash, 16).expect("a hash in hexadecimal")),
        tokens: words.map(|t| t.parse().expect("a token")).collect(),
    }
}

/// Every packed file of a folder with its name, in the order of the names.
pub(crate) fn files(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let entries = std::fs::read_dir(folder)
        .unwrap_or_else(|error| panic!("cannot read {}: {error}", folder.display()));
    let mut paths: Vec<PathBuf> = entries
        .map(|e| e.expect("a readable folder").path())
        .collect();
    paths.retain(|path| path.extension().is_some_and(|e| e == "whittle"));
    paths.sort();
    let named = paths.into_iter().map(|path| {
        let name = path.file_name().and_then(|n| n.to_str()).expect("UTF-8");
        // insta puts `.snap` between name and extension.
        let name = name.split('.').next().unwrap_or_default().to_owned();
        (name, std::fs::read(&path).expect("a readable file"))
    });
    named.collect()
}

/// Floats of every exponent and sign, without those that are no numbers.
fn inputs() -> impl Iterator<Item = f32> {
    // A prime: no bit of the mantissa stands still.
    let bits = (0..=u32::MAX).step_by(40_009);
    bits.map(f32::from_bits).filter(|x| !x.is_nan())
}

/// From one number to another in equal steps.
fn steps(from: f32, to: f32, count: u16) -> impl Iterator<Item = f32> {
    let step = (to - from) / f32::from(count);
    (0..=count).map(move |i| from + step * f32::from(i))
}

/// A digest of the results of each function of `engine::float`, a line each. Another order of the same
/// products is another function, and changes the line.
pub(crate) fn functions() -> String {
    let line = |name: &str, results: &mut dyn Iterator<Item = f32>| {
        let mut hash = LogitsHash::default();
        results.for_each(|x| hash.update(&[x]));
        format!("{name} {:016x}\n", hash.0)
    };
    // Angles as the rotary embedding has them, and far beyond.
    let angles = || steps(-7.0, 7.0, 20_000).chain(steps(0.0, 4e5, 40_000));
    let whole = steps(-9.0, 9.0, 1_000).chain(steps(-4e6, 4e6, 60_000));
    let half = |x| float::f32_from_f16(float::f16_from_f32(x));
    [
        line(
            "exp",
            &mut inputs().chain(steps(-87.4, 88.8, 60_000)).map(float::exp),
        ),
        line("sin", &mut angles().map(|x| float::sin_cos(x.into()).0)),
        line("cos", &mut angles().map(|x| float::sin_cos(x.into()).1)),
        line("sqrt", &mut inputs().map(f32::abs).map(float::sqrt)),
        line("half", &mut inputs().map(half)),
        line("round", &mut whole.map(float::round_half_even)),
    ]
    .concat()
}

/// What the engine alone answers to [`PROMPT`]: tokens drawn greedily, and the hash of all their logits.
pub(crate) fn answer(
    file: &[u8],
    host: &Host<'_>,
    cache: CachePrecision,
) -> (Vec<u32>, LogitsHash) {
    let packed = Packed::parse(file).expect("a packed file");
    (0..packed.tensors()).for_each(|i| packed.verify(i).expect("an undamaged tensor"));
    let text = packed.text().expect("a tokenizer and a chat template");
    let shape = packed.shape();
    let mut table = vec![None; table_len(shape.layers)];
    packed
        .fill_table(&mut table)
        .expect("a table of this length");
    let weights = Weights::new(*shape, &table).expect("every tensor");

    let mut said: Vec<u32> = tokens(text.chat.first_user_open).collect();
    let mut room = vec![0; PROMPT.len() + 1];
    text.tokenizer
        .encode(PROMPT, &mut room, &mut |token| said.push(token))
        .expect("room for every word");
    said.extend(tokens(text.chat.user_close));

    let limits = Limits {
        context: CONTEXT,
        batch: BATCH,
        cache,
    };
    let prefix = packed.prefix().filter(|p| p.begins(&said, cache));
    let layout = ArenaLayout::after(prefix.map_or(0, |p| p.positions()), shape, limits);
    let mut arena = vec![0; layout.words()];
    let mut session = Session::after(prefix, shape, limits, &mut arena).expect("a session");
    let mut logits = vec![0.0; shape.vocab as usize];
    let mut forward = |tokens: &[u32], logits: &mut [f32]| {
        let done = session.forward(&weights, host, tokens, logits);
        done.expect("room in the context");
        session.position()
    };
    forward(&said[prefix.map_or(0, |p| p.positions())..], &mut logits);

    let mut sampler = Sampler::new(Sampling::GREEDY);
    let (mut hash, mut drawn) = (LogitsHash::default(), Vec::new());
    while drawn.len() < MAX_TOKENS {
        hash.update(&logits);
        let token = sampler.sample(&mut logits, &[]).expect("finite logits");
        if text.is_stop(token) {
            break;
        }
        drawn.push(token);
        if drawn.len() < MAX_TOKENS {
            forward(&[token], &mut logits);
        }
    }
    (drawn, hash)
}

//! Short forms of valid files: together they have every encoding, role and pre-tokenizer.

use super::RUN_SECTION;
use engine::arena::CachePrecision;
use engine::encoding::Encoding;
use engine::format::{
    ENTRY_BYTES, Need, NewSection, Section, metadata_bytes, prefix_bytes, shape_section,
    write_metadata,
};
use engine::shape::{Hyperparameters, Role, RopePairs};

/// Five models; each takes its encodings in turn, so that every one is in some model.
pub fn seeds() -> Vec<(String, Vec<u8>)> {
    let mut encodings = Encoding::ALL
        .into_iter()
        .filter(|e| *e != Encoding::F32)
        .cycle();
    (0..5)
        .map(|model| {
            let shape = shape(model);
            let name = format!("model-{model}");
            (name, short_form(&shape, model, &mut encodings))
        })
        .collect()
}

fn shape(model: u32) -> Hyperparameters {
    let heads = [2, 4, 3, 1, 2][model as usize];
    Hyperparameters {
        layers: 1 + u32::from(model == 4),
        hidden: [24, 33, 64, 40, 16][model as usize],
        feed_forward: [40, 20, 70, 32, 24][model as usize],
        heads,
        kv_heads: if model == 1 { 2 } else { heads },
        head_dim: [8, 6, 36, 16, 4][model as usize],
        vocab: 11 + model,
        context: 32,
        norm_epsilon: 1e-5,
        rope_pairs: if model.is_multiple_of(2) {
            RopePairs::Adjacent
        } else {
            RopePairs::Halves
        },
    }
}

fn words(numbers: impl IntoIterator<Item = u32>) -> Vec<u8> {
    numbers.into_iter().flat_map(u32::to_le_bytes).collect()
}

fn short_form(
    shape: &Hyperparameters,
    model: u32,
    encodings: &mut impl Iterator<Item = Encoding>,
) -> Vec<u8> {
    // One pre-tokenizer for each model; a space first; 2 or 3 bytes a number.
    let number_bytes = if model == 3 { 3 } else { 2 };
    let merge = [6u32, 3, 0, 8];
    let merge = merge
        .into_iter()
        .flat_map(|n| n.to_le_bytes().into_iter().take(number_bytes as usize));
    let none = u32::MAX;
    let chat = if model.is_multiple_of(2) {
        words([1, 1, none, none, 2, 2, 1, 1, 2])
    } else {
        words([0, 1, 1, 1, 2, 1, 3, 0])
    };
    let precision = CachePrecision::ALL.get(model as usize);
    let parts: [(Section, Vec<u8>); Section::ALL.len()] = [
        (Section::Shape, shape_section(shape).to_vec()),
        (Section::Tensors, directory(shape, model, encodings)),
        (
            Section::Tokenizer,
            words([model, 1, number_bytes, model & 1]),
        ),
        (Section::Vocabulary, vocabulary(shape.vocab)),
        (Section::Merges, merge.collect()),
        (Section::Chat, chat),
        (Section::StopTokens, words([2])),
        (Section::Recipe, b"# one".to_vec()),
        (Section::Provenance, Vec::new()),
        // One of each precision.
        (
            Section::Prefix,
            precision.map_or_else(Vec::new, |precision| prefix(shape, model, *precision)),
        ),
    ];
    // Context, batch, cache, tokens, three tokens, the prompt or not.
    let mut run = vec![24, 2, model.to_le_bytes()[0], 2, 3, 1, 4, 0];
    run.resize(16, 0);
    let known = parts.iter().map(|(s, bytes)| NewSection::known(*s, bytes));
    let unknown = NewSection {
        name: RUN_SECTION,
        need: Need::Optional,
        bytes: &run,
    };
    let sections: Vec<_> = known.chain([unknown]).collect();
    let lengths: Vec<_> = sections.iter().map(|s| s.bytes.len()).collect();
    let mut file = vec![0; metadata_bytes(&lengths)];
    let cache = precision.copied().unwrap_or(CachePrecision::Eight);
    write_metadata(cache, &sections, 0, &mut file);
    file.resize(file.len().next_multiple_of(4), 0);
    // Moderate halves and floats; codes of all kinds.
    file.extend((0..64u8).map(|i| match i % 4 {
        1 | 3 => 0x30 + (i / 2 + i / 4) % 12 + (i & 4) * 32,
        _ => i.wrapping_mul(73),
    }));
    file
}

/// Some tokens, and halves of moderate size, also where they are codes.
fn prefix(shape: &Hyperparameters, model: u32, precision: CachePrecision) -> Vec<u8> {
    let tokens = 3 + 10 * model;
    let bits = u32::try_from(precision.bits()).expect("16 at most");
    let bytes = prefix_bytes(shape, precision, tokens as usize);
    let mut prefix = words([bits, tokens]);
    prefix.extend(words((0..tokens).map(|i| i % 7)));
    let rest = usize::try_from(bytes).expect("short") - prefix.len();
    prefix.extend((0..rest).map(|i| if i % 2 == 0 { 41 } else { 0x2c }));
    prefix
}

fn directory(
    shape: &Hyperparameters,
    model: u32,
    encodings: &mut impl Iterator<Item = Encoding>,
) -> Vec<u8> {
    let has = |role: Role| match role {
        Role::QueryBias | Role::KeyBias | Role::ValueBias => model == 2,
        Role::QueryNorm | Role::KeyNorm => model == 3,
        Role::Output => model == 1,
        Role::Embedding
        | Role::AttentionNorm
        | Role::Query
        | Role::Key
        | Role::Value
        | Role::AttentionOutput
        | Role::FeedForwardNorm
        | Role::Gate
        | Role::Up
        | Role::Down
        | Role::OutputNorm
        | Role::RopeFrequencies => true,
    };
    let mut directory = Vec::new();
    for layer in 0..shape.layers {
        let roles = Role::ALL.into_iter().filter(|r| has(*r));
        for role in roles.filter(|r| layer == 0 || r.is_per_layer()) {
            let encoding = if role.is_matrix() {
                encodings.next().expect("they go round")
            } else {
                Encoding::F32
            };
            let (_, cols) = role.shape(shape);
            let kept = match encoding {
                Encoding::Sparse(_) => cols / 2,
                Encoding::F32
                | Encoding::F16
                | Encoding::Dense(_)
                | Encoding::Ternary
                | Encoding::OneOfFour
                | Encoding::Twin(_) => cols,
            };
            let mut entry = vec![0; ENTRY_BYTES];
            let name = role.gguf_name().as_bytes();
            entry[..name.len()].copy_from_slice(name);
            entry[40] = role as u8;
            entry[41] = encoding.number();
            // Rows and columns follow from the header.
            entry[44..48].copy_from_slice(&words([layer]));
            entry[56..60].copy_from_slice(&words([kept]));
            directory.extend(entry);
        }
    }
    directory
}

/// Three control tokens, then letters and pairs of them.
fn vocabulary(vocab: u32) -> Vec<u8> {
    let tokens: Vec<&[u8]> = [
        b"".as_slice(),
        b"",
        b"",
        b"e",
        b"o",
        b" ",
        b"h",
        b"l",
        b"he",
        b"2",
        b"!",
        b"y",
        b"u",
        b"\n",
        b"\xc3\xa9",
    ][..vocab as usize]
        .to_vec();
    let mut sorted: Vec<u32> = (0..vocab).collect();
    sorted.sort_by_key(|i| tokens[*i as usize]);
    let mut end = 0;
    let ends = tokens.iter().map(|token| {
        end += u32::try_from(token.len()).expect("short");
        end
    });
    let mut bytes = words([vocab, 0].into_iter().chain(ends).chain(sorted));
    bytes.extend(tokens.concat());
    bytes
}

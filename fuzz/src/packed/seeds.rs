//! Short forms of valid files: together they have every encoding, role and pre-tokenizer.

use engine::arena::CachePrecision;
use engine::encoding::Encoding;
use engine::format::{ENTRY_BYTES, HEADER_BYTES, MAGIC, SECTIONS, Section, VERSION, prefix_bytes};
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
    let mut sections: [Vec<u8>; SECTIONS] = Default::default();
    sections[Section::Directory as usize] = directory(shape, model, encodings);
    // One pre-tokenizer for each model; a space first; 2 or 3 bytes a number.
    let number_bytes = if model == 3 { 3 } else { 2 };
    sections[Section::Tokenizer as usize] = words([model, 1, number_bytes, model & 1]);
    sections[Section::Vocabulary as usize] = vocabulary(shape.vocab);
    let merge = [6u32, 3, 0, 8];
    sections[Section::Merges as usize] = merge
        .into_iter()
        .flat_map(|n| n.to_le_bytes().into_iter().take(number_bytes as usize))
        .collect();
    let none = u32::MAX;
    sections[Section::Chat as usize] = if model.is_multiple_of(2) {
        words([1, 1, none, none, 2, 2, 1, 1, 2])
    } else {
        words([0, 1, 1, 1, 2, 1, 3, 0])
    };
    sections[Section::StopTokens as usize] = words([2]);
    sections[Section::Recipe as usize] = b"# one".to_vec();
    // One of each precision.
    if let Some(precision) = CachePrecision::ALL.get(model as usize) {
        let bits = u32::try_from(precision.bits()).expect("16 at most");
        let bytes = prefix_bytes(shape, *precision, 3 + 10 * model as usize);
        let mut prefix = words([bits, 3 + 10 * model]);
        prefix.extend(words((0..3 + 10 * model).map(|i| i % 7)));
        // Halves of moderate size, also where they are codes.
        let rest = usize::try_from(bytes).expect("short") - prefix.len();
        prefix.extend((0..rest).map(|i| if i % 2 == 0 { 41 } else { 0x2c }));
        sections[Section::Prefix as usize] = prefix;
    }
    let mut file = vec![0; HEADER_BYTES];
    for (index, section) in sections.iter().enumerate() {
        let place = words([file.len(), section.len()].map(|n| u32::try_from(n).expect("short")));
        file[72 + 8 * index..][..8].copy_from_slice(&place);
        file.extend_from_slice(section);
        file.resize(file.len().next_multiple_of(4), 0);
    }
    let metadata_bytes = u32::try_from(file.len()).expect("short");
    let tensors = sections[Section::Directory as usize].len() / ENTRY_BYTES;
    file[..8].copy_from_slice(&MAGIC);
    file[8..16].copy_from_slice(&words([VERSION, metadata_bytes]));
    file[20..24].copy_from_slice(&words([u32::try_from(tensors).expect("few")]));
    let numbers = words([
        shape.layers,
        shape.hidden,
        shape.feed_forward,
        shape.heads,
        shape.kv_heads,
        shape.head_dim,
        shape.vocab,
        shape.context,
        shape.norm_epsilon.to_bits(),
        u32::from(shape.rope_pairs == RopePairs::Halves),
    ]);
    file[32..72].copy_from_slice(&numbers);
    // Context, batch, cache, tokens, three tokens, the prompt or not.
    let precision = model.to_le_bytes()[0];
    file[144..152].copy_from_slice(&[24, 2, precision, 2, 3, 1, 4, 0]);
    // Moderate halves and floats; codes of all kinds.
    file.extend((0..64u8).map(|i| match i % 4 {
        1 | 3 => 0x30 + (i / 2 + i / 4) % 12 + (i & 4) * 32,
        _ => i.wrapping_mul(73),
    }));
    file
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

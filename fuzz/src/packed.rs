//! Any bytes as a packed file: refused in a sentence, or run with the same bits at every SIMD level.
//!
//! A file is long, for its tensors stand at whole pages, and its checksums keep a fuzzer out. So the
//! input is also read as a short form: header and sections as `FORMAT.md` has them, of either version,
//! then bytes that every tensor repeats. [`file`] lays the tensors out. Where the directory leaves rows and
//! columns zero they follow from the shape, so that a model of another shape is one changed number away;
//! so do offset, length and checksum, and the file's length. Other numbers stay as they are, but for the
//! checksums of header and sections.

mod seeds;

pub use seeds::seeds;

use super::bits::{Numbers, bits, repeated};
use engine::arena::{ArenaLayout, CachePrecision, Limits};
use engine::encoding::Encoding;
use engine::format::{
    ENTRY_BYTES, FormatError, HEADER_BYTES, Packed, Prefix, SECTION_BYTES, TENSOR_ALIGNMENT, Text,
    Version, crc32, tokens,
};
use engine::matrix::Matrix;
use engine::sampler::{Sampler, Sampling};
use engine::session::{Session, SessionError};
use engine::shape::{Hyperparameters, Role, RopePairs};
use engine::weights::{Weights, table_len};
use engine::workers::{Host, Serial, SimdLevel};
use std::hint::black_box;

/// Longest file that is laid out, in bytes.
const MOST_BYTES: usize = 1 << 18;
/// Weights of a model that is run.
const MOST_WEIGHTS: usize = 1 << 18;
/// 32-bit words of an arena that is lent.
const MOST_WORDS: usize = 1 << 18;
/// Where the header of version 1 has 16 bytes of zeros; here they say how the model is run.
const RUN: usize = 144;
/// The section that says so in version 2, which no engine knows.
const RUN_SECTION: &str = "run";
/// Bytes of the header of version 1.
const VERSION_1_HEADER: usize = 160;

/// Opens these bytes as a file and as the short form of one.
///
/// # Panics
/// When the engine accepts what it cannot run, or a level differs from the scalar one.
pub fn check(data: &[u8]) {
    open(data);
    if let Some(file) = file(data) {
        open(&file);
    }
}

/// The file that this short form stands for.
pub fn file(short: &[u8]) -> Option<Vec<u8>> {
    let parts = Parts::of(short)?;
    let (metadata, pattern) = short.split_at_checked(parts.metadata_bytes)?;
    let mut file = metadata.to_vec();
    let shape = shape(metadata.get(parts.shape..)?)?;
    for index in 0..parts.tensors {
        let at = parts.directory + index * ENTRY_BYTES;
        let stored = metadata.get(at..).and_then(|m| m.first_chunk());
        let Some(stored): Option<&[u8; ENTRY_BYTES]> = stored else {
            break;
        };
        let mut entry = *stored;
        set_shape(&mut entry, &shape);
        let number = |at: usize| u32_at(&entry, at).map_or(0, |n| n as usize);
        let is_zero = |at: usize, len: usize| stored[at..at + len].iter().all(|b| *b == 0);
        if let (Some(encoding), true) = (Encoding::from_number(entry[41]), is_zero(60, 16)) {
            let len = encoding.bytes(number(48), number(52), number(56));
            let offset = file.len().next_multiple_of(TENSOR_ALIGNMENT);
            if len > MOST_BYTES - offset.min(MOST_BYTES) {
                return None;
            }
            let first = 4 * index % pattern.len().max(1);
            let bytes = repeated(&[&pattern[first..], &pattern[..first]].concat(), len);
            file.resize(offset, 0);
            file.extend_from_slice(&bytes);
            entry[60..68].copy_from_slice(&(offset as u64).to_le_bytes());
            entry[68..76].copy_from_slice(&(len as u64).to_le_bytes());
            if is_zero(76, 4) {
                entry[76..80].copy_from_slice(&crc32(&bytes).to_le_bytes());
            }
        }
        file[at..at + ENTRY_BYTES].copy_from_slice(&entry);
    }
    if file[24..32].iter().all(|b| *b == 0) {
        let len = (file.len() as u64).to_le_bytes();
        file[24..32].copy_from_slice(&len);
    }
    seal(&mut file, parts.metadata_bytes);
    Some(file)
}

/// Where a short form has what its tensors are laid out by.
struct Parts {
    metadata_bytes: usize,
    directory: usize,
    tensors: usize,
    shape: usize,
}

impl Parts {
    fn of(short: &[u8]) -> Option<Self> {
        let word = |at| u32_at(short, at).map(|word| word as usize);
        match word(8)? {
            1 => Some(Self {
                metadata_bytes: word(12).filter(|bytes| *bytes >= VERSION_1_HEADER)?,
                directory: word(72)?,
                tensors: word(20)?,
                shape: 32,
            }),
            _ => {
                let place = |name: &[u8]| entries(short).find(|(stored, ..)| *stored == name);
                let ((_, directory, bytes), (_, shape, _)) = (
                    place(b"tensors\0\0\0\0\0\0\0\0\0")?,
                    place(b"shape\0\0\0\0\0\0\0\0\0\0\0")?,
                );
                let ends = entries(short).filter_map(|(_, at, bytes)| at.checked_add(bytes));
                let end = ends.max().unwrap_or(0).max(HEADER_BYTES);
                Some(Self {
                    metadata_bytes: end.checked_next_multiple_of(4)?,
                    directory,
                    tensors: bytes / ENTRY_BYTES,
                    shape,
                })
            }
        }
    }
}

/// Name, offset and bytes of each entry of the table of version 2 that is there whole.
fn entries(file: &[u8]) -> impl Iterator<Item = (&[u8], usize, usize)> {
    let count = u32_at(file, 12).map_or(0, |n| n as usize);
    let table = file.get(HEADER_BYTES..).unwrap_or_default();
    table.chunks_exact(SECTION_BYTES).take(count).map(|entry| {
        let number = |at| u32_at(entry, at).map_or(0, |n| n as usize);
        (&entry[..16], number(24), number(32))
    })
}

/// Makes the checksums of header and sections right again.
fn seal(file: &mut [u8], metadata_bytes: usize) {
    if u32_at(file, 8) == Some(1) {
        let crc = crc32(&file[24..metadata_bytes]).to_le_bytes();
        file[16..20].copy_from_slice(&crc);
        return;
    }
    let places: Vec<_> = entries(file).map(|(_, at, bytes)| (at, bytes)).collect();
    for (index, (at, bytes)) in places.iter().enumerate() {
        if let Some(section) = file.get(*at..).and_then(|rest| rest.get(..*bytes)) {
            let crc = crc32(section).to_le_bytes();
            file[HEADER_BYTES + index * SECTION_BYTES + 20..][..4].copy_from_slice(&crc);
        }
    }
    let crc = crc32(&file[20..HEADER_BYTES + places.len() * SECTION_BYTES]).to_le_bytes();
    file[16..20].copy_from_slice(&crc);
}

/// The hyperparameters of a shape, without those that no tensor's shape follows from.
fn shape(words: &[u8]) -> Option<Hyperparameters> {
    Some(Hyperparameters {
        layers: u32_at(words, 0)?,
        hidden: u32_at(words, 4)?,
        feed_forward: u32_at(words, 8)?,
        heads: u32_at(words, 12)?,
        kv_heads: u32_at(words, 16)?,
        head_dim: u32_at(words, 20)?,
        vocab: u32_at(words, 24)?,
        context: 1,
        norm_epsilon: 0.0,
        rope_pairs: RopePairs::Adjacent,
    })
}

/// Gives an entry without rows and columns those of its role.
fn set_shape(entry: &mut [u8], shape: &Hyperparameters) {
    let is_left_out = entry[48..56].iter().all(|b| *b == 0);
    if let (Some(role), true, Ok(())) = (Role::from_number(entry[40]), is_left_out, shape.check()) {
        let (rows, cols) = role.shape(shape);
        let kept = u32_at(entry, 56).unwrap_or(0) % (cols + 1);
        let words = [rows, cols, kept].map(u32::to_le_bytes);
        entry[48..60].copy_from_slice(words.as_flattened());
    }
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    let word = bytes.get(at..)?.first_chunk()?;
    Some(u32::from_le_bytes(*word))
}

fn sentence(error: &FormatError) {
    let sentence = error.to_string();
    assert!(
        sentence.contains("expected") && sentence.contains("found"),
        "{sentence}"
    );
}

/// Opens a file as host and board do, and reads all that it has.
fn open(bytes: &[u8]) {
    let packed = match Packed::parse(bytes) {
        Ok(packed) => packed,
        Err(error) => return sentence(&error),
    };
    for section in packed.sections() {
        assert!(section.bytes.as_ptr() >= bytes.as_ptr() && !section.name.is_empty());
        black_box(section.bytes.iter().fold(0u8, |sum, byte| sum ^ byte));
    }
    for index in 0..packed.tensors() {
        // What is damaged is run all the same: nothing may rest on a checksum.
        packed
            .verify(index)
            .unwrap_or_else(|error| sentence(&error));
        let matrix = packed.entry(index).matrix;
        let mut row = vec![0.0; matrix.cols()];
        for r in [0, matrix.rows() / 2, matrix.rows() - 1] {
            matrix.dequantize_row(r, &mut row);
        }
    }
    let text = packed.text();
    if let Err(error) = &text {
        sentence(error);
    }
    let mut table = vec![None; table_len(packed.shape().layers)];
    packed
        .fill_table(&mut table)
        .expect("a table of this length");
    if let Ok(weights) = Weights::new(*packed.shape(), &table) {
        let prompt = text.map_or(Vec::new(), |text| talk(&text));
        let run_section = packed.sections().find(|s| s.name == RUN_SECTION);
        let options = match packed.version() {
            Version::One => &bytes[RUN..VERSION_1_HEADER],
            Version::Two => run_section.map_or(&[][..], |section| section.bytes),
        };
        run(&weights, &table, options, &prompt, None);
        if packed.prefix().is_some() {
            run(&weights, &table, options, &prompt, packed.prefix());
        }
    }
}

/// The tokens of a prompt, with the chat template around it.
fn talk(text: &Text<'_>) -> Vec<u32> {
    let chat = &text.chat;
    let mut prompt: Vec<u32> = tokens(chat.first_user_open).collect();
    if let Some((open, close)) = chat.system {
        prompt.extend(tokens(open).chain(tokens(close)));
    }
    let said = "hello, you 2!\n caf\u{e9}";
    let mut room = vec![0; said.len() + 1];
    let encoded = text
        .tokenizer
        .encode(said, &mut room, &mut |token| prompt.push(token));
    assert_eq!(encoded, Ok(()), "room for every byte");
    prompt.extend(tokens(chat.user_close).chain(tokens(chat.assistant_close)));
    for token in &prompt {
        black_box((text.tokenizer.bytes(*token), text.is_stop(*token)));
    }
    prompt
}

/// Runs a few tokens at every level; `options` are 16 bytes.
fn run(
    weights: &Weights<'_>,
    table: &[Option<Matrix<'_>>],
    options: &[u8],
    prompt: &[u32],
    prefix: Option<Prefix<'_>>,
) {
    let shape = weights.shape();
    let mut options = Numbers::new(options);
    let mut limits = Limits {
        context: 1 + usize::from(options.byte()) % 40,
        batch: 1 + usize::from(options.byte()) % 6,
        cache: CachePrecision::ALL[usize::from(options.byte()) % CachePrecision::ALL.len()],
    };
    let positions = prefix.map_or(0, |p| p.positions());
    if let Some(prefix) = prefix {
        limits.cache = prefix.precision();
        limits.context = limits.context.saturating_add(positions);
    }
    let layout = ArenaLayout::after(positions, shape, limits);
    let sizes = table.iter().flatten().map(|m| m.rows() * m.cols());
    if layout.words() > MOST_WORDS || sizes.sum::<usize>() > MOST_WEIGHTS {
        let refused = Session::after(prefix, shape, limits, &mut []).map(|_| ());
        let (needed, found) = (layout.words(), 0);
        assert_eq!(refused, Err(SessionError::Arena { needed, found }));
        return;
    }
    let mut said: Vec<u32> = (0..1 + options.byte() % 8)
        .map(|_| u32::from(options.byte()) % shape.vocab)
        .collect();
    if options.byte() & 1 == 1 {
        said.extend(prompt);
    }
    let expected = forward(weights, prefix, limits, SimdLevel::scalar(), &said);
    for level in SimdLevel::available() {
        let found = forward(weights, prefix, limits, level, &said);
        assert!(found == expected, "{} {limits:?} {shape:?}", level.name());
    }
}

/// The bits of the logits of all tokens, and of one more.
fn forward(
    weights: &Weights<'_>,
    prefix: Option<Prefix<'_>>,
    limits: Limits,
    level: SimdLevel,
    said: &[u32],
) -> Result<Vec<u32>, SessionError> {
    let workers = &Serial;
    let host = Host { level, workers };
    let shape = weights.shape();
    let vocab = shape.vocab as usize;
    let positions = prefix.map_or(0, |p| p.positions());
    let mut arena = vec![0; ArenaLayout::after(positions, shape, limits).words()];
    let mut session = Session::after(prefix, shape, limits, &mut arena)?;
    let mut logits = vec![0.0; said.len() * vocab];
    session.forward(weights, &host, said, &mut logits)?;
    let mut found = bits(&logits);
    let last = &mut logits[(said.len() - 1) * vocab..];
    // Any bytes are weights, and some make no number of it.
    let Ok(token) = Sampler::new(Sampling::GREEDY).sample(last, &[]) else {
        return Ok(found);
    };
    assert!(token < shape.vocab);
    match session.forward(weights, &host, &[token], last) {
        Ok(()) => found.extend(bits(last)),
        Err(error) => assert!(matches!(error, SessionError::ContextFull { .. }), "{error}"),
    }
    Ok(found)
}

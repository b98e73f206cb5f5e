//! GGUF versions 2 and 3: the container, read from untrusted bytes.
//!
//! [`parse`] walks the header once. Every count and length is compared with the bytes that are left
//! before anything is allocated for it, so a hostile file costs no more than its own size.
//! Layout: <https://github.com/ggml-org/ggml/blob/master/docs/gguf.md>.

use super::ModelError;
use super::dequantize::SourceType;
use std::collections::HashMap;

/// Arrays of arrays of arrays: no model nests deeper, and the walk is recursive.
const MAX_NESTING: u32 = 4;
/// Where tensor data is aligned unless `general.alignment` says otherwise.
const DEFAULT_ALIGNMENT: u64 = 32;

/// The header of a GGUF file.
#[derive(Debug)]
pub(super) struct Gguf<'a> {
    metadata: HashMap<&'a str, Value<'a>>,
    /// Keys with the bytes of their types and values, in file order.
    pub(super) entries: Vec<(&'a str, &'a [u8])>,
    /// In file order.
    pub(super) tensors: Vec<TensorInfo<'a>>,
}

/// One tensor as the header lists it; its bytes are known to lie inside the file.
#[derive(Debug, Clone, Copy)]
pub(super) struct TensorInfo<'a> {
    pub(super) name: &'a str,
    /// Product of all dimensions but the first.
    pub(super) rows: u64,
    /// The first dimension: the one that is contiguous.
    pub(super) cols: u64,
    pub(super) source: SourceType,
    /// From the start of the file.
    pub(super) offset: usize,
    pub(super) bytes: usize,
}

/// A metadata value.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Value<'a> {
    Unsigned(u64),
    Signed(i64),
    Float(f64),
    Bool(bool),
    String(&'a [u8]),
    Array(Array<'a>),
}

/// An array whose elements are read again when asked for; they were walked once, so they are whole.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Array<'a> {
    kind: u32,
    pub(super) count: usize,
    bytes: &'a [u8],
}

impl<'a> Array<'a> {
    pub(super) fn values(&self) -> impl Iterator<Item = Value<'a>> + use<'a> {
        let mut reader = Reader {
            bytes: self.bytes,
            position: 0,
        };
        let kind = self.kind;
        (0..self.count).map_while(move |_| reader.value(kind, 1).ok())
    }
}

/// Reads the header of a GGUF file of which `bytes` is the whole content.
///
/// # Errors
/// When the bytes are no GGUF of version 2 or 3, end early, or list tensors outside the file, of an
/// unknown type, or on top of each other.
pub(super) fn parse(bytes: &[u8]) -> Result<Gguf<'_>, ModelError> {
    let mut reader = Reader { bytes, position: 0 };
    let magic = reader.take(4, "the magic number")?;
    if magic != b"GGUF" {
        return Err(ModelError::malformed(
            "byte 0",
            "the letters GGUF",
            format_args!("{magic:02x?}"),
        ));
    }
    let version = reader.u32("the version")?;
    if version != 2 && version != 3 {
        // Byte-swapped versions are what a big-endian file looks like from here.
        let found = if (2..=3).contains(&version.swap_bytes()) {
            "a big-endian file".to_owned()
        } else {
            version.to_string()
        };
        return Err(ModelError::unsupported(
            "GGUF version",
            found,
            "2 and 3, little-endian",
        ));
    }
    // The shortest entries: an empty name, and the fixed fields after it.
    let tensor_count = reader.u64("the number of tensors")?;
    let metadata_count = reader.u64("the number of metadata entries")?;
    let metadata_count = reader.count(metadata_count, 13, "metadata entries")?;
    let mut metadata = HashMap::new();
    let mut entries = Vec::new();
    for _ in 0..metadata_count {
        let key = reader.string("a metadata key")?;
        let start = reader.position;
        let kind = reader.u32(key)?;
        let value = reader.value(kind, 0)?;
        entries.push((key, &bytes[start..reader.position]));
        if metadata.insert(key, value).is_some() {
            return Err(ModelError::malformed(
                format_args!("metadata key {key}"),
                "one value",
                "two entries",
            ));
        }
    }
    let tensor_count = reader.count(tensor_count, 24, "tensors")?;
    let mut gguf = Gguf {
        metadata,
        entries,
        tensors: Vec::new(),
    };
    let alignment = gguf.alignment()?;
    let mut listed = Vec::new();
    for _ in 0..tensor_count {
        listed.push(reader.tensor()?);
    }
    let data_start = (reader.position as u64).next_multiple_of(alignment);
    gguf.tensors = place(listed, data_start, alignment, bytes.len())?;
    Ok(gguf)
}

impl<'a> Gguf<'a> {
    fn alignment(&self) -> Result<u64, ModelError> {
        let alignment = self
            .unsigned("general.alignment")?
            .unwrap_or(DEFAULT_ALIGNMENT);
        if !alignment.is_power_of_two() || alignment > 1 << 20 {
            return Err(ModelError::malformed(
                "general.alignment",
                "a power of two up to 1048576",
                alignment,
            ));
        }
        Ok(alignment)
    }

    pub(super) fn get(&self, key: &str) -> Option<Value<'a>> {
        self.metadata.get(key).copied()
    }

    /// A whole number that is not negative, of whatever width it is stored in.
    pub(super) fn unsigned(&self, key: &str) -> Result<Option<u64>, ModelError> {
        match self.get(key) {
            None => Ok(None),
            Some(Value::Unsigned(number)) => Ok(Some(number)),
            Some(Value::Signed(number)) if number >= 0 => Ok(Some(number.unsigned_abs())),
            Some(other) => Err(mistyped(key, "a whole number", other)),
        }
    }

    /// Like [`Gguf::unsigned`], no larger than 32 bits.
    pub(super) fn u32(&self, key: &str) -> Result<Option<u32>, ModelError> {
        self.unsigned(key)?
            .map(|n| u32::try_from(n).map_err(|_| ModelError::malformed(key, "a 32-bit number", n)))
            .transpose()
    }

    pub(super) fn float(&self, key: &str) -> Result<Option<f64>, ModelError> {
        match self.get(key) {
            None => Ok(None),
            Some(Value::Float(number)) => Ok(Some(number)),
            Some(other) => Err(mistyped(key, "a number", other)),
        }
    }

    pub(super) fn flag(&self, key: &str) -> Result<Option<bool>, ModelError> {
        match self.get(key) {
            None => Ok(None),
            Some(Value::Bool(flag)) => Ok(Some(flag)),
            Some(other) => Err(mistyped(key, "true or false", other)),
        }
    }

    pub(super) fn text(&self, key: &str) -> Result<Option<&'a str>, ModelError> {
        match self.get(key) {
            None => Ok(None),
            Some(Value::String(bytes)) => std::str::from_utf8(bytes)
                .map(Some)
                .map_err(|_| ModelError::malformed(key, "UTF-8 text", "other bytes")),
            Some(other) => Err(mistyped(key, "a text", other)),
        }
    }

    pub(super) fn array(&self, key: &str) -> Result<Option<Array<'a>>, ModelError> {
        match self.get(key) {
            None => Ok(None),
            Some(Value::Array(array)) => Ok(Some(array)),
            Some(other) => Err(mistyped(key, "an array", other)),
        }
    }
}

fn mistyped(key: &str, expected: &str, found: Value<'_>) -> ModelError {
    let found = match found {
        Value::Unsigned(number) => number.to_string(),
        Value::Signed(number) => number.to_string(),
        Value::Float(number) => number.to_string(),
        Value::Bool(flag) => flag.to_string(),
        Value::String(_) => "a text".to_owned(),
        Value::Array(array) => format!("an array of {}", array.count),
    };
    ModelError::malformed(key, expected, found)
}

/// A tensor's entry with its offset still relative to the data section.
struct ListedTensor<'a> {
    name: &'a str,
    rows: u64,
    cols: u64,
    source: SourceType,
    offset: u64,
}

/// Turns offsets into file positions, and refuses tensors that overlap or leave the file.
fn place<'a>(
    listed: Vec<ListedTensor<'a>>,
    data_start: u64,
    alignment: u64,
    file_bytes: usize,
) -> Result<Vec<TensorInfo<'a>>, ModelError> {
    let mut tensors = Vec::with_capacity(listed.len());
    for ListedTensor {
        name,
        rows,
        cols,
        source,
        offset,
    } in listed
    {
        let place = || format!("tensor {name}");
        if !offset.is_multiple_of(alignment) {
            return Err(ModelError::malformed(
                place(),
                format_args!("an offset that is a multiple of {alignment}"),
                offset,
            ));
        }
        let bytes = source.bytes(rows, cols).ok_or_else(|| {
            ModelError::malformed(
                place(),
                format_args!("rows of whole {} blocks", source.name()),
                format_args!("{rows} rows of {cols} values"),
            )
        })?;
        let start = data_start.checked_add(offset);
        let end = start
            .and_then(|s| s.checked_add(bytes))
            .filter(|&e| e <= file_bytes as u64);
        let (Some(start), Some(_)) = (start, end) else {
            return Err(ModelError::malformed(
                place(),
                format_args!("{bytes} bytes inside the file of {file_bytes} bytes"),
                format_args!("offset {offset} in the data that starts at byte {data_start}"),
            ));
        };
        let (Ok(offset), Ok(bytes)) = (usize::try_from(start), usize::try_from(bytes)) else {
            return Err(ModelError::malformed(
                place(),
                "a size that fits this machine",
                bytes,
            ));
        };
        tensors.push(TensorInfo {
            name,
            rows,
            cols,
            source,
            offset,
            bytes,
        });
    }
    let mut order: Vec<&TensorInfo<'_>> = tensors.iter().collect();
    order.sort_unstable_by_key(|t| t.offset);
    for pair in order.windows(2) {
        if pair[0].offset + pair[0].bytes > pair[1].offset {
            return Err(ModelError::malformed(
                format_args!("tensor {}", pair[1].name),
                format_args!("data after the end of {}", pair[0].name),
                "data on top of it",
            ));
        }
    }
    Ok(tensors)
}

/// Walks bytes from the front; every step checks what is left.
struct Reader<'a> {
    bytes: &'a [u8],
    position: usize,
}

impl<'a> Reader<'a> {
    fn take(&mut self, length: u64, what: &str) -> Result<&'a [u8], ModelError> {
        let rest = &self.bytes[self.position..];
        match usize::try_from(length)
            .ok()
            .and_then(|length| rest.get(..length))
        {
            Some(taken) => {
                self.position += taken.len();
                Ok(taken)
            }
            None => Err(ModelError::Truncated {
                what: what.to_owned(),
                offset: self.position,
                needed: length,
                left: rest.len(),
            }),
        }
    }

    fn array<const N: usize>(&mut self, what: &str) -> Result<[u8; N], ModelError> {
        let taken = self.take(N as u64, what)?;
        Ok(taken
            .try_into()
            .expect("take returns the length it was asked for"))
    }

    fn u32(&mut self, what: &str) -> Result<u32, ModelError> {
        self.array(what).map(u32::from_le_bytes)
    }

    fn u64(&mut self, what: &str) -> Result<u64, ModelError> {
        self.array(what).map(u64::from_le_bytes)
    }

    /// Whether `count` items of at least `least` bytes can still follow.
    fn count(&self, count: u64, least: u64, what: &str) -> Result<usize, ModelError> {
        let left = self.bytes.len() - self.position;
        match usize::try_from(count) {
            Ok(n) if count.saturating_mul(least) <= left as u64 => Ok(n),
            _ => Err(ModelError::Truncated {
                what: format!("{count} {what}"),
                offset: self.position,
                needed: count.saturating_mul(least),
                left,
            }),
        }
    }

    fn string(&mut self, what: &str) -> Result<&'a str, ModelError> {
        let length = self.u64(what)?;
        std::str::from_utf8(self.take(length, what)?)
            .map_err(|_| ModelError::malformed(what, "UTF-8 text", "other bytes"))
    }

    /// One metadata value of type `kind`, inside `depth` arrays.
    fn value(&mut self, kind: u32, depth: u32) -> Result<Value<'a>, ModelError> {
        const WHAT: &str = "a metadata value";
        Ok(match kind {
            0 => Value::Unsigned(self.array::<1>(WHAT)?[0].into()),
            1 => Value::Signed(i8::from_le_bytes(self.array(WHAT)?).into()),
            2 => Value::Unsigned(u16::from_le_bytes(self.array(WHAT)?).into()),
            3 => Value::Signed(i16::from_le_bytes(self.array(WHAT)?).into()),
            4 => Value::Unsigned(self.u32(WHAT)?.into()),
            5 => Value::Signed(i32::from_le_bytes(self.array(WHAT)?).into()),
            6 => Value::Float(f32::from_le_bytes(self.array(WHAT)?).into()),
            7 => Value::Bool(self.array::<1>(WHAT)?[0] != 0),
            8 => {
                let length = self.u64(WHAT)?;
                Value::String(self.take(length, WHAT)?)
            }
            9 if depth < MAX_NESTING => {
                let kind = self.u32(WHAT)?;
                let count = self.u64(WHAT)?;
                let count = self.count(count, least_bytes(kind), "array elements")?;
                let start = self.position;
                for _ in 0..count {
                    self.value(kind, depth + 1)?;
                }
                Value::Array(Array {
                    kind,
                    count,
                    bytes: &self.bytes[start..self.position],
                })
            }
            10 => Value::Unsigned(self.u64(WHAT)?),
            11 => Value::Signed(i64::from_le_bytes(self.array(WHAT)?)),
            12 => Value::Float(f64::from_le_bytes(self.array(WHAT)?)),
            other => {
                return Err(ModelError::malformed(
                    format_args!("metadata before byte {}", self.position),
                    "a value type from 0 to 12, arrays nested at most four deep",
                    format_args!("type {other}"),
                ));
            }
        })
    }

    fn tensor(&mut self) -> Result<ListedTensor<'a>, ModelError> {
        let name = self.string("a tensor name")?;
        let place = || format!("tensor {name}");
        let dimensions = self.u32(name)?;
        if !(1..=4).contains(&dimensions) {
            return Err(ModelError::malformed(
                place(),
                "1 to 4 dimensions",
                dimensions,
            ));
        }
        let cols = self.u64(name)?;
        let mut rows = 1_u64;
        for _ in 1..dimensions {
            let size = self.u64(name)?;
            rows = rows.checked_mul(size).ok_or_else(|| {
                ModelError::malformed(place(), "a size below 2^64", "dimensions beyond it")
            })?;
        }
        let number = self.u32(name)?;
        let source = SourceType::from_ggml(number).map_err(|found| {
            ModelError::unsupported(
                format_args!("the type of tensor {name},"),
                found,
                SourceType::LIST,
            )
        })?;
        let offset = self.u64(name)?;
        Ok(ListedTensor {
            name,
            rows,
            cols,
            source,
            offset,
        })
    }
}

/// Fewest bytes that a value of type `kind` takes.
fn least_bytes(kind: u32) -> u64 {
    match kind {
        2 | 3 => 2,
        4..=6 => 4,
        8 | 10..=12 => 8,
        9 => 12,
        _ => 1,
    }
}

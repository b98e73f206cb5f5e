//! The safetensors container, read from untrusted bytes.
//!
//! Eight bytes of length, a JSON header, data. Layout: <https://github.com/huggingface/safetensors>.

use super::ModelError;
use super::dequantize::SourceType;
use serde::Deserialize;
use std::path::Path;

/// Longest header: a thousand layers take a tenth of it.
const MAX_HEADER_BYTES: u64 = 16 << 20;

/// One tensor as the header lists it; its bytes are known to lie inside the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) name: String,
    /// Product of all dimensions but the last.
    pub(super) rows: u64,
    /// The last dimension: the one that is contiguous.
    pub(super) cols: u64,
    pub(super) source: SourceType,
    /// From the start of the file.
    pub(super) offset: usize,
    pub(super) bytes: usize,
}

#[derive(Deserialize)]
struct HeaderEntry {
    dtype: String,
    shape: Vec<u64>,
    data_offsets: [u64; 2],
}

/// Reads the header of the file `path` of which `file` is the whole content; entries in the order
/// of their data.
///
/// # Errors
/// When the header is cut short, no JSON, or lists tensors outside the file, of another type than
/// F32, F16 and BF16, or on top of each other.
pub(super) fn parse(path: &Path, file: &[u8]) -> Result<Vec<Entry>, ModelError> {
    let place = path.display();
    let truncated = |needed: u64, offset: usize| ModelError::Truncated {
        what: format!("the header of {place}"),
        offset,
        needed,
        left: file.len().saturating_sub(offset),
    };
    let (length, rest) = file
        .split_first_chunk::<8>()
        .ok_or_else(|| truncated(8, 0))?;
    let length = u64::from_le_bytes(*length);
    if length > MAX_HEADER_BYTES {
        return Err(ModelError::malformed(
            format_args!("the header of {place}"),
            format_args!("up to {MAX_HEADER_BYTES} bytes"),
            length,
        ));
    }
    let split = usize::try_from(length)
        .ok()
        .and_then(|length| rest.split_at_checked(length));
    let (header, data) = split.ok_or_else(|| truncated(length, 8))?;
    let header: serde_json::Map<String, serde_json::Value> = serde_json::from_slice(header)
        .map_err(|error| {
            ModelError::malformed(format_args!("the header of {place}"), "JSON", error)
        })?;
    let mut entries = Vec::new();
    for (name, value) in header {
        if name != "__metadata__" {
            entries.push(entry(name, value, data.len(), file.len())?);
        }
    }
    entries.sort_by_key(|entry| entry.offset);
    for pair in entries.windows(2) {
        if pair[0].offset + pair[0].bytes > pair[1].offset {
            return Err(ModelError::malformed(
                format_args!("tensor {}", pair[1].name),
                format_args!("data after the end of {}", pair[0].name),
                "data on top of it",
            ));
        }
    }
    Ok(entries)
}

fn entry(
    name: String,
    value: serde_json::Value,
    data_bytes: usize,
    file_bytes: usize,
) -> Result<Entry, ModelError> {
    let place = format!("tensor {name}");
    let listed: HeaderEntry = serde_json::from_value(value)
        .map_err(|error| ModelError::malformed(&place, "dtype, shape and data_offsets", error))?;
    let source = match listed.dtype.as_str() {
        "F32" => SourceType::F32,
        "F16" => SourceType::F16,
        "BF16" => SourceType::BF16,
        other => {
            return Err(ModelError::unsupported(
                format_args!("the type of {place},"),
                other,
                "F32, F16, BF16",
            ));
        }
    };
    let wrong_size = |found: &dyn std::fmt::Display| {
        ModelError::malformed(
            &place,
            format_args!("data of {:?} {}", listed.shape, listed.dtype),
            found,
        )
    };
    let (cols, rows) = match listed.shape.split_last() {
        Some((&cols, rest)) => (
            cols,
            rest.iter().try_fold(1_u64, |rows, &n| rows.checked_mul(n)),
        ),
        None => (1, Some(1)),
    };
    let rows = rows.ok_or_else(|| wrong_size(&"a size beyond 2^64"))?;
    let expected = source
        .bytes(rows, cols)
        .ok_or_else(|| wrong_size(&"a size beyond 2^64"))?;
    let [start, end] = listed.data_offsets;
    if start > end || end > data_bytes as u64 || end - start != expected {
        return Err(wrong_size(&format_args!(
            "bytes {start} to {end} of {data_bytes}"
        )));
    }
    let (Ok(start), Ok(bytes)) = (usize::try_from(start), usize::try_from(expected)) else {
        return Err(wrong_size(&"a size that does not fit this machine"));
    };
    Ok(Entry {
        name,
        rows,
        cols,
        source,
        offset: file_bytes - data_bytes + start,
        bytes,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn file(header: &str, data: usize) -> Vec<u8> {
        [
            &(header.len() as u64).to_le_bytes()[..],
            header.as_bytes(),
            &vec![0; data],
        ]
        .concat()
    }

    fn parsed(bytes: &[u8]) -> Result<Vec<Entry>, String> {
        parse(Path::new("model.safetensors"), bytes).map_err(|error| error.to_string())
    }

    const GOOD: &str = r#"{"__metadata__":{"format":"pt"},
        "b":{"dtype":"BF16","shape":[3],"data_offsets":[8,14]},
        "a":{"dtype":"F16","shape":[2,2],"data_offsets":[0,8]}}"#;

    #[test]
    fn lists_tensors_in_the_order_of_their_data() {
        let entries = parsed(&file(GOOD, 14)).unwrap();
        let a = &entries[0];
        assert_eq!(
            (a.name.as_str(), a.rows, a.cols, a.source),
            ("a", 2, 2, SourceType::F16)
        );
        assert_eq!((a.offset, a.bytes), (8 + GOOD.len(), 8));
        assert_eq!(
            (entries[1].rows, entries[1].cols, entries[1].bytes),
            (1, 3, 6)
        );
    }

    #[test]
    fn refuses_what_does_not_add_up() {
        let check = |header: &str, data: usize, part: &str| {
            let text = parsed(&file(header, data)).unwrap_err();
            assert!(text.contains(part), "{part}: {text}");
        };
        check(GOOD, 13, "bytes 8 to 14 of 13");
        check(&GOOD.replace("[0,8]", "[0,7]"), 14, "tensor a");
        check(&GOOD.replace("[8,14]", "[2,8]"), 14, "data on top of it");
        check(&GOOD.replace("[8,14]", "[14,8]"), 14, "tensor b");
        check(
            &GOOD.replace("[2,2]", "[9223372036854775808,2,2]"),
            14,
            "beyond 2^64",
        );
        check(
            &GOOD.replace("BF16", "I64"),
            14,
            "I64 is not supported; supported: F32, F16, BF16",
        );
        check("{\"a\":1}", 0, "tensor a");
        check("[]", 0, "JSON");
        assert!(
            parsed(&[1, 2, 3])
                .unwrap_err()
                .contains("ends inside the header")
        );
        assert!(
            parsed(&u64::MAX.to_le_bytes())
                .unwrap_err()
                .contains("up to 16777216 bytes")
        );
        assert!(
            parsed(&9_u64.to_le_bytes())
                .unwrap_err()
                .contains("ends inside the header")
        );
    }

    proptest! {
        #[test]
        fn damaged_bytes_never_panic(
            changes in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 1..6),
        ) {
            let mut bytes = file(GOOD, 14);
            for (index, value) in changes {
                let at = index.index(bytes.len());
                bytes[at] = value;
            }
            for entry in parsed(&bytes).unwrap_or_default() {
                prop_assert!(entry.offset + entry.bytes <= bytes.len());
            }
        }
    }
}

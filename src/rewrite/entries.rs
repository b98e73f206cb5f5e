//! Values of GGUF metadata whose elements are chosen and numbered anew.
//!
//! They come out of a file whose every length was checked, or were made by
//! [`of_model`](crate::packed::export::of_model).

const UINT32: u32 = 4;
const STRING: u32 = 8;
const ARRAY: u32 = 9;

/// The bytes of a value of type 32-bit number.
pub(super) fn number(value: u32) -> Vec<u8> {
    [UINT32.to_le_bytes(), value.to_le_bytes()].concat()
}

/// A number that cannot be negative; none for other values.
pub(super) fn unsigned(value: &[u8]) -> Option<u64> {
    let (kind, payload) = value.split_first_chunk()?;
    let size = fixed_size(u32::from_le_bytes(*kind))?;
    let mut bytes = [0; 8];
    bytes[..size].copy_from_slice(payload.get(..size)?);
    match u32::from_le_bytes(*kind) {
        0 | 2 | 4 | 10 => Some(u64::from_le_bytes(bytes)),
        // A token is below 2^31: signed types say the same.
        1 | 3 | 5 | 11 if payload.get(size - 1)? & 0x80 == 0 => Some(u64::from_le_bytes(bytes)),
        _ => None,
    }
}

/// The bytes of each element of an array of numbers or texts; none for other values.
pub(super) fn elements(value: &[u8]) -> Option<Vec<&[u8]>> {
    let (kind, rest) = value.split_first_chunk()?;
    let (element, rest) = rest.split_first_chunk()?;
    let (count, mut rest) = rest.split_first_chunk()?;
    if u32::from_le_bytes(*kind) != ARRAY {
        return None;
    }
    let count = usize::try_from(u64::from_le_bytes(*count)).ok()?;
    let element = u32::from_le_bytes(*element);
    let mut elements = Vec::new();
    for _ in 0..count {
        let length = if element == STRING {
            let (length, _) = rest.split_first_chunk()?;
            usize::try_from(u64::from_le_bytes(*length))
                .ok()?
                .checked_add(8)?
        } else {
            fixed_size(element)?
        };
        let (taken, left) = rest.split_at_checked(length)?;
        elements.push(taken);
        rest = left;
    }
    Some(elements)
}

/// The text of an element of an array of texts; none when it is no UTF-8.
pub(super) fn text(element: &[u8]) -> Option<&str> {
    std::str::from_utf8(element.get(8..)?).ok()
}

/// The array `value` with other elements of its type.
pub(super) fn with_elements<'a>(
    value: &[u8],
    elements: impl ExactSizeIterator<Item = &'a [u8]>,
) -> Vec<u8> {
    let mut bytes = value[..8].to_vec();
    bytes.extend((elements.len() as u64).to_le_bytes());
    bytes.extend(elements.flatten());
    bytes
}

/// Bytes of a number or truth value of type `kind`.
const fn fixed_size(kind: u32) -> Option<usize> {
    match kind {
        0 | 1 | 7 => Some(1),
        2 | 3 => Some(2),
        4..=6 => Some(4),
        10..=12 => Some(8),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn array(kind: u32, count: u64, payload: &[u8]) -> Vec<u8> {
        let head = [ARRAY.to_le_bytes(), kind.to_le_bytes()].concat();
        [&head[..], &count.to_le_bytes(), payload].concat()
    }

    #[test]
    fn numbers_of_every_width_are_read() {
        assert_eq!(unsigned(&number(7)), Some(7));
        assert_eq!(unsigned(&[0, 0, 0, 0, 200]), Some(200));
        assert_eq!(unsigned(&[1, 0, 0, 0, 200]), None, "negative");
        assert_eq!(unsigned(&[5, 0, 0, 0, 1, 2, 0, 0]), Some(513));
        assert_eq!(unsigned(&[6, 0, 0, 0, 1, 2, 0, 0]), None, "a float");
        assert_eq!(unsigned(&[4, 0, 0, 0, 1]), None, "cut short");
    }

    #[test]
    fn elements_are_chosen() {
        let texts = [&2_u64.to_le_bytes()[..], b"ab", &1_u64.to_le_bytes(), b"c"].concat();
        let value = array(STRING, 2, &texts);
        let all = elements(&value).unwrap();
        assert_eq!(
            all.iter().map(|e| text(e)).collect::<Vec<_>>(),
            [Some("ab"), Some("c")]
        );
        let chosen = with_elements(&value, [all[1]].into_iter());
        assert_eq!(chosen, array(STRING, 1, &texts[10..]));
        assert_eq!(
            elements(&array(5, 2, &[1, 0, 0, 0, 2, 0, 0, 0]))
                .unwrap()
                .len(),
            2
        );
        assert_eq!(elements(&array(5, 3, &[1, 0, 0, 0])), None);
        assert_eq!(elements(&number(3)), None);
    }
}

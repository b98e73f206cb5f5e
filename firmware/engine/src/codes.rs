//! The codes of a group: planes of bits, trits in base 3, one of four, bitmaps with their values.
//!
//! What writes them and what reads them one by one stand together; whatever reads codes faster must
//! read these.

use crate::encoding::{CHUNK, CHUNKS, GROUP, GROUP_WEIGHTS, Width};

/// Where the bits of one code sit in a plane of 1, 2, 4 or 8 bits: byte and shift.
///
/// A plane holds eight chunks of four columns by sixteen rows, 64 codes each. With `bits` bits a byte
/// holds `8 / bits` chunks, `bits` chunks apart.
#[must_use]
#[inline]
pub const fn plane_byte(col: usize, lane: usize, bits: usize) -> (usize, usize) {
    let chunk = col / 4;
    (
        (chunk % bits) * CHUNK + lane * 4 + col % 4,
        chunk / bits * bits,
    )
}

/// The planes of a width, low bits first: their bits, and nothing more as zero.
#[inline]
pub(crate) const fn planes(width: Width) -> [usize; 2] {
    match width {
        Width::One => [1, 0],
        Width::Two => [2, 0],
        Width::Three => [2, 1],
        Width::Four => [4, 0],
        Width::Five => [4, 1],
        Width::Six => [4, 2],
        Width::Eight => [8, 0],
    }
}

/// Reads one code of a group.
///
/// # Panics
/// When `codes` is shorter than the codes of a group of this width.
#[must_use]
pub fn read_code(codes: &[u8], width: Width, lane: usize, col: usize) -> u8 {
    let mut code = 0;
    let (mut at, mut below) = (0, 0);
    for bits in planes(width) {
        if bits > 0 {
            let (byte, shift) = plane_byte(col, lane, bits);
            let mask = u8::MAX >> (8 - bits);
            code |= (codes[at + byte] >> shift & mask) << below;
        }
        at += GROUP_WEIGHTS * bits / 8;
        below += bits;
    }
    code
}

/// Writes one code of a group; its bits must still be zero.
///
/// # Panics
/// When `codes` is not the codes of a group of this width.
#[inline]
pub fn write_code(codes: &mut [u8], width: Width, lane: usize, col: usize, code: u8) {
    let (mut at, mut below) = (0, 0);
    for bits in planes(width) {
        if bits > 0 {
            let (byte, shift) = plane_byte(col, lane, bits);
            let mask = u8::MAX >> (8 - bits);
            codes[at + byte] |= (code >> below & mask) << shift;
        }
        at += GROUP_WEIGHTS * bits / 8;
        below += bits;
    }
}

/// Writes the codes of one row of a group, [`GROUP`] or fewer at the end of a row; their bits must still
/// be zero.
///
/// The same as [`write_code`] for each column, four at a time: those of a chunk stand side by side.
///
/// # Panics
/// When `bytes` is not the codes of a group of this width, or `codes` has more than [`GROUP`].
#[inline]
pub fn write_codes(bytes: &mut [u8], width: Width, lane: usize, codes: &[u8]) {
    let (mut at, mut below) = (0, 0);
    for bits in planes(width) {
        if bits > 0 {
            let mask = u32::from_ne_bytes([u8::MAX >> (8 - bits); 4]);
            for (chunk, codes) in codes.chunks(4).enumerate() {
                let mut four = [0; 4];
                four[..codes.len()].copy_from_slice(codes);
                let (byte, shift) = plane_byte(4 * chunk, lane, bits);
                // No bit of a code leaves its byte.
                let new = (u32::from_ne_bytes(four) >> below & mask) << shift;
                let place = &mut bytes[at + byte..at + byte + 4];
                let mut old = [0; 4];
                old.copy_from_slice(place);
                place.copy_from_slice(&(u32::from_ne_bytes(old) | new).to_ne_bytes());
            }
        }
        at += GROUP_WEIGHTS * bits / 8;
        below += bits;
    }
}

/// Chunks of a ternary group that share a byte in base 3; the rest shares five bits.
pub(crate) const TRITS: usize = 5;

/// The trit, 0 to 2, of one weight.
///
/// Five chunks: a byte is the fraction `n / 243` of 256, rounded up, so that each product with 3
/// carries the next digit of `n` out of it (as llama.cpp's TQ1_0). Three chunks: five bits are
/// `n`, below 27, lowest digit first; 64 nibbles, then 64 upper bits.
pub(crate) fn read_trit(codes: &[u8], lane: usize, col: usize) -> u8 {
    let (chunk, place) = (col / 4, lane * 4 + col % 4);
    if chunk < TRITS {
        let mut fraction = u16::from(codes[place]);
        for _ in 0..chunk {
            fraction = (fraction * 3) & 255;
        }
        ((fraction * 3) >> 8).to_le_bytes()[0]
    } else {
        let low = codes[CHUNK + place % 32] >> (place / 32 * 4) & 15;
        let high = codes[CHUNK + 32 + place / 8] >> (place % 8) & 1;
        THREE_TRITS[usize::from(low | high << 4)] >> (2 * (chunk - TRITS)) & 3
    }
}

/// The three trits of a number of five bits, two bits each.
pub(crate) static THREE_TRITS: [u8; 32] = {
    let mut table = [0; 32];
    let mut n = 0;
    while n < 32 {
        table[n as usize] = (n % 3) | ((n / 3 % 3) << 2) | ((n / 9 % 3) << 4);
        n += 1;
    }
    table
};

/// Writes the eight trits (0 to 2) that stand in column `col` (0 to 3) of every chunk of a row.
///
/// # Panics
/// When `codes` is not the codes of a ternary group.
pub fn write_trits(codes: &mut [u8], lane: usize, col: usize, trits: [u8; CHUNKS]) {
    let place = lane * 4 + col;
    let (five, three) = trits.split_at(TRITS);
    let number = five.iter().fold(0, |n, t| 3 * n + u16::from(*t));
    codes[place] = (number * 256).div_ceil(243).to_le_bytes()[0];
    let number = three.iter().rev().fold(0, |n, t| 3 * n + t);
    codes[CHUNK + place % 32] |= (number & 15) << (place / 32 * 4);
    codes[CHUNK + 32 + place / 8] |= (number >> 4) << (place % 8);
}

/// The one weight of four columns that is not zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pick {
    /// Which of the four.
    pub column: usize,
    /// Whether it is -1 rather than 1.
    pub is_negative: bool,
}

/// The three bits of one chunk and row: 24 bits a row, lowest first.
pub(crate) fn read_pick(codes: &[u8], lane: usize, chunk: usize) -> Pick {
    let [a, b, c] = [codes[3 * lane], codes[3 * lane + 1], codes[3 * lane + 2]];
    let bits = u32::from_le_bytes([a, b, c, 0]) >> (3 * chunk);
    Pick {
        column: (bits & 3) as usize,
        is_negative: bits & 4 != 0,
    }
}

/// Writes the pick of one chunk and row of a 1:4 group; its bits must still be zero.
///
/// # Panics
/// When `codes` is not the codes of a 1:4 group.
pub fn write_pick(codes: &mut [u8], lane: usize, chunk: usize, pick: Pick) {
    let bits = u32::try_from(pick.column & 3).unwrap_or(0) | u32::from(pick.is_negative) << 2;
    let bytes = (bits << (3 * chunk)).to_le_bytes();
    for (code, byte) in codes[3 * lane..3 * lane + 3].iter_mut().zip(bytes) {
        *code |= byte;
    }
}

/// The bitmap of one chunk of a sparse group, bit `4 x row + column`.
pub(crate) fn chunk_mask(group: &[u8], chunk: usize) -> u64 {
    let mut bytes = [0; 8];
    bytes.copy_from_slice(&group[8 * chunk..8 * chunk + 8]);
    u64::from_le_bytes(bytes)
}

/// The level of a kept value: odd numbers around zero, so that no kept weight is zero; at 8 bits
/// the code less 128.
#[inline(always)]
pub(crate) fn kept_level(width: Width, code: u8) -> i16 {
    match width {
        Width::Eight => i16::from(code) - 128,
        Width::One | Width::Two | Width::Three | Width::Four | Width::Five | Width::Six => {
            2 * i16::from(code) - ((1 << width.bits()) - 1)
        }
    }
}

/// The kept values of a sparse block, in the order of the bitmap: planes of the width's bits, each
/// value's bits after the one before, lowest first.
pub(crate) struct SparseValues<'a> {
    bytes: &'a [u8],
    /// Values of the whole block.
    pub(crate) count: usize,
    /// Values before the group that is read next.
    pub(crate) before: usize,
}

impl<'a> SparseValues<'a> {
    /// Of a block whose kept values have this width; none has any, where rows are not sparse.
    pub(crate) fn new(width: Option<Width>, bytes: &'a [u8]) -> Self {
        let bits = width.map_or(8, Width::bits) as usize;
        Self {
            bytes,
            count: bytes.len() * 8 / bits,
            before: 0,
        }
    }

    /// All planes.
    pub(crate) const fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// Bytes of a plane of `bits` bits.
    pub(crate) const fn plane_bytes(&self, bits: usize) -> usize {
        self.count * bits / 8
    }

    /// One value; 0 past the end, where a broken bitmap may lead.
    #[inline(always)]
    pub(crate) fn code(&self, width: Width, index: usize) -> u8 {
        let (mut code, mut at, mut below) = (0, 0, 0);
        if index >= self.count {
            return 0;
        }
        for bits in planes(width) {
            if bits > 0 {
                let position = index * bits;
                let byte = self.bytes.get(at + position / 8).copied().unwrap_or(0);
                code |= (byte >> (position % 8) & (u8::MAX >> (8 - bits))) << below;
            }
            at += self.plane_bytes(bits);
            below += bits;
        }
        code
    }

    /// The levels of one row in the next group, whose bitmaps are `group`.
    pub(crate) fn levels(
        &mut self,
        width: Width,
        group: &[u8],
        lane: usize,
        out: &mut [i16; GROUP],
    ) {
        for chunk in 0..CHUNKS {
            let mask = chunk_mask(group, chunk);
            for col in 0..4 {
                let bit = 1 << (4 * lane + col);
                if mask & bit != 0 {
                    let index = self.before + (mask & (bit - 1)).count_ones() as usize;
                    out[4 * chunk + col] = kept_level(width, self.code(width, index));
                }
            }
            self.before += mask.count_ones() as usize;
        }
    }
}

/// Writes the `index`-th of `count` kept values of a sparse block; its bits must still be zero.
///
/// # Panics
/// When `values` is not the values of `count` weights.
pub fn write_value(values: &mut [u8], width: Width, count: usize, index: usize, code: u8) {
    let (mut at, mut below) = (0, 0);
    for bits in planes(width) {
        if bits > 0 {
            let position = index * bits;
            let mask = u8::MAX >> (8 - bits);
            values[at + position / 8] |= (code >> below & mask) << (position % 8);
        }
        at += count * bits / 8;
        below += bits;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encoding::BLOCK_ROWS;
    use std::vec;
    use std::vec::Vec;

    /// Something different at every place, below `top`.
    fn number(lane: usize, col: usize, top: usize) -> u8 {
        ((lane * 37 + col * 11 + lane * col * 5) % top).to_le_bytes()[0]
    }

    fn places() -> impl Iterator<Item = (usize, usize)> {
        (0..BLOCK_ROWS).flat_map(|lane| (0..GROUP).map(move |col| (lane, col)))
    }

    #[test]
    fn what_is_written_is_read() {
        for width in Width::ALL {
            let top = 1 << width.bits();
            let mut codes = vec![0; GROUP_WEIGHTS * width as usize / 8];
            places().for_each(|(lane, col)| {
                write_code(&mut codes, width, lane, col, number(lane, col, top));
            });
            for (lane, col) in places() {
                assert_eq!(read_code(&codes, width, lane, col), number(lane, col, top));
            }
        }
    }

    #[test]
    fn a_row_of_codes_is_written_as_its_codes_one_by_one() {
        for width in Width::ALL {
            for cols in [0, 1, 3, 4, 6, 31, GROUP] {
                let mut one_by_one = vec![0; GROUP_WEIGHTS * width as usize / 8];
                let mut together = one_by_one.clone();
                for lane in 0..BLOCK_ROWS {
                    let code = |col| number(lane, col, 1 << width.bits());
                    let codes: Vec<u8> = (0..cols).map(code).collect();
                    for (col, code) in codes.iter().enumerate() {
                        write_code(&mut one_by_one, width, lane, col, *code);
                    }
                    write_codes(&mut together, width, lane, &codes);
                }
                assert_eq!(together, one_by_one, "{width:?}, {cols} columns");
            }
        }
    }

    #[test]
    fn every_five_and_every_three_trits_are_read_as_written() {
        for number in 0..243u8 {
            let digit = |place: u32| number / 3u8.pow(place) % 3;
            let trits = core::array::from_fn(|i| digit(u32::try_from(i).unwrap() % 5));
            let mut codes = vec![0; 64 + 40];
            for (lane, col) in [(0, 0), (7, 3), (8, 0), (15, 3)] {
                write_trits(&mut codes, lane, col, trits);
                let read: Vec<u8> = (0..CHUNKS)
                    .map(|chunk| read_trit(&codes, lane, 4 * chunk + col))
                    .collect();
                assert_eq!(read, trits, "{number}");
            }
        }
    }

    #[test]
    fn picks_are_read_as_written() {
        let pick = |lane, chunk| Pick {
            column: number(lane, chunk, 4).into(),
            is_negative: number(lane, chunk, 7) > 3,
        };
        let mut codes = vec![0; 3 * BLOCK_ROWS];
        for lane in 0..BLOCK_ROWS {
            (0..CHUNKS).for_each(|chunk| write_pick(&mut codes, lane, chunk, pick(lane, chunk)));
        }
        for lane in 0..BLOCK_ROWS {
            for chunk in 0..CHUNKS {
                assert_eq!(read_pick(&codes, lane, chunk), pick(lane, chunk));
            }
        }
    }
}

//! Block formats of llama.cpp, put into the engine's order bit by bit: nothing is rounded.

use engine::codes::write_code;
use engine::encoding::{BLOCK_ROWS, Encoding, GROUP, Twin, Width};
use rayon::prelude::*;

/// The engine's bytes of a matrix whose rows, of `cols` columns, stand in `source` as llama.cpp has
/// them.
///
/// # Panics
/// When `source` is not whole blocks of sixteen rows.
#[must_use]
pub(super) fn repack(twin: Twin, cols: usize, source: &[u8]) -> Vec<u8> {
    let encoding = Encoding::Twin(twin);
    let (block_bytes, block_cols) = match twin {
        Twin::Q8_0 => (34, 32),
        Twin::Q4_1 => (20, 32),
        Twin::Q4K => (144, 256),
        Twin::Q6K => (210, 256),
    };
    let row_bytes = cols / block_cols * block_bytes;
    let mut bytes = vec![0; source.len()];
    let blocks = bytes
        .par_chunks_exact_mut(encoding.block_bytes(cols, cols))
        .zip(source.par_chunks_exact(BLOCK_ROWS * row_bytes));
    blocks.for_each(|(block, rows)| {
        let records = block.chunks_exact_mut(block_bytes * BLOCK_ROWS);
        for (index, record) in records.enumerate() {
            for (lane, row) in rows.chunks_exact(row_bytes).enumerate() {
                let source = &row[index * block_bytes..][..block_bytes];
                match twin {
                    Twin::Q8_0 => q8_0(source, lane, record),
                    Twin::Q4_1 => q4_1(source, lane, record),
                    Twin::Q4K => q4_k(source, lane, record),
                    Twin::Q6K => q6_k(source, lane, record),
                }
            }
        }
    });
    bytes
}

/// Whether the 16-bit floats of all blocks are finite: all else in them is whole numbers.
#[must_use]
pub(super) fn has_finite_scales(twin: Twin, source: &[u8]) -> bool {
    let (block_bytes, halves): (usize, &[usize]) = match twin {
        Twin::Q8_0 => (34, &[0]),
        Twin::Q4_1 => (20, &[0, 2]),
        Twin::Q4K => (144, &[0, 2]),
        Twin::Q6K => (210, &[208]),
    };
    // The upper byte of a half has its five bits of exponent, all of which are set in what is not finite.
    let is_finite = |block: &[u8]| halves.iter().all(|at| block[at + 1] & 0x7c != 0x7c);
    source
        .par_chunks(block_bytes * 1024)
        .all(|blocks| blocks.chunks_exact(block_bytes).all(is_finite))
}

/// Copies a 16-bit float to the place of a row in the `index`-th list of sixteen.
fn put_half(half: &[u8], lane: usize, index: usize, header: &mut [u8]) {
    let at = 2 * (index * BLOCK_ROWS + lane);
    header[at..at + 2].copy_from_slice(&half[..2]);
}

/// Scale, 32 signed bytes.
fn q8_0(source: &[u8], lane: usize, record: &mut [u8]) {
    let (header, codes) = record.split_at_mut(2 * BLOCK_ROWS);
    put_half(source, lane, 0, header);
    for (col, value) in source[2..].iter().enumerate() {
        // Codes are 128 above the value.
        write_code(codes, Width::Eight, lane, col, value ^ 0x80);
    }
}

/// Scale, minimum, 16 bytes: low nibbles are values 0 to 15, high nibbles 16 to 31.
fn q4_1(source: &[u8], lane: usize, record: &mut [u8]) {
    let (header, codes) = record.split_at_mut(4 * BLOCK_ROWS);
    put_half(source, lane, 0, header);
    put_half(&source[2..], lane, 1, header);
    for (col, byte) in source[4..].iter().enumerate() {
        write_code(codes, Width::Four, lane, col, byte & 15);
        write_code(codes, Width::Four, lane, col + 16, byte >> 4);
    }
}

/// Scale, scale of the minima, 12 bytes of 6-bit scales and minima, 128 bytes of nibbles.
fn q4_k(source: &[u8], lane: usize, record: &mut [u8]) {
    let (header, groups) = record.split_at_mut(4 * BLOCK_ROWS);
    put_half(source, lane, 0, header);
    put_half(&source[2..], lane, 1, header);
    let (packed, nibbles) = source[4..].split_at(12);
    for (group, bytes) in groups.chunks_exact_mut(groups.len() / 8).enumerate() {
        let (scale, minimum) = six_bits(packed, group);
        let (scales, codes) = bytes.split_at_mut(BLOCK_ROWS * 12 / 8);
        scales[lane] = scale & 15 | minimum << 4;
        let upper = scale >> 4 | minimum >> 4 << 2;
        scales[BLOCK_ROWS + lane % 8] |= upper << (lane / 8 * 4);
        for (col, byte) in nibbles[group / 2 * GROUP..][..GROUP].iter().enumerate() {
            let code = byte >> (group % 2 * 4) & 15;
            write_code(codes, Width::Four, lane, col, code);
        }
    }
}

/// The 6-bit scale and minimum of a group of 32 values, from 12 packed bytes.
fn six_bits(packed: &[u8], group: usize) -> (u8, u8) {
    if group < 4 {
        (packed[group] & 63, packed[group + 4] & 63)
    } else {
        (
            packed[group + 4] & 15 | packed[group - 4] >> 6 << 4,
            packed[group + 4] >> 4 | packed[group] >> 6 << 4,
        )
    }
}

/// 128 bytes of low nibbles, 64 bytes of upper pairs of bits, 16 signed scales, scale.
fn q6_k(source: &[u8], lane: usize, record: &mut [u8]) {
    let (low, rest) = source.split_at(128);
    let (upper, rest) = rest.split_at(64);
    let (scales, half) = rest.split_at(16);
    let (header, groups) = record.split_at_mut(2 * BLOCK_ROWS);
    put_half(half, lane, 0, header);
    for (group, bytes) in groups.chunks_exact_mut(groups.len() / 8).enumerate() {
        let (own, codes) = bytes.split_at_mut(2 * BLOCK_ROWS);
        own[lane] = scales[2 * group];
        own[BLOCK_ROWS + lane] = scales[2 * group + 1];
        // 128 values: 32 in each of four layers; layers 0 and 2 share 32 bytes of nibbles, and so do
        // 1 and 3.
        let (part, layer) = (group / 4, group % 4);
        for col in 0..GROUP {
            let nibble = low[part * 64 + layer % 2 * 32 + col] >> (layer / 2 * 4) & 15;
            let pair = upper[part * 32 + col] >> (layer * 2) & 3;
            write_code(codes, Width::Six, lane, col, nibble | pair << 4);
        }
    }
}

//! Rows of block formats that the engine holds in an order of its own, as llama.cpp has them: the
//! inverse of how they were packed, bit by bit.

use engine::codes::read_code;
use engine::encoding::{BLOCK_ROWS, Encoding, GROUP, Twin, Width};
use engine::matrix::Matrix;

/// Bytes and columns of a block of llama.cpp's.
pub(super) const fn block(twin: Twin) -> (usize, usize) {
    match twin {
        Twin::Q8_0 => (34, 32),
        Twin::Q4_1 => (20, 32),
        Twin::Q4K => (144, 256),
        Twin::Q6K => (210, 256),
    }
}

/// Writes one row in llama.cpp's order.
///
/// # Panics
/// When `row` is past the end or `out` is not whole blocks of the row.
pub(super) fn put_row(matrix: &Matrix<'_>, twin: Twin, row: usize, out: &mut [u8]) {
    let (block_bytes, _) = block(twin);
    let encoding = Encoding::Twin(twin);
    let size = encoding.block_bytes(matrix.cols(), matrix.cols());
    let rows = &matrix.bytes()[row / BLOCK_ROWS * size..][..size];
    let records = rows.chunks_exact(block_bytes * BLOCK_ROWS);
    let lane = row % BLOCK_ROWS;
    for (record, out) in records.zip(out.chunks_exact_mut(block_bytes)) {
        match twin {
            Twin::Q8_0 => q8_0(record, lane, out),
            Twin::Q4_1 => q4_1(record, lane, out),
            Twin::Q4K => q4_k(record, lane, out),
            Twin::Q6K => q6_k(record, lane, out),
        }
    }
}

/// The 16-bit float of a row in the `index`-th list of sixteen.
fn half(header: &[u8], lane: usize, index: usize) -> &[u8] {
    &header[2 * (index * BLOCK_ROWS + lane)..][..2]
}

/// Scale, 32 signed bytes.
fn q8_0(record: &[u8], lane: usize, out: &mut [u8]) {
    let (header, codes) = record.split_at(2 * BLOCK_ROWS);
    out[..2].copy_from_slice(half(header, lane, 0));
    for (col, value) in out[2..].iter_mut().enumerate() {
        *value = read_code(codes, Width::Eight, lane, col) ^ 0x80;
    }
}

/// Scale, minimum, 16 bytes: low nibbles are values 0 to 15, high nibbles 16 to 31.
fn q4_1(record: &[u8], lane: usize, out: &mut [u8]) {
    let (header, codes) = record.split_at(4 * BLOCK_ROWS);
    out[..2].copy_from_slice(half(header, lane, 0));
    out[2..4].copy_from_slice(half(header, lane, 1));
    let code = |col| read_code(codes, Width::Four, lane, col);
    for (col, byte) in out[4..].iter_mut().enumerate() {
        *byte = code(col) | code(col + 16) << 4;
    }
}

/// Scale, scale of the minima, 12 bytes of 6-bit scales and minima, 128 bytes of nibbles.
fn q4_k(record: &[u8], lane: usize, out: &mut [u8]) {
    let (header, groups) = record.split_at(4 * BLOCK_ROWS);
    out.fill(0);
    out[..2].copy_from_slice(half(header, lane, 0));
    out[2..4].copy_from_slice(half(header, lane, 1));
    let (packed, nibbles) = out[4..].split_at_mut(12);
    for (group, bytes) in groups.chunks_exact(groups.len() / 8).enumerate() {
        let (scales, codes) = bytes.split_at(BLOCK_ROWS * 12 / 8);
        let upper = scales[BLOCK_ROWS + lane % 8] >> (lane / 8 * 4);
        let scale = scales[lane] & 15 | (upper & 3) << 4;
        let minimum = scales[lane] >> 4 | (upper >> 2 & 3) << 4;
        if group < 4 {
            packed[group] |= scale;
            packed[group + 4] |= minimum;
        } else {
            packed[group + 4] = scale & 15 | minimum << 4;
            packed[group - 4] |= scale >> 4 << 6;
            packed[group] |= minimum >> 4 << 6;
        }
        for (col, byte) in nibbles[group / 2 * GROUP..][..GROUP].iter_mut().enumerate() {
            *byte |= read_code(codes, Width::Four, lane, col) << (group % 2 * 4);
        }
    }
}

/// 128 bytes of low nibbles, 64 bytes of upper pairs of bits, 16 signed scales, scale.
fn q6_k(record: &[u8], lane: usize, out: &mut [u8]) {
    let (header, groups) = record.split_at(2 * BLOCK_ROWS);
    out.fill(0);
    let (low, rest) = out.split_at_mut(128);
    let (upper, rest) = rest.split_at_mut(64);
    let (scales, scale) = rest.split_at_mut(16);
    scale.copy_from_slice(half(header, lane, 0));
    for (group, bytes) in groups.chunks_exact(groups.len() / 8).enumerate() {
        let (own, codes) = bytes.split_at(2 * BLOCK_ROWS);
        scales[2 * group] = own[lane];
        scales[2 * group + 1] = own[BLOCK_ROWS + lane];
        let (part, layer) = (group / 4, group % 4);
        for col in 0..GROUP {
            let code = read_code(codes, Width::Six, lane, col);
            low[part * 64 + layer % 2 * 32 + col] |= (code & 15) << (layer / 2 * 4);
            upper[part * 32 + col] |= code >> 4 << (layer * 2);
        }
    }
}

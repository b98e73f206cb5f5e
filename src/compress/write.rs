//! Puts chosen rows into the bytes of a block, sixteen at a time.

use super::row::{Row, scaled_cols};
use engine::codes::{Pick, write_codes, write_pick, write_trits, write_value};
use engine::encoding::{BLOCK_ROWS, Encoding, GROUP, Record, Width};

/// Writes up to sixteen rows into the zeroed bytes of their block.
///
/// # Panics
/// When `bytes` is not a block of the encoding, or the rows are not of its width.
pub(super) fn block(encoding: Encoding, record: Record, rows: &[Row], bytes: &mut [u8]) {
    let mut block = Block {
        encoding,
        record,
        bytes,
    };
    for (lane, row) in rows.iter().enumerate() {
        block.write_scales(lane, row);
        block.write_codes(lane, row);
    }
    block.write_values(rows);
}

struct Block<'a> {
    encoding: Encoding,
    record: Record,
    bytes: &'a mut [u8],
}

impl Block<'_> {
    /// The header of the record with this column, and the bytes of its group.
    fn parts(&mut self, col: usize) -> (&mut [u8], &mut [u8]) {
        let width = scaled_cols(self.encoding);
        let at = self.encoding.row_scale_bytes() + col / width * self.record.bytes();
        let group = col % width / GROUP * self.record.group;
        let record = &mut self.bytes[at..at + self.record.bytes()];
        let (header, groups) = record.split_at_mut(self.record.header);
        (header, &mut groups[group..group + self.record.group])
    }

    /// Stores the scales of a row, and zero points where there are any.
    fn write_scales(&mut self, lane: usize, row: &Row) {
        self.bytes[2 * lane..2 * lane + 2].copy_from_slice(&row.scales.row.to_le_bytes());
        let encoding = self.encoding;
        for (index, group) in row.scales.groups.iter().enumerate() {
            let (header, _) = self.parts(index * scaled_cols(encoding));
            match encoding {
                Encoding::Ternary => header[lane % 8] |= (group.scale - 1) << (lane / 8 * 4),
                Encoding::F32
                | Encoding::F16
                | Encoding::Dense(_)
                | Encoding::OneOfFour
                | Encoding::Sparse(_)
                | Encoding::Twin(_) => header[lane] = group.scale,
            }
            if encoding.has_zero_point() {
                header[BLOCK_ROWS + lane] = group.zero_point;
            }
        }
    }

    /// The codes of a row; of a sparse one the bitmap.
    fn write_codes(&mut self, lane: usize, row: &Row) {
        let encoding = self.encoding;
        let groups = row.codes.chunks(GROUP).zip(row.kept.chunks(GROUP));
        for (index, (codes, kept)) in groups.enumerate() {
            let (_, bytes) = self.parts(index * GROUP);
            match encoding {
                // Each width its own loop, which knows the planes.
                Encoding::Dense(width) => match width {
                    Width::One => write_codes(bytes, Width::One, lane, codes),
                    Width::Two => write_codes(bytes, Width::Two, lane, codes),
                    Width::Three => write_codes(bytes, Width::Three, lane, codes),
                    Width::Four => write_codes(bytes, Width::Four, lane, codes),
                    Width::Five => write_codes(bytes, Width::Five, lane, codes),
                    Width::Six => write_codes(bytes, Width::Six, lane, codes),
                    Width::Eight => write_codes(bytes, Width::Eight, lane, codes),
                },
                Encoding::Ternary => {
                    // Past the end of a row stands zero.
                    let trit = |col: usize| codes.get(col).copied().unwrap_or(1);
                    for col in 0..4 {
                        let trits = std::array::from_fn(|chunk| trit(4 * chunk + col));
                        write_trits(bytes, lane, col, trits);
                    }
                }
                Encoding::OneOfFour => {
                    let fours = codes.chunks(4).zip(kept.chunks(4));
                    for (chunk, (codes, kept)) in fours.enumerate() {
                        let column = kept.iter().position(|kept| *kept).unwrap_or(0);
                        let is_negative = codes[column] == 0;
                        let pick = Pick {
                            column,
                            is_negative,
                        };
                        write_pick(bytes, lane, chunk, pick);
                    }
                }
                Encoding::Sparse(_) => {
                    for (col, _) in kept.iter().enumerate().filter(|(_, kept)| **kept) {
                        let place = 4 * lane + col % 4;
                        bytes[col / 4 * 8 + place / 8] |= 1 << (place % 8);
                    }
                }
                Encoding::F32 | Encoding::F16 | Encoding::Twin(_) => {}
            }
        }
    }

    /// The values of a sparse block behind its records: four columns of all rows after four columns.
    fn write_values(&mut self, rows: &[Row]) {
        let (Some(width), Some(first)) = (self.encoding.sparse_width(), rows.first()) else {
            return;
        };
        let cols = first.codes.len();
        let records = cols.div_ceil(scaled_cols(self.encoding)) * self.record.bytes();
        let values = &mut self.bytes[self.encoding.row_scale_bytes() + records..];
        let count = values.len() * 8 / width.bits() as usize;
        let mut index = 0;
        for start in (0..cols).step_by(4) {
            for row in rows {
                for col in start..cols.min(start + 4) {
                    if row.kept[col] {
                        write_value(values, width, count, index, row.codes[col]);
                        index += 1;
                    }
                }
            }
        }
    }
}

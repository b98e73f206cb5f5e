//! Every encoding to codes of eight bits, a quarter of a group at a time.

use super::load::{bytes, load};
use super::{Chunks, PART, ROWS};
use crate::block::{Block, Group};
use crate::codes::{THREE_TRITS, TRITS, chunk_mask};
use crate::encoding::{CHUNK, CHUNKS, Encoding, GROUP_WEIGHTS, Twin, Width};
use crate::kernels::encodings::encoding_of;
use crate::kernels::scalar::KeptCodes;
use core::arch::aarch64::*;

/// A quarter of a group's codes; of a sparse one those that were spread last.
#[target_feature(enable = "neon")]
#[inline]
pub(super) fn unpack<const NUMBER: u8>(
    group: &Group<'_>,
    quarter: usize,
    sparse: &Sparse<'_>,
) -> Chunks {
    let encoding = const { encoding_of(NUMBER) };
    // A quarter of every chunk of 64 bytes.
    let codes = &group.codes(encoding)[quarter * PART..];
    match encoding {
        Encoding::F32 | Encoding::F16 => [vdupq_n_u8(0); CHUNKS],
        Encoding::Dense(Width::One) => plane1(codes),
        Encoding::Dense(Width::Two) => plane2(codes),
        Encoding::Dense(Width::Three) => {
            join::<2>(plane2(codes), plane1(&codes[GROUP_WEIGHTS / 4..]))
        }
        Encoding::Dense(Width::Four) | Encoding::Twin(Twin::Q4_1 | Twin::Q4K) => plane4(codes),
        Encoding::Dense(Width::Five) => {
            join::<4>(plane4(codes), plane1(&codes[GROUP_WEIGHTS / 2..]))
        }
        Encoding::Dense(Width::Six) | Encoding::Twin(Twin::Q6K) => {
            join::<4>(plane4(codes), plane2(&codes[GROUP_WEIGHTS / 2..]))
        }
        // Turning the top bit takes 128 away.
        Encoding::Dense(Width::Eight) | Encoding::Twin(Twin::Q8_0) => {
            chunks!(|i| veorq_u8(load(codes, i * CHUNK), vdupq_n_u8(128)))
        }
        Encoding::Ternary => ternary(group.bytes, quarter),
        Encoding::OneOfFour => one_of_four(group.bytes, quarter),
        Encoding::Sparse(_) => {
            chunks!(|i| load(&sparse.levels, i * CHUNK + quarter * PART))
        }
    }
}

/// Bytes shifted down.
#[target_feature(enable = "neon")]
#[inline]
fn down(x: uint8x16_t, bits: usize) -> uint8x16_t {
    // Constants after inlining.
    vshlq_u8(x, vdupq_n_s8(-(bits as i8)))
}

#[target_feature(enable = "neon")]
#[inline]
fn plane1(codes: &[u8]) -> Chunks {
    let bits = load(codes, 0);
    chunks!(|i| vandq_u8(down(bits, i), vdupq_n_u8(1)))
}

#[target_feature(enable = "neon")]
#[inline]
fn plane2(codes: &[u8]) -> Chunks {
    let pairs = [load(codes, 0), load(codes, CHUNK)];
    chunks!(|i| vandq_u8(down(pairs[i % 2], i / 2 * 2), vdupq_n_u8(3)))
}

#[target_feature(enable = "neon")]
#[inline]
fn plane4(codes: &[u8]) -> Chunks {
    let nibbles = [
        load(codes, 0),
        load(codes, CHUNK),
        load(codes, 2 * CHUNK),
        load(codes, 3 * CHUNK),
    ];
    chunks!(|i| vandq_u8(down(nibbles[i % 4], i / 4 * 4), vdupq_n_u8(15)))
}

/// `low | high << SHIFT`, for shifts that stay inside a byte.
#[target_feature(enable = "neon")]
#[inline]
fn join<const SHIFT: i32>(low: Chunks, high: Chunks) -> Chunks {
    chunks!(|i| vorrq_u8(low[i], vshlq_n_u8::<SHIFT>(high[i])))
}

/// Trits, as [`crate::codes::write_trits`] packs them.
#[target_feature(enable = "neon")]
#[inline]
fn ternary(codes: &[u8], quarter: usize) -> Chunks {
    let mut fraction = load(codes, quarter * PART);
    // Numbers below 27: nibbles of all 64 places, this quarter's in the low or the high ones.
    let low = load(codes, CHUNK + quarter % 2 * PART);
    let low = vandq_u8(down(low, quarter / 2 * 4), vdupq_n_u8(15));
    // One upper bit for each place: two bytes, each eight times, of which each place looks at one bit.
    let [first, second] = bytes::<2>(codes, CHUNK + 32 + 2 * quarter);
    let upper = vcombine_u8(vdup_n_u8(first), vdup_n_u8(second));
    let bit = vreinterpretq_u8_u64(vdupq_n_u64(0x8040_2010_0804_0201));
    let upper = vandq_u8(vtstq_u8(upper, bit), vdupq_n_u8(16));
    let table = uint8x16x2_t(load(&THREE_TRITS, 0), load(&THREE_TRITS, 16));
    let three = vqtbl2q_u8(table, vorrq_u8(low, upper));
    chunks!(|i| if i < TRITS {
        // What three times a fraction carries out of its byte; a comparison that holds is -1.
        let one = vcgeq_u8(fraction, vdupq_n_u8(86));
        let two = vcgeq_u8(fraction, vdupq_n_u8(171));
        fraction = vmulq_u8(fraction, vdupq_n_u8(3));
        vsubq_u8(vsubq_u8(vdupq_n_u8(0), one), two)
    } else {
        vandq_u8(down(three, 2 * (i - TRITS)), vdupq_n_u8(3))
    })
}

/// What three bits of a 1:4 row mean as four levels.
static PICKS: [[i8; 4]; 8] = {
    let mut table = [[0; 4]; 8];
    let mut code = 0;
    while code < 8 {
        table[code][code & 3] = if code & 4 == 0 { 1 } else { -1 };
        code += 1;
    }
    table
};

/// One of four, as [`crate::codes::write_pick`] packs it.
#[target_feature(enable = "neon")]
#[inline]
fn one_of_four(codes: &[u8], quarter: usize) -> Chunks {
    // Three bytes a row in the low three bytes of its lane.
    let codes: [u8; 3 * ROWS] = bytes(codes, quarter * 3 * ROWS);
    let rows: [[u8; 4]; ROWS] =
        core::array::from_fn(|row| [codes[3 * row], codes[3 * row + 1], codes[3 * row + 2], 0]);
    let rows = vreinterpretq_u32_u8(load(rows.as_flattened(), 0));
    // SAFETY: 32 readable bytes, any alignment.
    let table = unsafe { vld1q_u8_x2(PICKS.as_flattened().as_ptr().cast()) };
    let columns = vdupq_n_u32(0x0302_0100);
    chunks!(|i| {
        let shifted = vshlq_u32(rows, vdupq_n_s32(-3 * i as i32));
        let pick = vandq_u32(shifted, vdupq_n_u32(7));
        // Four times the pick in every byte, plus the byte's column.
        let places = vmlaq_u32(columns, pick, vdupq_n_u32(0x0404_0404));
        vqtbl2q_u8(table, vreinterpretq_u8_u32(places))
    })
}

/// The levels of one group of a sparse block, where the chunks of eight bits would stand.
pub(super) struct Sparse<'a> {
    kept: KeptCodes<'a>,
    /// Signed.
    levels: [u8; GROUP_WEIGHTS],
}

impl<'a> Sparse<'a> {
    pub(super) fn new(block: &Block<'a>) -> Self {
        Self {
            kept: KeptCodes::new(block),
            levels: [0; GROUP_WEIGHTS],
        }
    }

    /// Puts the next kept values where the bitmap of the next group has ones, and 0 elsewhere.
    pub(super) fn spread(&mut self, width: Width, bitmap: &[u8]) {
        // Each width gets a loop of its own.
        match width {
            Width::One => self.spread_width(Width::One, bitmap),
            Width::Two => self.spread_width(Width::Two, bitmap),
            Width::Three => self.spread_width(Width::Three, bitmap),
            Width::Four => self.spread_width(Width::Four, bitmap),
            Width::Five => self.spread_width(Width::Five, bitmap),
            Width::Six => self.spread_width(Width::Six, bitmap),
            Width::Eight => self.spread_width(Width::Eight, bitmap),
        }
    }

    #[inline(always)]
    fn spread_width(&mut self, width: Width, bitmap: &[u8]) {
        self.levels.fill(0);
        let (chunks, _) = self.levels.as_chunks_mut::<CHUNK>();
        for (chunk, levels) in chunks.iter_mut().enumerate() {
            let mut mask = chunk_mask(bitmap, chunk);
            while mask != 0 {
                // From -128 to 127: the low byte is all of it.
                let [level, ..] = self.kept.level(width).to_le_bytes();
                levels[mask.trailing_zeros() as usize] = level;
                mask &= mask - 1;
            }
        }
    }
}

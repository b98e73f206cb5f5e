//! Products in 128 bits: four rows in the lanes of one register, four columns in each lane.
//!
//! A group of sixteen rows is four quarters, one after the other. Every encoding is unpacked to
//! signed codes of eight bits, a zero point and scales. Products go through 16 bits, which hold the
//! sums of as many chunks as [`span`] says. Of the processor it takes only what every aarch64 has:
//! no dot product instructions, whose intrinsics are not in stable Rust yet.

use super::activations::Tile;
use super::encodings::{encoding_of, for_encoding};
use super::{Activations, LANES, TILE, fold};
use crate::block::{Block, Group, half_at, scale_unit};
use crate::encoding::{BLOCK_ROWS, CHUNK, CHUNKS, Encoding, GROUP, Twin, Width};
use core::arch::aarch64::*;
use load::{bytes, halves, load_floats, nibbles, store, widen, widen_signed};
use unpack::{Sparse, unpack};

/// Quarters of a block.
const QUARTERS: usize = 4;
/// Rows of one quarter.
const ROWS: usize = BLOCK_ROWS / QUARTERS;
/// Bytes of one quarter of a chunk: one register.
const PART: usize = CHUNK / QUARTERS;

/// Signed codes of one group: eight chunks of four columns by four rows.
type Chunks = [uint8x16_t; CHUNKS];

/// The chunks of a group, each made by an expression of its number.
///
/// A loop and no closure: closures of functions with target features are not inlined reliably.
macro_rules! chunks {
    (|$chunk:ident| $code:expr) => {{
        let mut chunks = [vdupq_n_u8(0); CHUNKS];
        for ($chunk, code) in chunks.iter_mut().enumerate() {
            *code = $code;
        }
        chunks
    }};
}

mod load;
mod unpack;

/// Sixteen rows times the tokens from `token` on, one for each element of `out`.
#[target_feature(enable = "neon")]
pub(super) fn block(
    block: &Block<'_>,
    input: &Activations<'_>,
    token: usize,
    out: &mut [[f32; BLOCK_ROWS]],
) {
    for_encoding!(block.encoding, tiles(block, input, token, out));
}

/// How many chunks' products are summed in 16 bits.
const fn span(encoding: Encoding) -> usize {
    match encoding {
        // 8 chunks x 31 x 127 = 31,496: inside 16 bits.
        Encoding::F32
        | Encoding::F16
        | Encoding::Dense(Width::One | Width::Two | Width::Three | Width::Four | Width::Five)
        | Encoding::Ternary
        | Encoding::OneOfFour
        | Encoding::Twin(Twin::Q4_1 | Twin::Q4K) => 8,
        // 4 chunks x 63 x 127 = 32,004: inside 16 bits.
        Encoding::Dense(Width::Six)
        | Encoding::Twin(Twin::Q6K)
        | Encoding::Sparse(
            Width::One | Width::Two | Width::Three | Width::Four | Width::Five | Width::Six,
        ) => 4,
        // 2 chunks x 128 x 127 = 32,512: inside 16 bits.
        Encoding::Dense(Width::Eight)
        | Encoding::Twin(Twin::Q8_0)
        | Encoding::Sparse(Width::Eight) => 2,
    }
}

/// Cuts the tokens into tiles that share one unpacking of the weights.
#[target_feature(enable = "neon")]
fn tiles<const NUMBER: u8>(
    block: &Block<'_>,
    input: &Activations<'_>,
    mut token: usize,
    out: &mut [[f32; BLOCK_ROWS]],
) {
    let (tiles, rest) = out.as_chunks_mut::<TILE>();
    for out in tiles {
        tile::<NUMBER, TILE>(block, input, token, out);
        token += TILE;
    }
    for out in rest {
        tile::<NUMBER, 1>(block, input, token, core::array::from_mut(out));
        token += 1;
    }
}

/// `NUMBER` is that of the block's encoding.
#[target_feature(enable = "neon")]
fn tile<const NUMBER: u8, const N: usize>(
    block: &Block<'_>,
    input: &Activations<'_>,
    token: usize,
    out: &mut [[f32; BLOCK_ROWS]; N],
) {
    let encoding = const { encoding_of(NUMBER) };
    let Tile {
        values,
        scales,
        totals,
    } = input.tile::<N>(token);
    let mut sums = [[vdupq_n_f32(0.0); N]; QUARTERS];
    let mut sparse = Sparse::new(block);
    for (index, group) in block.groups() {
        let mut quads = [[vdupq_n_u8(0); CHUNKS]; N];
        for (quads, values) in quads.iter_mut().zip(values) {
            *quads = broadcast(&values[index]);
        }
        if let Encoding::Sparse(width) = encoding {
            sparse.spread(width, group.bytes);
        }
        for (quarter, sums) in sums.iter_mut().enumerate() {
            let codes = unpack::<NUMBER>(&group, quarter, &sparse);
            let factors = Factors::new::<NUMBER>(&group, quarter);
            for t in 0..N {
                let total = totals[t][index];
                let product = match encoding {
                    Encoding::Twin(Twin::Q6K) => {
                        let (first, second) = codes.split_at(CHUNKS / 2);
                        let (first_quads, second_quads) = quads[t].split_at(CHUNKS / 2);
                        let [first_total, second_total] = half_totals(&values[t][index]);
                        vaddq_f32(
                            factors.product(dot::<NUMBER>(first, first_quads), first_total),
                            factors.second(dot::<NUMBER>(second, second_quads), second_total),
                        )
                    }
                    Encoding::Twin(Twin::Q4_1 | Twin::Q4K) => {
                        let total_float = vcvtq_f32_s32(vdupq_n_s32(total));
                        vaddq_f32(
                            factors.product(dot::<NUMBER>(&codes, &quads[t]), total),
                            vmulq_f32(total_float, factors.minimum),
                        )
                    }
                    Encoding::F32
                    | Encoding::F16
                    | Encoding::Dense(_)
                    | Encoding::Ternary
                    | Encoding::OneOfFour
                    | Encoding::Sparse(_)
                    | Encoding::Twin(Twin::Q8_0) => {
                        factors.product(dot::<NUMBER>(&codes, &quads[t]), total)
                    }
                };
                let scaled = vmulq_f32(product, vdupq_n_f32(scales[t][index]));
                sums[t] = vaddq_f32(sums[t], scaled);
            }
        }
    }
    for (quarter, sums) in sums.into_iter().enumerate() {
        for (out, mut sum) in out.iter_mut().zip(sums) {
            if !block.row_scales().is_empty() {
                let unit = vdupq_n_f32(scale_unit(encoding));
                sum = vmulq_f32(sum, vmulq_f32(halves(block.row_scales(), quarter), unit));
            }
            store(sum, &mut out.as_chunks_mut().0[quarter]);
        }
    }
}

/// What turns the integer products of a group and quarter into floats.
struct Factors {
    /// Bits by which a product of codes is shifted up to the unit of the zero point.
    shift: int32x4_t,
    /// The code that stands for zero, in that unit.
    zeros: int32x4_t,
    scale: float32x4_t,
    /// The scale of the second half of the columns, for Q6_K alone.
    second_scale: float32x4_t,
    /// For Q4_1 and Q4_K.
    minimum: float32x4_t,
}

impl Factors {
    #[target_feature(enable = "neon")]
    #[inline]
    fn new<const NUMBER: u8>(group: &Group<'_>, quarter: usize) -> Self {
        let none = vdupq_n_f32(0.0);
        let row = |at: usize| widen(bytes(group.header, at + quarter * ROWS));
        let float = |zero: i32, scale: float32x4_t| Self {
            shift: vdupq_n_s32(0),
            zeros: vdupq_n_s32(zero),
            scale,
            second_scale: none,
            minimum: none,
        };
        // Products of integers below 2^24 are exact as floats: scaled with a single rounding.
        let integer = |zero: i32, scale: int32x4_t| float(zero, vcvtq_f32_s32(scale));
        match const { encoding_of(NUMBER) } {
            Encoding::F32 | Encoding::F16 => float(0, none),
            Encoding::Dense(Width::One) => Self {
                shift: vdupq_n_s32(1),
                ..integer(1, row(0))
            },
            Encoding::Dense(Width::Two | Width::Three | Width::Four) => Self {
                shift: vdupq_n_s32(4),
                zeros: row(BLOCK_ROWS),
                ..integer(0, row(0))
            },
            Encoding::Dense(Width::Five) => integer(16, row(0)),
            Encoding::Dense(Width::Six) => integer(32, row(0)),
            Encoding::Dense(Width::Eight) | Encoding::OneOfFour | Encoding::Sparse(_) => {
                integer(0, row(0))
            }
            Encoding::Ternary => {
                let scale = widen(nibbles(group.header, quarter));
                integer(1, vaddq_s32(scale, vdupq_n_s32(1)))
            }
            Encoding::Twin(Twin::Q8_0) => float(0, halves(group.header, quarter)),
            Encoding::Twin(Twin::Q4_1) => Self {
                minimum: halves(&group.header[2 * BLOCK_ROWS..], quarter),
                ..float(0, halves(group.header, quarter))
            },
            Encoding::Twin(Twin::Q4K) => {
                let low = widen(bytes(group.bytes, quarter * ROWS));
                let high = widen(nibbles(&group.bytes[BLOCK_ROWS..], quarter));
                let upper = |pair: int32x4_t| vshlq_n_s32::<4>(vandq_s32(pair, vdupq_n_s32(3)));
                let scale = vorrq_s32(vandq_s32(low, vdupq_n_s32(15)), upper(high));
                let minimum = vorrq_s32(vshrq_n_s32::<4>(low), upper(vshrq_n_s32::<2>(high)));
                let scaled = |at: usize, x: int32x4_t| {
                    vmulq_f32(halves(&group.header[at..], quarter), vcvtq_f32_s32(x))
                };
                Self {
                    minimum: vnegq_f32(scaled(2 * BLOCK_ROWS, minimum)),
                    ..float(0, scaled(0, scale))
                }
            }
            Encoding::Twin(Twin::Q6K) => {
                let row_scale = halves(group.header, quarter);
                let scale = |half: usize| {
                    let scales = bytes(group.bytes, half * BLOCK_ROWS + quarter * ROWS);
                    vmulq_f32(row_scale, vcvtq_f32_s32(widen_signed(scales)))
                };
                Self {
                    second_scale: scale(1),
                    ..float(32, scale(0))
                }
            }
        }
    }

    /// The products less the zero point's share of the sum `total` of the activations, scaled.
    #[target_feature(enable = "neon")]
    #[inline]
    fn product(&self, dot: int32x4_t, total: i32) -> float32x4_t {
        vmulq_f32(self.levels(dot, total), self.scale)
    }

    /// As [`Self::product`], of the second half of the columns.
    #[target_feature(enable = "neon")]
    #[inline]
    fn second(&self, dot: int32x4_t, total: i32) -> float32x4_t {
        vmulq_f32(self.levels(dot, total), self.second_scale)
    }

    #[target_feature(enable = "neon")]
    #[inline]
    fn levels(&self, dot: int32x4_t, total: i32) -> float32x4_t {
        let dot = vshlq_s32(dot, self.shift);
        vcvtq_f32_s32(vmlsq_n_s32(dot, self.zeros, total))
    }
}

/// Four activations of each chunk for every lane.
#[target_feature(enable = "neon")]
#[inline]
fn broadcast(values: &[i8; GROUP]) -> Chunks {
    let (quads, _) = values.as_chunks::<4>();
    chunks!(|chunk| {
        let [a, b, c, d] = quads[chunk].map(i8::cast_unsigned);
        vreinterpretq_u8_s32(vdupq_n_s32(i32::from_le_bytes([a, b, c, d])))
    })
}

/// Sums of products of four rows, those of as many chunks as [`span`] says inside 16 bits; lane `r` is row `r`.
#[target_feature(enable = "neon")]
#[inline]
fn dot<const NUMBER: u8>(codes: &[uint8x16_t], quads: &[uint8x16_t]) -> int32x4_t {
    let span = const { span(encoding_of(NUMBER)) };
    // Two rows in each.
    let mut sums = [vdupq_n_s32(0); 2];
    for (codes, quads) in codes.chunks_exact(span).zip(quads.chunks_exact(span)) {
        let mut pairs = [vdupq_n_s16(0); 2];
        for (codes, quad) in codes.iter().zip(quads) {
            let (codes, quad) = (vreinterpretq_s8_u8(*codes), vreinterpretq_s8_u8(*quad));
            pairs[0] = vmlal_s8(pairs[0], vget_low_s8(codes), vget_low_s8(quad));
            pairs[1] = vmlal_high_s8(pairs[1], codes, quad);
        }
        sums[0] = vpadalq_s16(sums[0], pairs[0]);
        sums[1] = vpadalq_s16(sums[1], pairs[1]);
    }
    vpaddq_s32(sums[0], sums[1])
}

/// Sums of the activations of each half of the columns.
#[target_feature(enable = "neon")]
#[inline]
fn half_totals(values: &[i8; GROUP]) -> [i32; 2] {
    // SAFETY: 32 readable bytes, any alignment.
    let int8x16x2_t(first, second) = unsafe { vld1q_s8_x2(values.as_ptr()) };
    [vaddlvq_s8(first).into(), vaddlvq_s8(second).into()]
}

/// One row of halves times up to [`TILE`] tokens of floats.
#[target_feature(enable = "neon")]
pub(super) fn half_row(
    row: &[u8],
    input: &Activations<'_>,
    token: usize,
    tile: usize,
) -> [f32; TILE] {
    let mut sums = [0.0; TILE];
    if tile == TILE {
        return half_products(row, core::array::from_fn(|t| input.floats(token + t)));
    }
    for (t, sum) in sums[..tile].iter_mut().enumerate() {
        [*sum] = half_products(row, [input.floats(token + t)]);
    }
    sums
}

#[target_feature(enable = "neon")]
#[inline]
fn half_products<const N: usize>(row: &[u8], x: [&[f32]; N]) -> [f32; N] {
    let mut lanes = [[vdupq_n_f32(0.0); LANES / 4]; N];
    let whole = row.len() / 2 / LANES * LANES;
    for at in (0..whole).step_by(LANES) {
        for part in 0..LANES / 4 {
            let weights = halves(&row[2 * at..], part);
            for (lanes, x) in lanes.iter_mut().zip(x) {
                let product = vmulq_f32(weights, load_floats(&x[at + 4 * part..]));
                lanes[part] = vaddq_f32(lanes[part], product);
            }
        }
    }
    let mut out = [0.0; N];
    for ((out, lanes), x) in out.iter_mut().zip(lanes).zip(x) {
        let mut sums = [0.0; LANES];
        for (part, lanes) in sums.as_chunks_mut().0.iter_mut().zip(lanes) {
            store(lanes, part);
        }
        // What is past the last whole sixteen goes to the first lanes.
        for (i, (sum, x)) in sums.iter_mut().zip(&x[whole..]).enumerate() {
            *sum += half_at(row, whole + i) * x;
        }
        *out = fold(sums);
    }
    out
}

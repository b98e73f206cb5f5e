//! The kernels in plain Rust: the definition of right.

#[cfg(soft_float)]
use super::soft_float::add_product;
use super::{Activations, LANES, fold};
use crate::block::{Block, Group, half_at};
use crate::codes::{Pick, THREE_TRITS, TRITS, kept_level, planes, read_pick};
use crate::encoding::{BLOCK_ROWS, CHUNK, CHUNKS, Encoding, GROUP, GROUP_WEIGHTS, Twin, Width};

/// Tokens that share one reading of the weights.
pub(super) const TILE: usize = 4;

/// The int8 activations of one group, of each of `N` tokens.
type Values<'a, const N: usize> = [&'a [i8; GROUP]; N];
/// Integer products of sixteen rows with `N` tokens.
pub(super) type Dots<const N: usize> = [[i32; N]; BLOCK_ROWS];

/// Sixteen rows times the tokens from `token` on, one for each element of `out`.
pub(super) fn block(
    block: &Block<'_>,
    input: &Activations<'_>,
    token: usize,
    out: &mut [[f32; BLOCK_ROWS]],
) {
    for_tiles(
        out,
        token,
        |token, out| tile::<TILE>(block, input, token, out),
        |token, out| tile::<1>(block, input, token, out),
    );
}

/// Cuts the outputs of the tokens from `token` on into tiles, and what is left into single ones.
#[inline(always)]
pub(super) fn for_tiles(
    out: &mut [[f32; BLOCK_ROWS]],
    token: usize,
    tile: impl Fn(usize, &mut [[f32; BLOCK_ROWS]; TILE]),
    single: impl Fn(usize, &mut [[f32; BLOCK_ROWS]; 1]),
) {
    let (tiles, rest) = out.as_chunks_mut::<TILE>();
    let mut token = token;
    for out in tiles {
        tile(token, out);
        token += TILE;
    }
    for out in rest {
        single(token, core::array::from_mut(out));
        token += 1;
    }
}

fn tile<const N: usize>(
    block: &Block<'_>,
    input: &Activations<'_>,
    token: usize,
    out: &mut [[f32; BLOCK_ROWS]; N],
) {
    *out = [[0.0; BLOCK_ROWS]; N];
    let encoding = block.encoding;
    let mut sparse = KeptCodes::new(block);
    let tile = input.tile::<N>(token);
    for (index, group) in block.groups() {
        let values: Values<'_, N> = tile.values.map(|groups| &groups[index]);
        let totals = tile.totals.map(|groups| groups[index]);
        let scales = tile.scales.map(|groups| groups[index]);
        let dots = match encoding {
            Encoding::Sparse(width) => sparse_dots(width, &group, &mut sparse, &values),
            Encoding::F32
            | Encoding::F16
            | Encoding::Dense(_)
            | Encoding::Ternary
            | Encoding::OneOfFour
            | Encoding::Twin(_) => {
                core::array::from_fn(|lane| dots(encoding, &group, lane, &values, &totals))
            }
        };
        match encoding {
            Encoding::Twin(twin) => {
                add_twin(twin, &group, &dots, (&values, &totals), scales, out);
            }
            Encoding::F32
            | Encoding::F16
            | Encoding::Dense(_)
            | Encoding::Ternary
            | Encoding::OneOfFour
            | Encoding::Sparse(_) => add_scaled(encoding, &group, &dots, scales, out),
        }
    }
    scale_rows(block, out);
}

/// Adds a group's products, each times the integer scale of its row and the scale of its token.
///
/// One copy for all encodings: without floating point it is long.
#[inline(never)]
pub(super) fn add_scaled<const N: usize>(
    encoding: Encoding,
    group: &Group<'_>,
    dots: &Dots<N>,
    scales: [f32; N],
    out: &mut [[f32; BLOCK_ROWS]; N],
) {
    for (lane, dots) in dots.iter().enumerate() {
        // Levels reach 255: at most 32 x 255 x 127 x 255 = 264,261,600, inside 32 bits.
        let scale = i32::from(group.scale(encoding, lane));
        for t in 0..N {
            out[t][lane] = add_product(out[t][lane], dots[t] * scale, scales[t]);
        }
    }
}

/// [`add_scaled`] for a twin of a llama.cpp format, whose scales are floats.
fn add_twin<const N: usize>(
    twin: Twin,
    group: &Group<'_>,
    dots: &Dots<N>,
    (values, totals): (&Values<'_, N>, &[i32; N]),
    scales: [f32; N],
    out: &mut [[f32; BLOCK_ROWS]; N],
) {
    for (lane, dots) in dots.iter().enumerate() {
        let (scale, minimum) = group.twin_scale(twin, lane, 0);
        for t in 0..N {
            let product = match twin {
                Twin::Q8_0 => float(dots[t]) * scale,
                Twin::Q6K => q6_k(group, lane, values[t]),
                Twin::Q4_1 | Twin::Q4K => float(dots[t]) * scale + float(totals[t]) * minimum,
            };
            out[t][lane] += product * scales[t];
        }
    }
}

/// Multiplies the finished sums with the scales of their rows, where rows have them.
#[inline(always)]
pub(super) fn scale_rows<const N: usize>(block: &Block<'_>, out: &mut [[f32; BLOCK_ROWS]; N]) {
    if !block.row_scales().is_empty() {
        for lane in 0..BLOCK_ROWS {
            let scale = block.row_scale(lane);
            out.iter_mut().for_each(|out| out[lane] *= scale);
        }
    }
}

/// Rounded half to even, as every SIMD conversion does.
#[expect(
    clippy::cast_precision_loss,
    reason = "the rounding is part of the definition"
)]
fn float(x: i32) -> f32 {
    x as f32
}

/// `sum + integer * scale`, each operation rounded.
#[cfg(not(soft_float))]
fn add_product(sum: f32, integer: i32, scale: f32) -> f32 {
    sum + float(integer) * scale
}

/// `sum of level * activation` of one row and group, for each token.
///
/// A level is a code less an offset, so codes are multiplied plane by plane and the offset once,
/// with the sum `totals` of the activations.
fn dots<const N: usize>(
    encoding: Encoding,
    group: &Group<'_>,
    lane: usize,
    values: &Values<'_, N>,
    totals: &[i32; N],
) -> [i32; N] {
    let codes = group.codes(encoding);
    let none = [0; N];
    let less = |low: [i32; N], high: [i32; N], [unit, high_unit, offset]: [i32; 3]| {
        core::array::from_fn(|t| unit * low[t] + high_unit * high[t] - offset * totals[t])
    };
    let zero = || i32::from(group.zero_point(lane));
    let upper = |bits: usize| &codes[GROUP_WEIGHTS * bits / 8..];
    match encoding {
        Encoding::Dense(Width::One) => less(plane::<1, N>(codes, lane, values), none, [2, 0, 1]),
        Encoding::Dense(Width::Two) => {
            less(plane::<2, N>(codes, lane, values), none, [16, 0, zero()])
        }
        Encoding::Dense(Width::Three) => less(
            plane::<2, N>(codes, lane, values),
            plane::<1, N>(upper(2), lane, values),
            [16, 64, zero()],
        ),
        Encoding::Dense(Width::Four) => {
            less(plane::<4, N>(codes, lane, values), none, [16, 0, zero()])
        }
        Encoding::Dense(Width::Five) => less(
            plane::<4, N>(codes, lane, values),
            plane::<1, N>(upper(4), lane, values),
            [1, 16, 16],
        ),
        Encoding::Dense(Width::Six) => less(
            plane::<4, N>(codes, lane, values),
            plane::<2, N>(upper(4), lane, values),
            [1, 16, 32],
        ),
        Encoding::Dense(Width::Eight) | Encoding::Twin(Twin::Q8_0) => {
            less(plane::<8, N>(codes, lane, values), none, [1, 0, 128])
        }
        Encoding::Twin(Twin::Q4_1 | Twin::Q4K) => plane::<4, N>(codes, lane, values),
        Encoding::Ternary => less(ternary(codes, lane, values), none, [1, 0, 1]),
        Encoding::OneOfFour => one_of_four(codes, lane, values),
        Encoding::F32 | Encoding::F16 | Encoding::Sparse(_) | Encoding::Twin(Twin::Q6K) => none,
    }
}

/// `sum of code * activation` over one plane of `BITS` bits, for each token.
///
/// The places are those of [`crate::codes::plane_byte`].
fn plane<const BITS: usize, const N: usize>(
    plane: &[u8],
    lane: usize,
    values: &Values<'_, N>,
) -> [i32; N] {
    let mut dots = [0; N];
    // The row's bytes: four of every 64.
    let bytes = &plane[lane * 4..][..CHUNK * (BITS - 1) + 4];
    for chunk in 0..BITS {
        for i in 0..4 {
            let byte = bytes[chunk * CHUNK + i];
            for place in 0..8 / BITS {
                let code = i32::from(byte >> (BITS * place) & (u8::MAX >> (8 - BITS)));
                let col = 4 * (chunk + BITS * place) + i;
                for (dot, values) in dots.iter_mut().zip(values) {
                    *dot += code * i32::from(values[col]);
                }
            }
        }
    }
    dots
}

/// `sum of trit * activation`, trits 0 to 2; the codes are those of [`crate::codes::write_trits`].
fn ternary<const N: usize>(codes: &[u8], lane: usize, values: &Values<'_, N>) -> [i32; N] {
    let mut dots = [0; N];
    let mut add = |trit: u16, col: usize| {
        for (dot, values) in dots.iter_mut().zip(values) {
            *dot += i32::from(trit) * i32::from(values[col]);
        }
    };
    for i in 0..4 {
        let place = lane * 4 + i;
        let mut fraction = u16::from(codes[place]);
        for chunk in 0..TRITS {
            fraction *= 3;
            add(fraction >> 8, 4 * chunk + i);
            fraction &= 255;
        }
        let low = codes[CHUNK + place % 32] >> (place / 32 * 4) & 15;
        let high = codes[CHUNK + 32 + place / 8] >> (place % 8) & 1;
        let mut three = THREE_TRITS[usize::from(low | high << 4)];
        for chunk in TRITS..CHUNKS {
            add(u16::from(three & 3), 4 * chunk + i);
            three >>= 2;
        }
    }
    dots
}

/// One addition or subtraction for every four columns.
fn one_of_four<const N: usize>(codes: &[u8], lane: usize, values: &Values<'_, N>) -> [i32; N] {
    let mut dots = [0; N];
    for chunk in 0..CHUNKS {
        let Pick {
            column,
            is_negative,
        } = read_pick(codes, lane, chunk);
        for (dot, values) in dots.iter_mut().zip(values) {
            let value = i32::from(values[4 * chunk + column]);
            *dot += if is_negative { -value } else { value };
        }
    }
    dots
}

/// The kept values of a sparse block, read in order: two planes of bits, each of them a stream.
pub(super) struct KeptCodes<'a> {
    low: BitReader<'a>,
    high: BitReader<'a>,
}

impl<'a> KeptCodes<'a> {
    pub(super) fn new(block: &Block<'a>) -> Self {
        let values = block.sparse_values();
        let width = block.encoding.sparse_width().unwrap_or(Width::Eight);
        let [low, _] = planes(width);
        let (low, high) = values.bytes().split_at(values.plane_bytes(low));
        Self {
            low: BitReader::new(low),
            high: BitReader::new(high),
        }
    }

    /// The level of the next value; of code 0 past the end, where a broken bitmap may lead.
    #[inline(always)]
    pub(super) fn level(&mut self, width: Width) -> i32 {
        let [low, high] = planes(width);
        let mut code = self.low.take(low);
        if high > 0 {
            code |= self.high.take(high) << low;
        }
        i32::from(kept_level(width, code))
    }
}

/// Reads numbers of few bits, lowest bits first; past the end it reads zeros.
struct BitReader<'a> {
    bytes: core::slice::Iter<'a, u8>,
    /// Bits read from `bytes` and not yet taken, and how many.
    window: u32,
    held: usize,
}

impl<'a> BitReader<'a> {
    fn new(bytes: &'a [u8]) -> Self {
        Self {
            bytes: bytes.iter(),
            window: 0,
            held: 0,
        }
    }

    #[inline(always)]
    fn take(&mut self, bits: usize) -> u8 {
        if self.held == 0 {
            self.window = u32::from(self.bytes.next().copied().unwrap_or(0));
            self.held = 8;
        }
        let [code, ..] = (self.window & ((1 << bits) - 1)).to_le_bytes();
        self.window >>= bits;
        self.held -= bits;
        code
    }
}

/// All sixteen rows of the next group of a sparse block.
fn sparse_dots<const N: usize>(
    width: Width,
    group: &Group<'_>,
    kept: &mut KeptCodes<'_>,
    values: &Values<'_, N>,
) -> Dots<N> {
    // One copy of the loop for each width, so that nothing is decided weight by weight.
    match width {
        Width::One => sparse_dots_of(Width::One, group, kept, values),
        Width::Two => sparse_dots_of(Width::Two, group, kept, values),
        Width::Three => sparse_dots_of(Width::Three, group, kept, values),
        Width::Four => sparse_dots_of(Width::Four, group, kept, values),
        Width::Five => sparse_dots_of(Width::Five, group, kept, values),
        Width::Six => sparse_dots_of(Width::Six, group, kept, values),
        Width::Eight => sparse_dots_of(Width::Eight, group, kept, values),
    }
}

#[inline(always)]
fn sparse_dots_of<const N: usize>(
    width: Width,
    group: &Group<'_>,
    kept: &mut KeptCodes<'_>,
    values: &Values<'_, N>,
) -> Dots<N> {
    let mut dots = [[0; N]; BLOCK_ROWS];
    for (chunk, bitmap) in group.bytes.as_chunks::<8>().0.iter().enumerate() {
        // Two rows a byte, four columns each: no instruction that counts zeros is needed.
        for (rows, byte) in dots.as_chunks_mut::<2>().0.iter_mut().zip(bitmap) {
            let mut mask = *byte;
            for row in rows {
                for col in 0..4 {
                    if mask & 1 != 0 {
                        let level = kept.level(width);
                        for (dot, values) in row.iter_mut().zip(values) {
                            *dot += level * i32::from(values[(4 * chunk + col) % GROUP]);
                        }
                    }
                    mask >>= 1;
                }
            }
        }
    }
    dots
}

/// A row of a Q6_K group with one token: two halves of sixteen columns, each with its scale.
fn q6_k(group: &Group<'_>, lane: usize, values: &[i8; GROUP]) -> f32 {
    let twin = Twin::Q6K;
    let codes = group.codes(Encoding::Twin(twin));
    let mut halves = [0.0; 2];
    for (half, sum) in halves.iter_mut().enumerate() {
        // The other half's activations are left out.
        let mut own = [0; GROUP];
        own[16 * half..16 * half + 16].copy_from_slice(&values[16 * half..16 * half + 16]);
        let total: i32 = own.iter().map(|x| i32::from(*x)).sum();
        let [low] = plane::<4, 1>(codes, lane, &[&own]);
        let [high] = plane::<2, 1>(&codes[GROUP_WEIGHTS / 2..], lane, &[&own]);
        let (scale, _) = group.twin_scale(twin, lane, 16 * half);
        *sum = float(low + 16 * high - 32 * total) * scale;
    }
    halves[0] + halves[1]
}

/// Sum over 16 strided lanes, folded in halves.
fn strided(len: usize, product: impl Fn(usize) -> f32) -> f32 {
    let mut lanes = [0.0; LANES];
    for i in 0..len {
        lanes[i % LANES] += product(i);
    }
    fold(lanes)
}

pub(super) fn dot_half_bytes(halves: &[u8], x: &[f32]) -> f32 {
    strided(x.len(), |i| half_at(halves, i) * x[i])
}

pub(super) fn dot_float_bytes(floats: &[u8], x: &[f32]) -> f32 {
    let floats = floats.as_chunks::<4>().0;
    strided(x.len(), |i| f32::from_le_bytes(floats[i]) * x[i])
}
